using System.Text.Json;
using Tessera.Lab.Tests.Reports;
using Tessera.Packages.Tests.Support;

namespace Tessera.Packages.Tests;

/// <summary>From an empty folder to a policy that is tested, simulated and run on real guests: docs/write-a-scheduler.md, step by step.</summary>
[NonParallelizable]
internal sealed class StrangersPathTests
{
    private const string Plugin = "MyPolicy/bin/Release/net10.0/MyPolicy.dll";

    private string _project = "";
    private Ended _tested = null!;
    private Lazy<Ended> _compared = null!;

    [OneTimeSetUp]
    public void Generate_build_and_test()
    {
        string folder = PackedOnce.NewFolder();
        Ended generated = PackedOnce.Shell.New(folder, "tessera-scheduler", "-n", "MyPolicy", "--feed", PackedOnce.Feed);
        Assert.That(generated.Code, Is.Zero, generated.ToString());
        _project = Path.Combine(folder, "MyPolicy");
        _tested = PackedOnce.Shell.Dotnet(_project, "test", "-c", "Release", "--nologo", "-v", "quiet");
        _compared = new(() => PackedOnce.Shell.Tessera(
            _project, "compare", "experiment.json", "--scheduler", $"bvt,./{Plugin}", "--repeat", "2", "--seconds", "1", "--out", "results", "--json", "--quiet"));
    }

    [Test]
    public void Its_conformance_and_virtual_time_tests_pass()
    {
        Assert.That(_tested.Code, Is.Zero, _tested.ToString());
        Assert.That(_tested.Output, Does.Match(@"Passed!  - Failed: +0, Passed: +1\d, Skipped: +0"), "one test for each check of the suite, and one in virtual time");
    }

    [Test]
    public void Nothing_is_left_of_the_templates_names()
    {
        string[] files = [.. Directory.GetFiles(_project, "*", SearchOption.AllDirectories).Where(file => !file.Split('/').Any(part => part is "bin" or "obj"))];
        string[] tokens = ["Policy-Project", "Policy_Project", "PolicyNamespace", "PolicyClass", "policy-plugin", "PACKAGE_FEED", "_VERSION"];
        Assert.Multiple(() =>
        {
            Assert.That(files, Has.Some.EndsWith("/MyPolicy/MyPolicyScheduler.cs"));
            foreach (string token in tokens)
                Assert.That(files.Where(file => file.Contains(token, StringComparison.Ordinal) || File.ReadAllText(file).Contains(token, StringComparison.Ordinal)), Is.Empty, token);
        });
    }

    [Test]
    public void The_plugin_brings_no_copy_of_the_SDK() => Assert.That(
        Directory.GetFiles(Path.GetDirectoryName(Path.Combine(_project, Plugin))!, "*.dll").Select(Path.GetFileName), Is.EqualTo(new[] { "MyPolicy.dll" }));

    [Test]
    public void The_command_line_checks_it()
    {
        Ended ended = PackedOnce.Shell.Tessera(_project, "plugins", "check", Plugin, "--json");
        Assert.That(ended.Code, Is.Zero, ended.ToString());
        JsonElement card = JsonDocument.Parse(ended.Output).RootElement;
        Assert.Multiple(() =>
        {
            Assert.That(card.GetRawText(), Does.Contain("my-policy"));
            Assert.That(card.GetProperty("checks").EnumerateArray().Select(check => check.GetProperty("outcome").GetString()), Has.Member("passed").And.None.EqualTo("failed"));
        });
    }

    [Test]
    public void The_experiment_is_simulated()
    {
        JsonElement result = Result(PackedOnce.Shell.Tessera(_project, "simulate", "experiment.json", "--json", "--quiet"));
        Assert.That(result.GetProperty("engine").GetProperty("name").GetString(), Is.EqualTo("simulated"));
        Assert.That(ErrorOfShares(result), Is.LessThanOrEqualTo(0.01), () => result.ToString());
    }

    [TestCaseSource(typeof(Engines), nameof(Engines.Cases))]
    public void The_experiment_runs_on_real_guests(string engine)
    {
        // In virtual time, where the engine has it, a busy host takes nothing away. Elsewhere it takes time from whoever runs, so that a run may be off; each next one is
        // longer and has more of it to spare. Under wrong weights all are off.
        (string[] time, int attempts) = engine == "software" ? (["--time", "virtual"], 1) : (Array.Empty<string>(), 10);
        const double Within = 0.05;
        JsonElement result;
        int seconds = 0;
        do
        {
            seconds += 3;
            result = Result(PackedOnce.Shell.Tessera(_project, ["run", "experiment.json", "--engine", engine, "--seconds", $"{seconds}", "--json", "--quiet", .. time]));
            Assert.That(result.GetProperty("engine").GetProperty("name").GetString(), Does.StartWith(engine));
        }
        while (--attempts > 0 && ErrorOfShares(result) > Within);
        Assert.That(ErrorOfShares(result), Is.LessThanOrEqualTo(Within), () => result.ToString());
    }

    /// <summary>On the engine that is chosen by itself.</summary>
    [Test]
    public void It_is_compared_with_BVT()
    {
        JsonElement comparison = Result(_compared.Value);
        Assert.Multiple(() =>
        {
            Assert.That(comparison.GetProperty("runs").EnumerateArray().Select(run => run.GetProperty("outcome").GetString()), Has.Exactly(4).EqualTo("completed"));
            Assert.That(comparison.GetProperty("schedulers").GetArrayLength(), Is.EqualTo(2));
            Assert.That(File.ReadLines(Path.Combine(_project, "results", "comparison.csv")).Count(), Is.EqualTo(5), "a heading and four runs");
        });
    }

