using System.Text;
using Tessera.Cli.Tests.Support;

namespace Tessera.Cli.Tests.Verbs;

/// <summary>Files of any content: the answer is 2 with a place, never a trace, and nothing is read for ever.</summary>
internal sealed class InputFileTests
{
    private string _folder = null!;

    [SetUp]
    public void MakeFolder() => _folder = Directory.CreateTempSubdirectory("ti").FullName;

    [TearDown]
    public void RemoveFolder() => Directory.Delete(_folder, recursive: true);

    [TestCase("""{ "domains": [ { "name": "\ud800", "guest": "spin" } ] }""", ":1:", "not valid Unicode")]
    [TestCase("""{ "domains": [ { "name": "a", "guest": "spin", "\udfff": 1 } ] }""", ":1:", "not valid Unicode")]
    [TestCase("""{ "domains": [ { "name": "a", "kernel": "/boot/\u0000vmlinuz" } ] }""", "kernel", "U+0000")]
    [TestCase("""{ "domains": [ { "name": "a", "guest": "spin", "disks": [ { "name": "xvda", "backend": "raw-file", "options": { "path": "a\u0000b" } } ] } ] }""", "path", "U+0000")]
    [TestCase("""{ "domains": [ { "name": "a", "kernel": "/dev/zero" } ] }""", "domains[0].kernel", "not a file")]
    [TestCase("""{ "domains": [ { "name": "a", "kernel": "/dev" } ] }""", "domains[0].kernel", "is a folder")]
    public void A_configuration_of_any_content_ends_with_2_and_a_place(string text, string place, string says)
    {
        string file = Path.Combine(_folder, "c.json");
        File.WriteAllText(file, text);
        Refused(["run", file], place, says);
    }

    [Test]
    public void Bytes_that_are_no_UTF_8_end_with_2_and_a_place()
    {
        string file = Path.Combine(_folder, "c.json");
        File.WriteAllBytes(file, [.. Encoding.UTF8.GetBytes("{\n  \"domains\": [ { \"name\": \"a"), 0xFF, 0xC0, .. Encoding.UTF8.GetBytes("\", \"guest\": \"spin\" } ] }")]);
        Refused(["run", file], $"{file}:2:", "not valid Unicode");
    }

    [TestCase("/dev/zero", "not a file")]
    [TestCase("/tmp", "is a folder")]
    [TestCase("/nonexistent/c.json", "cannot be read")]
    public void What_is_no_file_is_no_configuration(string path, string says) => Refused(["run", path], path, says);

    [Test]
    public void A_kernel_that_never_ends_cannot_be_added() => Refused(["guest", "add", "k", "/dev/zero"], "/dev/zero", "not a file");

    [Test]
    public void A_recording_that_claims_more_physical_cpus_than_there_can_be_is_refused_with_its_line()
    {
        File.WriteAllText(Path.Combine(_folder, "result.json"), """{ "schema": "tessera.result/1", "domains": [] }""");
        File.WriteAllText(Path.Combine(_folder, "schedule.csv"), "# tessera.schedule/1\n# length_ns 5\n# pcpus 2147483647\nat_ns,event,pcpu,domain,vcpu,before\n");
        Refused(["report", _folder], "schedule.csv:3:", "# pcpus");
    }

    [TestCase("""{ "schema": "tessera.result/1", "outcome": "\ud800", "domains": [] }""")]
    [TestCase("""{ "schema": "tessera.result/1", "outcome": 7, "domains": [ 5, { "name": "\udfff", "cpuSeconds": "many" } ] }""")]
    public void A_result_of_any_content_gives_a_report_or_a_sentence(string text)
    {
        File.WriteAllText(Path.Combine(_folder, "result.json"), text);
        using Support.Cli cli = new();
        Assert.That(cli.Run("report", _folder), Is.Not.EqualTo(ExitCode.Failed), cli.Error);
        Assert.That(cli.Error, Does.Not.Contain("should not have happened"));
    }

    /// <summary>A reader of a pipe that nobody writes waits for ever.</summary>
    [TestCase("result.json")]
    [TestCase("comparison.json")]
    [TestCase("schedule.csv")]
    [TestCase("counters.csv")]
    public void A_folder_of_results_with_a_pipe_in_it_is_refused(string name)
    {
        File.WriteAllText(Path.Combine(_folder, "result.json"), """{ "schema": "tessera.result/1", "domains": [] }""");
        File.WriteAllText(Path.Combine(_folder, "schedule.csv"), "# tessera.schedule/1\n# length_ns 5\n# pcpus 1\nat_ns,event,pcpu,domain,vcpu,before\n");
        File.Delete(Path.Combine(_folder, name));
        MakePipe(name);
        Refused(["report", _folder], name, "a pipe");
    }

    [TestCase("plugin.dll")]
    public void A_pipe_is_no_plugin(string name) => Refused(["plugins", "check", MakePipe(name)], name, "a pipe");

    [Test]
    public void A_device_is_no_plugin() => Refused(["plugins", "check", LinkTo("/dev/zero", "plugin.dll")], "plugin.dll", "a device");

    [TestCase(false)]
    [TestCase(true)]
    public void What_never_ends_is_no_trace_of_a_workload(bool isPipe)
    {
        string file = Path.Combine(_folder, "c.json"), trace = isPipe ? MakePipe("t") : "/dev/zero";
        File.WriteAllText(file, """{ "domains": [ { "name": "a", "guest": "spin" } ] }""");
        Refused(["simulate", file, "--model", $"a=trace {trace}"], trace, "not a file");
    }

    [Test]
    public void A_list_of_thousands_of_domains_is_refused_in_a_sentence()
    {
        string file = Path.Combine(_folder, "c.json");
        IEnumerable<string> domains = Enumerable.Range(0, 20_000).Select(number => $"{{ \"name\": \"d{number}\", \"guest\": \"spin\" }}");
        File.WriteAllText(file, "{ \"domains\": [ " + string.Join(',', domains) + " ] }");
        Refused(["simulate", file], "domains", "20000 MiB");
    }

    private string MakePipe(string name)
    {
        string path = Path.Combine(_folder, name);
        using System.Diagnostics.Process made = System.Diagnostics.Process.Start("mkfifo", [path]);
        made.WaitForExit();
        Assert.That(made.ExitCode, Is.Zero);
        return path;
    }

    private string LinkTo(string target, string name) => File.CreateSymbolicLink(Path.Combine(_folder, name), target).FullName;

    private void Refused(string[] arguments, string place, string says)
    {
        using Support.Cli cli = new();
        cli.Environment["TESSERA_CACHE"] = _folder;
        int answer = cli.Run(arguments);
        Assert.Multiple(() =>
        {
            Assert.That(answer, Is.EqualTo(ExitCode.Usage), cli.Error);
            Assert.That(cli.Error, Does.Contain(place).And.Contain(says).And.Not.Contain("should not have happened"));
        });
    }
}
