using Tessera.Sdk.Conformance.Checks;
using Tessera.Sdk.Conformance.Scenarios;
using Tessera.Sdk.Scheduling;

namespace Tessera.Sdk.Conformance;

/// <summary>
/// The conformance suite for scheduling policies: random scenarios on a machine moved by hand, and modelled workloads on a machine in
/// virtual time, both through the scheduler core of the real machine. Nothing depends on how fast the host is.
/// </summary>
/// <param name="create">Makes a policy; called many times, each time for a machine of its own.</param>
/// <param name="declaration">What the policy promises.</param>
/// <param name="options">How thorough.</param>
public sealed class SchedulerSuite(Func<IScheduler> create, SchedulerDeclaration declaration, ConformanceOptions? options = null)
    : ConformanceSuite(declaration.Name, (options ?? new()).HangLimit)
{
    private static readonly IReadOnlyList<Check> All =
    [
        new RandomCheck(
            "choices",
            "Never runs a vCPU that is blocked, paused, removed or running elsewhere.",
            new StepMix(
                "choices", StepKind.Wake, StepKind.Wake, StepKind.Wake, StepKind.Sleep, StepKind.Sleep, StepKind.Nap, StepKind.Pause, StepKind.Resume, StepKind.Yield, StepKind.Replace, StepKind.Decide, StepKind.Advance, StepKind.Advance),
            Concern.Choice),
        new RandomCheck(
            "affinity",
            "Runs a vCPU only where its affinity allows, also when that changes.",
            new StepMix("affinity", StepKind.Wake, StepKind.Wake, StepKind.Sleep, StepKind.Affinity, StepKind.Affinity, StepKind.Yield, StepKind.Advance, StepKind.Advance),
            Concern.Affinity) { Needs = static declaration => declaration.Affinity },
        new RandomCheck(
            "work-conserving",
            "No physical CPU idles while a vCPU waits that may run there.",
            new StepMix("work-conserving", StepKind.Wake, StepKind.Wake, StepKind.Wake, StepKind.Sleep, StepKind.Sleep, StepKind.Nap, StepKind.Yield, StepKind.Decide, StepKind.Advance, StepKind.Advance),
            Concern.Idle) { Needs = static declaration => declaration.WorkConserving },
        new RandomCheck(
            "comings-and-goings",
            "Survives vCPUs that come and go in any order, and loses none.",
            new StepMix("comings-and-goings", StepKind.Wake, StepKind.Wake, StepKind.Wake, StepKind.Sleep, StepKind.Nap, StepKind.Pause, StepKind.Resume, StepKind.Replace, StepKind.Replace, StepKind.Yield, StepKind.Decide, StepKind.Advance),
            Concern.Failure,
            Concern.Lost),
        new RandomCheck(
            "parameter-changes",
            "Survives changes of weight, options and affinity at any moment, and loses no vCPU.",
            new StepMix("parameter-changes", StepKind.Wake, StepKind.Wake, StepKind.Sleep, StepKind.Weight, StepKind.Weight, StepKind.Options, StepKind.Affinity, StepKind.Advance),
            Concern.Failure,
            Concern.Lost),
        new RandomCheck(
            "clock-jumps",
            "Survives a clock that jumps forward by up to years.",
            new StepMix("clock-jumps", StepKind.Wake, StepKind.Wake, StepKind.Sleep, StepKind.Jump, StepKind.Yield, StepKind.Advance),
            Concern.Failure,
            Concern.Lost),
        new RandomCheck(
            "slice-overruns",
            "Survives decisions that come late, and loses no vCPU.",
            new StepMix("slice-overruns", StepKind.Wake, StepKind.Wake, StepKind.Sleep, StepKind.Overrun, StepKind.Overrun, StepKind.Yield, StepKind.Advance),
            Concern.Failure,
            Concern.Lost),
        new DeterminismCheck(),
        new StarvationCheck(),
        new ShareCheck(),
        new CapCheck(),
        new ReservationCheck(),
        new DeadlineCheck(),
        new WakeLatencyCheck(),
        new CostCheck(),
    ];

    private readonly ConformanceOptions _options = options ?? new();

    /// <summary>The checks of every scheduler, in the order of a report card.</summary>
    public static IReadOnlyList<CheckInfo> AllChecks { get; } = [.. All.Select(static check => new CheckInfo(check.Name, check.Summary))];

    /// <inheritdoc/>
    public override IReadOnlyList<CheckInfo> Checks => AllChecks;

    /// <summary>Carries out one scenario of a random check, such as one that was printed by a failing run.</summary>
    /// <param name="scenario">The scenario; it names its check.</param>
    /// <exception cref="ArgumentException">The check it names has no scenarios.</exception>
    public CheckResult Replay(Scenario scenario) => All.FirstOrDefault(check => check.Name == scenario.Check) is ScenarioCheck check
        ? check.Replay(new(create, declaration, _options), scenario)
        : throw new ArgumentException($"There is no check {scenario.Check} that has scenarios.");

    private protected override CheckResult Carry(string name)
    {
        Check check = All.First(check => check.Name == name);
        return check.Needs(declaration) ? check.Run(new(create, declaration, _options)) : new(name, CheckOutcome.NotDeclared, "");
    }
}
