using Tessera.Cli.Results;
using Tessera.Cli.Tests.Support;

namespace Tessera.Cli.Tests.Results;

/// <summary>Results that are there are kept, two never write into one folder, and a disk that fills up costs as little as it can.</summary>
internal sealed class OutputFolderTests
{
    private string _folder = null!;

    [SetUp]
    public void MakeFolder() => _folder = Directory.CreateTempSubdirectory("to").FullName;

    [TearDown]
    public void RemoveFolder() => Directory.Delete(_folder, recursive: true);

    [TestCase("run")]
    [TestCase("simulate")]
    public void Another_runs_results_are_replaced_only_when_asked(string verb)
    {
        string old = Path.Combine(_folder, "console-gone.log");
        File.WriteAllText(Path.Combine(_folder, "result.json"), "precious");
        File.WriteAllText(old, "precious");
        File.WriteAllText(Path.Combine(_folder, "notes.txt"), "the user's");
        Assert.Multiple(() =>
        {
            Assert.That(Run(verb).Code, Is.EqualTo(ExitCode.Usage));
            Assert.That(Run(verb).Error, Does.Contain("--force").And.Contain("result.json").And.Contain(_folder));
            Assert.That(File.ReadAllText(Path.Combine(_folder, "result.json")), Is.EqualTo("precious"));
            Assert.That(Run(verb, "--force").Code, Is.Zero);
            Assert.That(File.ReadAllText(Path.Combine(_folder, "result.json")), Does.Contain("tessera.result/1"));
            Assert.That(File.Exists(old), Is.False, "what the old run left is not mixed with the new one's");
            Assert.That(File.ReadAllText(Path.Combine(_folder, "notes.txt")), Is.EqualTo("the user's"));
        });
    }

    [TestCase("comparison.json")]
    [TestCase("runs/001/run.json")]
    public void A_comparison_is_never_replaced_by_a_run(string file)
    {
        string path = Path.Combine(_folder, file);
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        File.WriteAllText(path, "precious");
        Assert.Multiple(() =>
        {
            Assert.That(Run("simulate", "--force").Code, Is.EqualTo(ExitCode.Usage));
            Assert.That(Run("simulate", "--force").Error, Does.Contain("comparison"));
            Assert.That(File.ReadAllText(path), Is.EqualTo("precious"));
        });
    }

    /// <summary>The folder may have come from anybody.</summary>
    [TestCase("file")]
    [TestCase("gone")]
    public void A_lock_that_leads_elsewhere_is_not_followed(string target)
    {
        string elsewhere = Directory.CreateTempSubdirectory("te").FullName;
        try
        {
            File.WriteAllText(Path.Combine(elsewhere, "file"), "another's");
            File.CreateSymbolicLink(Path.Combine(_folder, ".tessera.lock"), Path.Combine(elsewhere, target));
            Assert.That(Assert.Throws<UsageException>(() => OutputFolder.ForRun(_folder, force: true))!.Message, Does.Contain("symbolic link"));
            Assert.Multiple(() =>
            {
                Assert.That(Directory.GetFiles(elsewhere).Select(Path.GetFileName), Is.EqualTo(new[] { "file" }));
                Assert.That(File.ReadAllText(Path.Combine(elsewhere, "file")), Is.EqualTo("another's"));
            });
        }
        finally
        {
            Directory.Delete(elsewhere, recursive: true);
        }
    }

    [Test]
    public void A_comparison_is_not_put_beside_a_runs_results()
    {
        File.WriteAllText(Path.Combine(_folder, "result.json"), "precious");
        Assert.That(Assert.Throws<UsageException>(() => OutputFolder.ForComparison(_folder))!.Message, Does.Contain("single run"));
    }

    [Test]
    public void Two_never_write_into_one_folder_and_the_lock_is_gone_with_its_owner()
    {
        using (OutputFolder.ForRun(_folder, force: false))
        {
            Assert.That(Assert.Throws<UsageException>(() => OutputFolder.ForRun(_folder, force: true))!.Message, Does.Contain("another tessera is writing"));
            Assert.That(Run("simulate").Error, Does.Contain("another tessera is writing"));
        }

        Assert.That(Directory.GetFileSystemEntries(_folder), Is.Empty);
        Assert.That(Run("simulate").Code, Is.Zero);
    }

    [Test]
    public void When_a_recording_cannot_be_written_the_result_is_there_and_the_end_says_what_is_missing()
    {
        // A folder in the place of the unfinished file stands for a disk that is full.
        Directory.CreateDirectory(Path.Combine(_folder, "schedule.csv.new"));
        (int code, string output, string error) = Run("simulate");
        Assert.Multiple(() =>
        {
            Assert.That(code, Is.EqualTo(ExitCode.Failed));
            Assert.That(error, Does.Contain($"--out {_folder}: schedule.csv could not be written").And.Not.Contain("   at "));
            Assert.That(output, Does.Contain("points off"), "the summary is shown all the same");
            Assert.That(File.ReadAllText(Path.Combine(_folder, "result.json")), Does.Contain("\"outcome\": \"completed\""));
            Assert.That(Directory.GetFiles(_folder, "*.new"), Is.Empty);
        });
    }

    private (int Code, string Out, string Error) Run(string verb, params string[] arguments)
    {
        FakePacer pacer = new();
        using FakeMachine machine = new(pacer);
        using Support.Cli cli = new() { Pacer = pacer, Machine = machine };
        string[] all = [verb, Repository.Sample("quickstart.json"), "--seconds", "1", "--out", _folder, .. arguments];
        return (cli.Run(all), cli.Out, cli.Error);
    }
}