    [Test]
    public async Task The_comparisons_report_opens_in_a_browser_without_a_complaint()
    {
        Assert.That(_compared.Value.Code, Is.Zero, _compared.Value.ToString());
        string report = Path.Combine(_project, "results", "report.html");
        if (!File.Exists(report) && !Directory.Exists(Path.Combine(SourceTree.Root, "artifacts", "plotting")))
            Assert.Ignore("The plotting library could not be fetched from the npm registry when this was built, so there is no report; run .ci/plotting-library and build again.");
        Assert.That(report, Does.Exist);
        await using Browser browser = await Browser.Start();
        await browser.Open(report);
        await browser.Keep("strangers-comparison");
        string text = await browser.Text("document.body.innerText");
        double plots = await browser.Number("document.querySelectorAll('.plot canvas').length");
        Assert.Multiple(() =>
        {
            Assert.That(browser.Complaints, Is.Empty);
            Assert.That(browser.Requests, Is.Empty);
            Assert.That(text, Does.Contain("my-policy").And.Contain("bvt"));
            Assert.That(plots, Is.Positive);
        });
    }

    [Test]
    public void A_name_that_is_no_identifier_builds_too()
    {
        const string name = "2 my.odd-policy";
        string folder = PackedOnce.NewFolder();
        Ended generated = PackedOnce.Shell.New(folder, "tessera-scheduler", "-n", name, "--feed", PackedOnce.Feed);
        Assert.That(generated.Code, Is.Zero, generated.ToString());
        Ended built = PackedOnce.Shell.Dotnet(Path.Combine(folder, name), "build", "-c", "Release", "--nologo", "-v", "quiet");
        Assert.That(built.Code, Is.Zero, built.ToString());
        Result(PackedOnce.Shell.Tessera(Path.Combine(folder, name), "simulate", "experiment.json", "--seconds", "1", "--json", "--quiet"));
    }

    /// <summary>
    /// A built-in policy, out of the tree: it compiles with the package's source as it does with the tree's, and decides the same.
    /// </summary>
    [Test]
    public void A_built_in_policy_builds_outside_with_the_package_of_parts()
    {
        string folder = PackedOnce.NewFolder();
        Ended generated = PackedOnce.Shell.New(folder, "tessera-scheduler", "-n", "Away", "--feed", PackedOnce.Feed);
        Assert.That(generated.Code, Is.Zero, generated.ToString());
        string project = Path.Combine(folder, "Away", "Away");
        File.Delete(Path.Combine(project, "AwayScheduler.cs"));
        File.Copy(Path.Combine(SourceTree.Root, "Plugins", "Schedulers", "Stride", "StrideScheduler.cs"), Path.Combine(project, "StrideScheduler.cs"));
        string file = Path.Combine(project, "Away.csproj");
        File.WriteAllText(file, File.ReadAllText(file)
            .Replace("</PropertyGroup>", "  <TreatWarningsAsErrors>true</TreatWarningsAsErrors>\n  </PropertyGroup>", StringComparison.Ordinal)
            .Replace("  </ItemGroup>", "    <PackageReference Include=\"Tessera.Sdk.SchedulerParts\" PrivateAssets=\"all\" />\n  </ItemGroup>", StringComparison.Ordinal));
        Ended built = PackedOnce.Shell.Dotnet(project, "build", "-c", "Release", "--nologo", "-v", "quiet");
        Assert.That(built.Code, Is.Zero, built.ToString());
        string plugin = Path.Combine(project, "bin", "Release", "net10.0", "Away.dll");
        Assert.That(Directory.GetFiles(Path.GetDirectoryName(plugin)!, "*.dll"), Is.EqualTo(new[] { plugin }), "neither the SDK nor the parts lie beside it");
        JsonElement away = Simulated(plugin);
        JsonElement home = Simulated("stride");
        Assert.That(away.GetProperty("domains").GetRawText(), Is.EqualTo(home.GetProperty("domains").GetRawText()));

        JsonElement Simulated(string scheduler) =>
            Result(PackedOnce.Shell.Tessera(Path.Combine(folder, "Away"), "simulate", "experiment.json", "--scheduler", scheduler, "--seconds", "2", "--json", "--quiet"));
    }

    [Test]
    public void Without_a_feed_there_is_no_package_configuration()
    {
        string folder = PackedOnce.NewFolder();
        Ended generated = PackedOnce.Shell.New(folder, "tessera-scheduler", "-n", "Plain");
        Assert.That(generated.Code, Is.Zero, generated.ToString());
        Assert.That(File.Exists(Path.Combine(folder, "Plain", "nuget.config")), Is.False);
    }

    private static JsonElement Result(Ended ended)
    {
        Assert.That(ended.Code, Is.Zero, ended.ToString());
        JsonElement result = JsonDocument.Parse(ended.Output).RootElement;
        Assert.That(result.GetProperty("outcome").GetString(), Is.EqualTo("completed"));
        return result;
    }

    /// <summary>How far the share of one, two or four, among the three, is from its weight's.</summary>
    private static double ErrorOfShares(JsonElement result)
    {
        Dictionary<string, double> shares = result.GetProperty("domains").EnumerateArray().ToDictionary(domain => domain.GetProperty("name").GetString()!, domain => domain.GetProperty("share").GetDouble());
        double hogs = shares["one"] + shares["two"] + shares["four"];
        return new[] { ("one", 1), ("two", 2), ("four", 4) }.Max(hog => Math.Abs((shares[hog.Item1] / hogs) - (hog.Item2 / 7.0)));
    }
}
