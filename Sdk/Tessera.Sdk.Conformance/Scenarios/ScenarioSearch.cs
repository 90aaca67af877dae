using Tessera.Sdk.Simulation;

namespace Tessera.Sdk.Conformance.Scenarios;

/// <summary>Which steps a random scenario is made of, and how often each.</summary>
/// <param name="Check">The check's name.</param>
/// <param name="Kinds">The kinds; one that stands there twice comes twice as often.</param>
internal sealed record StepMix(string Check, params StepKind[] Kinds);

/// <summary>Looks for a failing scenario, and makes it the smallest that still fails.</summary>
internal static class ScenarioSearch
{
    private const long LongestAdvance = 40_000_000;
    private const long LongestOverrun = 20_000_000;

    /// <summary>A year in ns; jumps are spread evenly over its orders of magnitude.</summary>
    private const long LongestJump = 31_536_000_000_000_000;

    /// <summary>The smallest failing scenario found, or null when none of all fails.</summary>
    /// <param name="mix">What scenarios are made of.</param>
    /// <param name="declaration">What the policy promises.</param>
    /// <param name="options">How thorough.</param>
    /// <param name="fails">Whether a scenario fails.</param>
    public static Scenario? Find(StepMix mix, SchedulerDeclaration declaration, ConformanceOptions options, Predicate<Scenario> fails) =>
        RandomSearch.Find(options, (random, steps) => Make(mix, declaration, random, steps), Smaller, fails);

    private static Scenario Make(StepMix mix, SchedulerDeclaration declaration, SimulationRandom random, int steps)
    {
        int pcpus = 1 << (int)random.Below(declaration.MultiCpu ? 3 : 1);
        int vcpus = Math.Min(8, declaration.VcpusPerPcpu * pcpus);
        return new(mix.Check, pcpus, vcpus, RandomSearch.Items(random, steps, _ => Make(mix, pcpus, vcpus, random)));
    }

    private static ScenarioStep Make(StepMix mix, int pcpus, int vcpus, SimulationRandom random)
    {
        StepKind kind = mix.Kinds[random.Below(mix.Kinds.Length)];
        ScenarioStep step = new(kind);
        int vcpu = step.HasVcpu ? (int)random.Below(vcpus) : 0;
        return new(kind, vcpu, kind switch
        {
            StepKind.Weight => 128 + random.Below(385),
            StepKind.Affinity => random.Below(1L << pcpus),
            StepKind.Decide => random.Below(pcpus),
            StepKind.Advance => random.Below(LongestAdvance),
            StepKind.Overrun => random.Below(LongestOverrun),
            StepKind.Jump => LongestJump >> (int)random.Below(50),
            _ => 0,
        });
    }

    /// <summary>Smaller scenarios: without a half, a quarter, … one of the steps; on fewer CPUs; with rounder arguments.</summary>
    private static IEnumerable<Scenario> Smaller(Scenario scenario)
    {
        IReadOnlyList<ScenarioStep> steps = scenario.Steps;
        foreach (ScenarioStep[] fewer in RandomSearch.Fewer(steps))
            yield return scenario with { Steps = fewer };
        if (scenario.Pcpus > 1)
            yield return scenario with { Pcpus = scenario.Pcpus / 2 };
        int used = steps.Where(static step => step.HasVcpu).Select(static step => step.Vcpu + 1).DefaultIfEmpty(1).Max();
        if (used < scenario.Vcpus)
            yield return scenario with { Vcpus = used };
        for (int index = 0; index < steps.Count; index++)
        {
            foreach (long rounder in Rounder(steps[index].Argument))
                yield return scenario with { Steps = [.. steps.Take(index), steps[index] with { Argument = rounder }, .. steps.Skip(index + 1)] };
        }
    }

    /// <summary>Arguments with fewer digits that are not zero, and shorter ones.</summary>
    private static IEnumerable<long> Rounder(long argument)
    {
        for (long unit = 1_000_000_000_000_000; unit >= 10; unit /= 10)
        {
            long rounded = argument / unit * unit;
            if (rounded > 0 && rounded < argument)
                yield return rounded;
        }

        if (argument >= 1_000_000)
            yield return argument / 2;
    }
}
