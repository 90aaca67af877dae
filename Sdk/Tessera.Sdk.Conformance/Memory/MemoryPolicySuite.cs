using Tessera.Sdk.Memory;

namespace Tessera.Sdk.Conformance.Memory;

/// <summary>The conformance suite of memory policies: whatever is asked for, an answer that the machine can give.</summary>
/// <param name="policy">The policy's name in the report.</param>
/// <param name="create">Makes the policy of a machine; called for each check.</param>
/// <param name="options">How thorough to be; only the random machines and their length count.</param>
public sealed class MemoryPolicySuite(string policy, Func<IMemoryPolicy> create, ConformanceOptions? options = null)
    : MethodSuite(policy, new ConformanceOptions().HangLimit)
{
    private static readonly long[] Amounts = [long.MinValue, -1, 0, 1, 2, 100, 255, 256, 4096, 1 << 20, long.MaxValue / 2, long.MaxValue];

    private static readonly (long Total, long Assigned)[] Machines =
        [(1000, 0), (1000, 900), (1000, 999), (1000, 1000), (0, 0), (long.MaxValue, 1)];

    private readonly ConformanceOptions _options = options ?? new();

    /// <summary>The checks of every memory policy, in the order of a report card.</summary>
    public static IReadOnlyList<CheckInfo> AllChecks { get; } =
        [.. CheckMethod.Of(typeof(MemoryPolicySuite)).Select(static method => method.Info)];

    [Check("A domain starts with no more than its maximum and than the machine has left, or is refused.")]
    private void A_domain_starts_with_no_more_than_its_maximum_and_than_there_is()
    {
        IMemoryPolicy memory = create();
        foreach (long frames in Amounts)
        {
            foreach (long most in Amounts.Where(static amount => amount >= 0))
            {
                foreach ((long total, long assigned) in Machines)
                {
                    long given = memory.Admit(new(new DomainId(1), frames, most), new(total, assigned));
                    string when = $"{frames} frames asked for, at most {most}, {assigned} of {total} in use";
                    Within(given, Math.Min(most, total - assigned), when);
                }
            }
        }
    }

    [Check("A domain grows by no more than it asked for, its maximum and the machine allow.")]
    private void A_domain_grows_by_no_more_than_it_asked_for_and_than_there_is()
    {
        IMemoryPolicy memory = create();
        foreach (long asked in Amounts)
        {
            foreach (long has in (long[])[0, 100, 199, 200, 250])
            {
                foreach (long assigned in (long[])[250, 900, 999, 1000])
                {
                    long given = memory.Grant(new(new DomainId(1), 100, 200, has, 100), asked, new(1000, assigned));
                    string when = $"{asked} frames asked for by one of 200 that has {has}, {assigned} of 1000 in use";
                    Within(given, Math.Min(asked, Math.Min(200 - has, 1000 - assigned)), when);
                }
            }
        }
    }

    [Check("Domains that come, grow, shrink and go at random never have more than the machine.")]
    private void Domains_that_come_and_grow_never_have_more_than_the_machine() => PlayAtRandom(looksAtTargets: false);

    [Check("Targets are for domains that are there, from 1 frame to what each may have.")]
    private void Targets_are_within_what_domains_may_have() => PlayAtRandom(looksAtTargets: true);

    [Check("A machine with room for it gives a domain memory.")]
    private void A_machine_with_room_gives_a_domain_memory()
    {
        IMemoryPolicy memory = create();
        Expect.True(memory.Admit(new(new DomainId(1), 100, 200), new(1000, 0)) > 0, "nothing is given by an empty machine");
    }

    private void PlayAtRandom(bool looksAtTargets)
    {
        string? problem = null;
        (int Domain, int Frames)[]? smallest = RandomSearch.Find(
            _options,
            (random, steps) => RandomSearch.Items(random, steps, static step => ((int)step.Below(6), (int)step.Below(700))),
            RandomSearch.Fewer,
            steps =>
            {
                string? found = Play(steps, looksAtTargets);
                problem = found ?? problem;
                return found is not null;
            });
        if (smallest is not null)
            Expect.Fail($"{problem}\nSeed {_options.Seed}; the smallest case found (domain, frames): {string.Join(", ", smallest)}");
        Note($"{_options.Scenarios} random machines");
    }

    /// <summary>
    /// Each step a domain comes, or if it is there leaves, gives some of its frames back, or asks for more; then come new targets.
    /// </summary>
    private string? Play((int Domain, int Frames)[] steps, bool looksAtTargets)
    {
        const long Total = 2000;
        IMemoryPolicy memory = create();
        SortedDictionary<DomainId, DomainMemoryFacts> domains = [];
        for (int step = 0; step < steps.Length; step++)
        {
            DomainId id = new((ushort)(steps[step].Domain + 1));
            int frames = steps[step].Frames;
            bool exists = domains.TryGetValue(id, out DomainMemoryFacts facts);
            long back = !exists ? 0
                : frames % 4 == 0 ? facts.AssignedFrames
                : frames % 4 == 1 ? Math.Min(facts.AssignedFrames, frames)
                : 0;
            if (back > 0)
            {
                if (frames % 4 == 0)
                    _ = domains.Remove(id);
                else
                    domains[id] = facts with { AssignedFrames = facts.AssignedFrames - back };
                memory.Released(id, back);
            }
            else if (Grow(memory, domains, id, frames, Total) is { } problem && !looksAtTargets)
            {
                return $"step {step + 1}: {problem}";
            }

            IReadOnlyList<MemoryTarget> targets =
                memory.Rebalance(Nanoseconds.FromMilliseconds(step), [.. domains.Values], Budget(domains, Total));
            if (looksAtTargets && Wrong(targets, domains) is { } wrong)
                return $"step {step + 1}: {wrong}";
            foreach (MemoryTarget target in targets.Where(target => domains.ContainsKey(target.Domain)))
                domains[target.Domain] = domains[target.Domain] with { TargetFrames = target.Frames };
        }

        return null;
    }

    private static MemoryBudget Budget(SortedDictionary<DomainId, DomainMemoryFacts> domains, long total) =>
        new(total, domains.Values.Sum(static domain => domain.AssignedFrames));

    private static string? Grow(
        IMemoryPolicy memory, SortedDictionary<DomainId, DomainMemoryFacts> domains, DomainId id, int frames, long total)
    {
        const long Most = 900;
        MemoryBudget budget = Budget(domains, total);
        bool exists = domains.TryGetValue(id, out DomainMemoryFacts facts);
        long most = Math.Max(0, Math.Min(exists ? Math.Min(frames, Most - facts.AssignedFrames) : Most, budget.FreeFrames));
        long given = exists ? memory.Grant(facts, frames, budget) : memory.Admit(new(id, frames, Most), budget);
        if (given < 0 || given > most)
            return $"{given} frames for {id}, which has {facts.AssignedFrames} and asks for {frames}; 0 to {most} can be given";
        if (exists)
            domains[id] = facts with { AssignedFrames = facts.AssignedFrames + given };
        else if (given > 0)
            domains[id] = new(id, frames, Most, given, given);
        return null;
    }

    private static string? Wrong(IReadOnlyList<MemoryTarget> targets, SortedDictionary<DomainId, DomainMemoryFacts> domains)
    {
        foreach ((DomainId id, long frames) in targets)
        {
            if (!domains.TryGetValue(id, out DomainMemoryFacts facts))
                return $"there is a target for {id}, which was not asked about";
            if (frames < 1 || frames > facts.MaxFrames)
                return $"{id} may have 1 to {facts.MaxFrames} frames, and its target is {frames}";
        }

        return null;
    }

    private static void Within(long given, long most, string when)
    {
        most = Math.Max(0, most);
        if (given < 0 || given > most)
            Expect.Fail($"{given} frames are given where 0 to {most} can be: {when}");
    }
}
