using Tessera.Sdk.Conformance;
using Tessera.Sdk.Conformance.Scenarios;
using Tessera.Sdk.Scheduling;

namespace Tessera.Conformance.Tests;

/// <summary>Every check can fail, and names the fault it is there for: each policy here is honest but for one thing.</summary>
[Parallelizable(ParallelScope.Children)]
public sealed class BrokenSchedulerTests
{
    private static readonly ConformanceOptions Quick = new() { MostVcpus = 1000 };

    [TestCase(typeof(RunsBlocked), "choices", "though it is Blocked")]
    [TestCase(typeof(RunsRemoved), "choices", "was removed or never added")]
    [TestCase(typeof(RunsTwice), "choices", "while it runs on")]
    [TestCase(typeof(IgnoresAffinity), "affinity", "outside its affinity")]
    [TestCase(typeof(Rests), "work-conserving", "idles while")]
    [TestCase(typeof(WakesNobody), "work-conserving", "idles while")]
    [TestCase(typeof(ThrowsOnRemoveWhileRunning), "comings-and-goings", "is in no queue")]
    [TestCase(typeof(ForgetsOnRemove), "comings-and-goings", "did not run for")]
    [TestCase(typeof(NeverRests), "comings-and-goings", "no rest after")]
    [TestCase(typeof(ForgetsOnAdjust), "parameter-changes", "did not run for")]
    [TestCase(typeof(ThrowsOnAdjustWhileRunning), "parameter-changes", "the queue is out of order")]
    [TestCase(typeof(OverflowsOnClockJump), "clock-jumps", "OverflowException")]
    [TestCase(typeof(HangsOnClockJump), "clock-jumps", "did not come back")]
    [TestCase(typeof(ThrowsOnOverrun), "slice-overruns", "the slice was over before")]
    [TestCase(typeof(TossesCoins), "deterministic", "of two equal runs differs")]
    [TestCase(typeof(StarvesTheLast), "no-starvation", "the longest wait")]
    [TestCase(typeof(IgnoresWeights), "shares", "error at most")]
    [TestCase(typeof(IgnoresCaps), "caps", "25 % alone: 100")]
    [TestCase(typeof(IgnoresReservations), "reservations", "30 of 100 ms (30 %): 12.5")]
    [TestCase(typeof(IgnoresDeadlines), "deadlines", "missed")]
    [TestCase(typeof(WakesLate), "wake-latency", "longest")]
    [TestCase(typeof(CopiesItsQueue), "decision-cost", "allocated")]
    public void A_broken_scheduler_fails_the_check_meant_for_it(Type broken, string check, string evidence)
    {
        ConformanceOptions options = broken == typeof(HangsOnClockJump) ? Quick with { HangLimit = TimeSpan.FromSeconds(2) }
            // Mostly another fault comes first: of 150 scenarios one in two searches finds it.
            : broken == typeof(RunsRemoved) ? Quick with { Scenarios = 1000 } : Quick;
        SchedulerSuite suite = new(() => (IScheduler)Activator.CreateInstance(broken)!, Promises(), options);
        CheckResult result = suite.RunCheck(check);
        TestContext.Out.WriteLine(result.Detail);
        TestContext.Out.WriteLine(result.Scenario);
        Assert.That(result.Outcome, Is.EqualTo(CheckOutcome.Failed));
        Assert.That(result.Detail, Does.Contain(evidence));
        if (result.Scenario is not { } scenario)
            return;
        Assert.That(scenario.Steps, Has.Count.LessThanOrEqualTo(12), "shrunk");
        Assert.That(suite.Replay(Scenario.Parse(scenario.ToString())).Outcome, Is.EqualTo(CheckOutcome.Failed), "its file fails again");
    }

    [Test]
    public void A_scheduler_that_looks_at_everybody_fails_by_the_growth_of_its_cost()
    {
        CheckResult result = new SchedulerSuite(static () => new LooksAtEverybody(), Promises(), new() { MostVcpus = 10_000 }).RunCheck("decision-cost");
        TestContext.Out.WriteLine(result.Detail);
        Assert.That(result.Outcome, Is.EqualTo(CheckOutcome.Failed));
        Assert.That(result.Detail, Does.Contain("times as long").And.Contain("allocated 0 B"));
    }

    [TestCaseSource(typeof(SchedulerConformance), nameof(SchedulerConformance.Checks))]
    public void The_honest_scheduler_passes(string check)
    {
        CheckResult result = new SchedulerSuite(static () => new HonestScheduler(), Promises(), Quick).RunCheck(check);
        TestContext.Out.WriteLine(result.Detail);
        Assert.That(result.Outcome, Is.EqualTo(CheckOutcome.Passed), $"{result.Detail}\n{result.Scenario}");
    }

    [Test]
    public void Every_check_has_a_scheduler_that_fails_it()
    {
        IEnumerable<string> failed = typeof(BrokenSchedulerTests).GetMethod(nameof(A_broken_scheduler_fails_the_check_meant_for_it))!
            .GetCustomAttributes(typeof(TestCaseAttribute), false).Cast<TestCaseAttribute>().Select(static test => (string)test.Arguments[1]!);
        Assert.That(failed, Is.SupersetOf(SchedulerSuite.AllChecks.Select(static check => check.Name)));
    }

    [Test]
    public void What_is_not_declared_is_not_checked()
    {
        SchedulerDeclaration nothing = new() { Name = "nothing", WorkConserving = false, Affinity = false };
        ReportCard card = new SchedulerSuite(static () => new StarvesTheLast(), nothing, Quick with { Scenarios = 5, MostVcpus = 10 }).Run();
        Assert.That(card.Passed, Is.True);
        Assert.That(card.Checks.Where(static check => check.Outcome == CheckOutcome.NotDeclared).Select(static check => check.Check), Is.EqualTo((string[])["affinity", "work-conserving", "no-starvation", "shares", "caps", "reservations", "deadlines", "wake-latency"]));
    }

    [TestCase("wake 0", "line 1")]
    [TestCase("check choices\npcpus 1", "A scenario begins with")]
    [TestCase("check choices\npcpus 1\nvcpus 2\nwake 2", "line 4")]
    [TestCase("check choices\npcpus 1\nvcpus 2\nwake", "line 4")]
    [TestCase("check choices\npcpus 0", "line 2")]
    [TestCase("check choices\npcpus 1\nvcpus 2\nadvance -5", "line 4")]
    public void A_scenario_file_that_is_none_says_where(string text, string where) =>
        Assert.That(() => Scenario.Parse(text), Throws.TypeOf<FormatException>().With.Message.Contains(where));

    private static SchedulerDeclaration Promises() => SchedulerDeclaration.Of(typeof(HonestScheduler));
}
