using Tessera.Sdk.Conformance;
using Tessera.Sdk.Conformance.Cpu;

namespace Tessera.Kernel.Tests.Scripted;

/// <summary>The conformance suite of engines, as far as it can be asked of one that runs no instruction.</summary>
internal sealed class ScriptedEngineConformance
{
    /// <summary>What asks nothing of guest code: threads, deadlines, kicks, clocks, layouts and descriptor tables.</summary>
    private static readonly string[] Applicable =
    [
        "a-past-deadline-returns-without-progress",
        "a-kick-before-the-run-ends-it-at-once",
        "a-kick-from-another-thread-ends-the-run",
        "a-thread-gets-its-affinity-and-signals-back",
        "a-host-cpu-that-does-not-exist-is-refused-with-a-cure",
        "wrong-layouts-are-refused",
        "nobody-is-waited-for-when-no-cpu-runs(1)",
        "nobody-is-waited-for-when-no-cpu-runs(2)",
        "more-descriptors-than-frames-hold-are-refused",
        "cpus-are-clocks-where-the-facts-say-so",
        "a-time-that-has-come-already-lets-nothing-happen(5000)",
        "a-time-that-has-come-already-lets-nothing-happen(4999)",
        "a-time-that-has-come-already-lets-nothing-happen(0)",
        "a-time-that-has-come-already-lets-nothing-happen(-1)",
        "a-time-that-has-come-already-lets-nothing-happen(-9223372036854775808)",
    ];

    [TestCaseSource(nameof(Applicable))]
    public void Conforms(string check)
    {
        CheckResult result = new CpuEngineSuite("scripted", static () => new ScriptedEngine()).RunCheck(check);
        Assert.That(result.Outcome, Is.EqualTo(CheckOutcome.Passed), result.Detail);
    }
}
