using System.Diagnostics;

namespace Tessera.Architecture.Tests;

/// <summary>The end of ./test.sh, made of results as `dotnet test` writes them.</summary>
[TestFixture]
internal sealed class SummaryTests
{
    private const string Mixed = """
        <?xml version="1.0" encoding="utf-8"?>
        <TestRun id="1"><Results>
            <UnitTestResult executionId="e1" testId="t1" testName="It_works" outcome="Passed" duration="00:00:01"><Output><StdOut>outcome="Failed"</StdOut></Output></UnitTestResult>
            <UnitTestResult executionId="e2" testId="t2" testName="It_counts(&quot;a&quot;,2)" outcome="Failed" duration="00:00:01">
              <Output><ErrorInfo><Message>  Expected: 1 &lt; 2 &amp;&amp; more&#xD;
          But was:  3</Message><StackTrace>at Somewhere</StackTrace></ErrorInfo></Output>
            </UnitTestResult>
            <UnitTestResult executionId="e3" testId="t3" testName="It_boots" outcome="NotExecuted"><Output><ErrorInfo><Message>No guest here.</Message></ErrorInfo></Output></UnitTestResult>
            <UnitTestResult executionId="e4" testId="t4" testName="It_halts" outcome="NotExecuted"><Output><ErrorInfo><Message>OneTimeSetUp: SetUp : No guest
        here.</Message></ErrorInfo></Output></UnitTestResult>
            <UnitTestResult executionId="e5" testId="t5" testName="It_is_quiet" outcome="NotExecuted" />
          </Results><TestDefinitions>
            <UnitTest name="It_counts" storage="x.dll" id="t2"><Execution id="e2" /><TestMethod codeBase="x.dll" adapterTypeName="nunit" className="Some.Where.CountTests" name="It_counts" /></UnitTest>
            <UnitTest name="It_boots" storage="x.dll" id="t3"><Execution id="e3" /><TestMethod codeBase="x.dll" className="Some.Where.BootTests" name="It_boots" /></UnitTest>
          </TestDefinitions><ResultSummary outcome="Failed"><RunInfos><RunInfo><Text>Message</Text></RunInfo></RunInfos></ResultSummary>
        </TestRun>
        """;

    private const string Good = """
        <TestRun><Results><UnitTestResult testId="t1" testName="It_works" outcome="Passed" /></Results></TestRun>
        """;

    private string _folder = "";

    [SetUp]
    public void MakeFolder() => _folder = Directory.CreateTempSubdirectory("tessera-summary-").FullName;

    [TearDown]
    public void RemoveFolder() => Directory.Delete(_folder, recursive: true);

    [Test]
    public void Failed_tests_come_with_their_messages_and_skipped_ones_by_reason()
    {
        Put("One.Tests.trx", Mixed);
        Put("One.Tests.status", "1\n");
        Put("Two.Tests.trx", Good);
        (int code, string[] lines) = Summary();
        Assert.That(code, Is.EqualTo(1));
        Assert.That(lines, Is.EqualTo(new[]
        {
            "failed: One.Tests: CountTests.It_counts(\"a\",2)",
            "      Expected: 1 < 2 && more",
            "      But was:  3",
            "skipped, 2: No guest here.",
            "    BootTests.It_boots, It_halts",
            "skipped, 1: no reason given",
            "    It_is_quiet",
            $"results: {_folder}",
            "2 passed, 1 failed, 3 skipped",
        }));
    }

    [Test]
    public void A_run_that_died_without_naming_a_test_is_a_failure()
    {
        Put("One.Tests.trx", Good);
        Put("Two.Tests.status", "134\n");
        (int code, string[] lines) = Summary();
        Assert.That(code, Is.EqualTo(1));
        Assert.That(lines[0], Does.StartWith("failed: Two.Tests: ").And.Contain("134").And.Contain(Path.Combine(_folder, "Two.Tests.log")));
        Assert.That(lines[^1], Is.EqualTo("1 passed, 1 failed, 0 skipped"));
    }

    [Test]
    public void Nothing_failed_is_good_and_nothing_run_is_not()
    {
        (int nothing, string[] lines) = Summary();
        Assert.That((nothing, lines[^1]), Is.EqualTo((1, "0 passed, 0 failed, 0 skipped")));
        Put("One.Tests.trx", Good);
        (int good, lines) = Summary();
        Assert.That((good, lines[^1]), Is.EqualTo((0, "1 passed, 0 failed, 0 skipped")));
    }

    private void Put(string name, string text) => File.WriteAllText(Path.Combine(_folder, name), text);

    private (int Code, string[] Lines) Summary()
    {
        using Process process = Process.Start(new ProcessStartInfo(Path.Combine(Repository.Root, ".ci", "summary"), [_folder]) { RedirectStandardOutput = true })!;
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return (process.ExitCode, output.TrimEnd('\n').Split('\n'));
    }
}
