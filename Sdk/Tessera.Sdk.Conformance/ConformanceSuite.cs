using System.Runtime.ExceptionServices;
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
public sealed class ConformanceSuite(Func<IScheduler> create, SchedulerDeclaration declaration, ConformanceOptions? options = null)
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

    /// <summary>The checks, in the order of a report card.</summary>
    public static IReadOnlyList<CheckInfo> Checks { get; } = [.. All.Select(static check => new CheckInfo(check.Name, check.Summary))];

    /// <summary>Runs every check.</summary>
    /// <param name="progress">Told the name of each check before it runs.</param>
    public ReportCard Run(Action<string>? progress = null)
    {
        List<CheckResult> results = [];
        foreach (Check check in All)
        {
            progress?.Invoke(check.Name);
            results.Add(Run(check));
        }

        return new(declaration.Name, results);
    }

    /// <summary>Runs one check.</summary>
    /// <param name="name">One of <see cref="Checks"/>.</param>
    /// <exception cref="ArgumentException">There is no such check.</exception>
    public CheckResult RunCheck(string name) => Run(Find(name));

    /// <summary>Carries out one scenario of a random check, such as one that was printed by a failing run.</summary>
    /// <param name="scenario">The scenario; it names its check.</param>
    /// <exception cref="ArgumentException">The check it names has no scenarios.</exception>
    public CheckResult Replay(Scenario scenario) => Find(scenario.Check) is ScenarioCheck check
        ? check.Replay(new(create, declaration, _options), scenario)
        : throw new ArgumentException($"The check {scenario.Check} has no scenarios.");

    private static Check Find(string name) => All.FirstOrDefault(check => check.Name == name)
        ?? throw new ArgumentException($"There is no check {name}; there are {string.Join(", ", All.Select(static check => check.Name))}.");

    /// <summary>On a thread of its own: a policy that never comes back fails its check instead of stopping the suite.</summary>
    private CheckResult Run(Check check)
    {
        if (!check.Needs(declaration))
            return new(check.Name, CheckOutcome.NotDeclared, "");
        CheckResult? result = null;
        ExceptionDispatchInfo? failure = null;
        Thread runner = new(() =>
        {
            try
            {
                result = check.Run(new(create, declaration, _options));
            }
            catch (Exception exception)
            {
                failure = ExceptionDispatchInfo.Capture(exception);
            }
        })
        {
            IsBackground = true,
            Name = $"conformance {check.Name}",
        };
        runner.Start();
        if (!runner.Join(_options.HangLimit))
            return new(check.Name, CheckOutcome.Failed, $"the policy did not come back within {_options.HangLimit.TotalSeconds:0} s: a call of it blocks or loops");
        return failure is null ? result! : new(check.Name, CheckOutcome.Failed, $"{failure.SourceException.GetType().Name}: {failure.SourceException.Message}");
    }
}
