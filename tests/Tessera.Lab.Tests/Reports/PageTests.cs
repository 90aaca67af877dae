using System.Net;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using FsCheck;
using FsCheck.Fluent;
using Tessera.Lab.Reports;
using Tessera.Lab.Results;

namespace Tessera.Lab.Tests.Reports;

/// <summary>report.html as text.</summary>
internal sealed partial class PageTests
{
    private const string Attack = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&</pre></title>-->";

    [Test]
    public void Counts_that_no_machine_reaches_are_drawn()
    {
        using SampleRun run = SampleRun.Draw(["a", "b"], change: result =>
        {
            foreach (JsonNode? domain in result["domains"]!.AsArray())
                domain!["traps"] = new JsonObject { ["one"] = long.MaxValue, ["two"] = long.MaxValue };
            foreach (JsonNode? pcpu in result["pcpus"]!.AsArray())
                pcpu!["switches"] = long.MaxValue;
        });
        Assert.That(run.Page, Does.Contain(" traps, "));
    }

    [Test]
    public void Nothing_that_a_guest_or_a_name_says_becomes_markup()
    {
        using SampleRun run = SampleRun.Draw([Attack, "b"], change: result =>
        {
            JsonNode domain = result["domains"]![0]!;
            domain["consoleTail"] = new JsonArray(Attack, "\u202Etxet");
            domain["state"] = "crashed";
            domain["exitReason"] = Attack;
            domain["guest"] = Attack;
            domain["crashRegisters"] = new JsonObject { [Attack] = Attack };
            domain["hypercalls"] = new JsonObject { [Attack] = 1 };
            result["failures"] = new JsonArray(Attack);
            result["scheduler"]!["name"] = Attack;
            result["scheduler"]!["ejected"] = Attack;
            result["configuration"] = new JsonObject { ["cmdline"] = Attack };
            result["engine"]!["findings"] = new JsonArray(new JsonObject { ["probe"] = Attack, ["finding"] = Attack, ["consequence"] = Attack });
        });
        Assert.Multiple(() =>
        {
            Assert.That(run.Page, Does.Not.Contain("<script>alert"));
            Assert.That(run.Page, Does.Not.Contain("<img"));
            Assert.That(run.Page, Does.Not.Contain("\u202E"));
            Assert.That(ScriptTags().Count(run.Page), Is.EqualTo(2), "one of data, one of code");
            Assert.That(JsonDocument.Parse(Between(run.Page, "id=\"data\">", "</script>")).RootElement.GetProperty("domains")[0].GetProperty("name").GetString(), Is.EqualTo(Attack));
        });
    }

    [Test]
    public void Devices_have_a_table_with_a_line_for_each_direction_that_something_went()
    {
        LatencySummary reads = new(20_000, 90_000, 100_000, 12_345);
        using SampleRun run = SampleRun.Draw(["a", "b"], change: result => result["domains"]![1]!["disks"] = new JsonArray(SampleRun.Disk(reads, "The <server> is away.")));
        using SampleRun without = SampleRun.Draw(["a", "b"]);
        string table = Between(run.Page, "id=\"table-devices\"", "</table>");
        Assert.Multiple(() =>
        {
            Assert.That(table, Does.Contain("xvda").And.Contain("reads").And.Contain("1 MiB").And.Contain("90 µs").And.Contain("12&#x202F;345"));
            Assert.That(table, Does.Not.Contain("writes").And.Not.Contain("flushes"));
            Assert.That(run.Page, Does.Contain("b xvda: The &lt;server&gt; is away."));
            Assert.That(without.Page, Does.Not.Contain("table-devices"));
        });
    }

    [Test]
    public void Text_is_encoded_whatever_it_is() => Check.QuickThrowOnFailure(Prop.ForAll<string>(ArbMap.Default.ArbFor<string>(), text =>
    {
        string encoded = new HtmlBuilder().Text(text).ToString();
        return encoded.AsSpan().IndexOfAny("<>\"'") < 0 && (text is null || text.Any(char.IsControl) || text.Any(char.IsSurrogate) || WebUtility.HtmlDecode(encoded).Length == text.Length);
    }));

    [Test]
    public void The_page_allows_its_own_styles_and_scripts_by_digest_and_no_request()
    {
        using SampleRun run = SampleRun.Draw(["a", "b"]);
        string policy = Between(run.Page, "Content-Security-Policy\" content=\"", "\"");
        Assert.Multiple(() =>
        {
            Assert.That(policy, Does.StartWith("default-src 'none'"));
            Assert.That(policy, Does.Contain(Digest(Between(run.Page, "<script>", "</script>"))));
            Assert.That(policy, Does.Contain(Digest(Between(run.Page, "<style>", "</style>"))));
            Assert.That(policy, Does.Not.Contain("unsafe"));
            Assert.That(Requests().Matches(run.Page), Is.Empty);
        });
    }

