using Tessera.Sdk.Conformance.Scenarios;
using Tessera.Sdk.Scheduling;

namespace Tessera.Sdk.Conformance.Checks;

/// <summary>What a check works on.</summary>
/// <param name="Create">Makes the policy.</param>
/// <param name="Declaration">What it promises.</param>
/// <param name="Options">How thorough to be.</param>
internal sealed record Subject(Func<IScheduler> Create, SchedulerDeclaration Declaration, ConformanceOptions Options);

/// <summary>One check of the suite.</summary>
internal abstract class Check(string name, string summary)
{
    public string Name { get; } = name;

    public string Summary { get; } = summary;

    /// <summary>Whether the policy promises what is checked here.</summary>
    public Predicate<SchedulerDeclaration> Needs { get; init; } = static _ => true;

    public abstract CheckResult Run(Subject subject);

    protected CheckResult Passed(string detail) => new(Name, CheckOutcome.Passed, detail);

    protected CheckResult Failed(string detail, Scenario? scenario = null) => new(Name, CheckOutcome.Failed, detail, scenario);

    protected CheckResult Judge(bool holds, string detail) => holds ? Passed(detail) : Failed(detail);
}

/// <summary>A check that looks for a failing scenario.</summary>
internal abstract class ScenarioCheck(string name, string summary, StepMix mix) : Check(name, summary)
{
    public override CheckResult Run(Subject subject)
    {
        Scenario? found = Search(subject, scenario => Wrong(subject, scenario) is not null);
        return found is null ? Passed($"{subject.Options.Scenarios} random scenarios") : Replay(subject, found);
    }

    public CheckResult Replay(Subject subject, Scenario scenario) =>
        Wrong(subject, scenario) is { } message ? Failed(message, scenario) : Passed("the scenario does not fail");

    protected Scenario? Search(Subject subject, Predicate<Scenario> fails) => ScenarioSearch.Find(mix, subject.Declaration, subject.Options, fails);

    /// <summary>What goes wrong in a scenario, or null.</summary>
    protected abstract string? Wrong(Subject subject, Scenario scenario);
}

/// <summary>Carries out random scenarios and looks for its own concerns only, so that a report card names the fault and not its echo.</summary>
internal sealed class RandomCheck(string name, string summary, StepMix mix, params Concern[] concerns) : ScenarioCheck(name, summary, mix)
{
    public override CheckResult Run(Subject subject)
    {
        // Another check's fault ends a scenario early; when that happens to most, nothing was checked here.
        int ended = 0;
        Violation? other = null;
        Scenario? found = Search(subject, scenario =>
        {
            Violation? violation = Look(subject, scenario);
            if (violation is null || concerns.Contains(violation.Concern))
                return violation is not null;
            ended++;
            other = violation;
            return false;
        });
        if (found is not null)
            return Replay(subject, found);
        return ended > subject.Options.Scenarios / 2
            ? Failed($"could not be checked, because most scenarios end early by another fault: {other!.Message}")
            : Passed(ended == 0 ? $"{subject.Options.Scenarios} random scenarios" : $"{subject.Options.Scenarios} random scenarios, {ended} of them ended early by another fault");
    }

    protected override string? Wrong(Subject subject, Scenario scenario) =>
        Look(subject, scenario) is { } violation && concerns.Contains(violation.Concern) ? violation.Message : null;

    private Violation? Look(Subject subject, Scenario scenario) =>
        ScenarioRun.Execute(subject.Create, subject.Declaration, scenario, lookForIdle: concerns.Contains(Concern.Idle));
}

/// <summary>The same calls in the same order must give the same decisions.</summary>
internal sealed class DeterminismCheck() : ScenarioCheck(
    "deterministic",
    "Decides the same for the same calls.",
    new StepMix("deterministic", StepKind.Wake, StepKind.Wake, StepKind.Wake, StepKind.Sleep, StepKind.Nap, StepKind.Yield, StepKind.Replace, StepKind.Weight, StepKind.Advance, StepKind.Advance, StepKind.Overrun))
{
    protected override string? Wrong(Subject subject, Scenario scenario)
    {
        List<string> first = [];
        List<string> second = [];
        ScenarioRun.Execute(subject.Create, subject.Declaration, scenario, trace: first);
        ScenarioRun.Execute(subject.Create, subject.Declaration, scenario, trace: second);
        if (first.SequenceEqual(second))
            return null;
        int differs = first.Zip(second).TakeWhile(static pair => pair.First == pair.Second).Count();
        return $"decision {differs + 1} of two equal runs differs (instant, pCPU, vCPU, until): {first.ElementAtOrDefault(differs) ?? "none"} against {second.ElementAtOrDefault(differs) ?? "none"}";
    }
}