    [Test]
    public void A_simulated_run_and_an_ejected_scheduler_are_plain_to_see()
    {
        using SampleRun run = SampleRun.Draw(["a", "b"], engine: "simulated", change: result =>
        {
            result["outcome"] = "failed";
            result["failures"] = new JsonArray("b crashed. It had enough.");
            result["scheduler"]!["ejected"] = "mine took 20 ms for a decision";
        });
        Assert.Multiple(() =>
        {
            Assert.That(run.Page, Does.Contain("SIMULATED in virtual time"));
            Assert.That(run.Page, Does.Contain("id=\"simulated\""));
            Assert.That(run.Page, Does.Contain("mine took 20 ms for a decision"));
            Assert.That(run.Page, Does.Contain("b crashed. It had enough."));
            Assert.That(run.Page, Does.Contain("badge bad"));
        });
    }

    [TestCase(34.5, true)]
    [TestCase(0.4, false)]
    public void What_a_busy_host_withheld_stands_on_the_page_and_at_its_top_when_it_was_much(double percent, bool banner)
    {
        using SampleRun run = SampleRun.Draw(["a", "b"], change: result =>
        {
            result["experiment"] = "web & db";
            result["withheld"] = new JsonObject { ["seconds"] = 1.5, ["stolenSeconds"] = 0, ["percent"] = percent };
        });
        using SampleRun without = SampleRun.Draw(["a", "b"]);
        Assert.Multiple(() =>
        {
            Assert.That(run.Page, Does.Contain("Withheld by the host"));
            Assert.That(run.Page.Contains("id=\"withheld\"", StringComparison.Ordinal), Is.EqualTo(banner));
            Assert.That(run.Page, Does.Contain("<title>web &amp; db: bvt, 2 domains on 1 pCPU</title>"));
            Assert.That(without.Page, Does.Not.Contain("Withheld by the host").And.Contain("<title>bvt: 2 domains on 1 pCPU</title>"));
        });
    }

    [Test]
    public void A_comparisons_page_warns_of_a_busy_host_and_has_the_experiments_name()
    {
        using SampleComparison quiet = SampleComparison.Draw();
        using SampleComparison busy = SampleComparison.Draw(withheld: 88);
        string page = File.ReadAllText(Path.Combine(busy.Folder, ReportWriter.PageFile));
        Assert.Multiple(() =>
        {
            Assert.That(page, Does.Contain("id=\"withheld\"").And.Contain("48 runs of 48 on the machine").And.Contain("88.0 % at worst"));
            Assert.That(page, Does.Contain("<title>b&gt;: bvt, credit2 compared</title>"));
            Assert.That(File.ReadAllText(Path.Combine(quiet.Folder, ReportWriter.PageFile)), Does.Not.Contain("id=\"withheld\""));
        });
    }

    [Test]
    public void A_run_without_a_recording_has_tables_and_says_why_it_has_no_plots()
    {
        Drawing.Require();
        using SampleRun run = SampleRun.Write(["a", "b"]);
        File.Delete(Path.Combine(run.Folder, "schedule.csv"));
        Assert.That(ReportWriter.Write(run.Folder), Is.EqualTo(new[] { "report.html" }));
        Assert.Multiple(() =>
        {
            Assert.That(run.Page, Does.Contain("There is no schedule.csv"));
            Assert.That(run.Page, Does.Contain("table-domains"));
            Assert.That(run.Page, Does.Not.Contain("id=\"plot-gantt\""));
        });
    }

    [Test]
    public void A_report_is_made_anew_from_the_files_of_its_folder_alone()
    {
        using SampleRun run = SampleRun.Draw(["a", "b"]);
        string first = run.Page;
        File.Delete(Path.Combine(run.Folder, ReportWriter.PageFile));
        Directory.Delete(Path.Combine(run.Folder, "series"), recursive: true);
        ReportWriter.Write(run.Folder);
        Assert.That(run.Page, Is.EqualTo(first));
    }

    [Test]
    public void Our_scripts_are_strict_and_never_make_markup_of_text()
    {
        string[] scripts = Directory.GetFiles(Path.Combine(Root(), "Cli", "Tessera.Lab", "Reports", "Assets"), "*.js");
        Assert.That(scripts, Is.Not.Empty);
        Assert.Multiple(() =>
        {
            foreach (string script in scripts)
            {
                string text = File.ReadAllText(script);
                Assert.That(text, Does.Contain("\"use strict\";"), script);
                Assert.That(Dangerous().Matches(text), Is.Empty, script);
                Assert.That(text.Split('\n'), Has.Length.LessThan(300), script);
            }
        });
    }

    private static string Root()
    {
        string folder = AppContext.BaseDirectory;
        while (!File.Exists(Path.Combine(folder, "Tessera.slnx")))
            folder = Path.GetDirectoryName(folder) ?? throw new InvalidOperationException("Tessera.slnx is in no folder above the tests.");
        return folder;
    }

    private static string Digest(string text) => Convert.ToBase64String(SHA256.HashData(Encoding.UTF8.GetBytes(text)));

    private static string Between(string text, string from, string to)
    {
        int start = text.IndexOf(from, StringComparison.Ordinal) + from.Length;
        return text[start..text.IndexOf(to, start, StringComparison.Ordinal)];
    }

    [GeneratedRegex("<script", RegexOptions.IgnoreCase)]
    private static partial Regex ScriptTags();

    [GeneratedRegex("(src|href)=\"|\\burl\\(|@import|fetch\\(|XMLHttpRequest|WebSocket", RegexOptions.IgnoreCase)]
    private static partial Regex Requests();

    [GeneratedRegex(@"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function")]
    private static partial Regex Dangerous();
}
