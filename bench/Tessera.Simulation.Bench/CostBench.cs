using System.Globalization;
using Tessera.Sdk;
using Tessera.Sdk.Scheduling;
using Tessera.Sdk.Scheduling.Core;
using Tessera.Sdk.Simulation;

namespace Tessera.Simulation.Bench;

/// <summary>The best round of a policy with so many vCPUs.</summary>
/// <param name="Vcpus">How many vCPUs.</param>
/// <param name="Hogs">The policy's own time for a decision while all are CPU-bound.</param>
/// <param name="Decisions">The same while half of them sleep and wake.</param>
/// <param name="Wakes">The policy's own time for a wake.</param>
internal sealed record CostPoint(int Vcpus, LatencySummary Hogs, LatencySummary Decisions, LatencySummary Wakes)
{
    /// <summary>The worse 99th percentile of a decision, ns.</summary>
    public long Worst => Math.Max(Hogs.P99.Value, Decisions.P99.Value);
}

/// <summary>
/// What a decision costs as vCPUs grow: host time inside the policy, in virtual time, on four physical CPUs; all vCPUs CPU-bound, and half of them
/// waking now and then. Of five rounds the one with the least 99th percentile: what the host's other work adds is not the policy's.
/// </summary>
internal static class CostBench
{
    private const int Pcpus = 4;
    private const int Rounds = 5;
    private const int DecisionsPerRound = 40_000;

    /// <summary>The numbers of vCPUs.</summary>
    public static readonly int[] Sizes = [8, 32, 128, 512, 2_000, 10_000];

    /// <summary>The same with 128 CPU-bound vCPUs on one physical CPU, with warm caches and after other memory went through them.</summary>
    public static void RunCold(IEnumerable<string> names)
    {
        const int vcpus = 128;
        const int decisions = 4_000;
        Console.WriteLine($"A decision inside the policy with {vcpus} CPU-bound vCPUs on one pCPU, p50 / p99 in ns: warm, and after so many bytes of other memory.");
        Console.WriteLine();
        Console.WriteLine("| policy | warm | 256 KiB | 2 MiB | 16 MiB |");
        Console.WriteLine("|---|---:|---:|---:|---:|");
        foreach ((string name, Func<IScheduler> create) in Policies.All.Where(policy => names.Contains(policy.Name)))
        {
            IEnumerable<string> found = new[] { 0, 256 << 10, 2 << 20, 16 << 20 }.Select(evicted =>
            {
                TimedScheduler policy = new(create(), evicted);
                VirtualMachine machine = new(policy, new VirtualMachineOptions { StarvationLimit = Nanoseconds.Zero });
                for (int domain = 1; domain <= vcpus; domain++)
                    machine.Start(domain, new CpuBoundWorkload());
                machine.RunFor(Nanoseconds.FromSeconds(evicted > 2 << 20 ? 5 : 20));
                LatencySummary cost = Best(machine, policy, evicted > 2 << 20 ? decisions / 4 : decisions).Decisions;
                return $"{cost.P50.Value} / {cost.P99.Value}";
            });
            Console.WriteLine($"| {name} | {string.Join(" | ", found)} |");
        }
    }

    public static IReadOnlyList<(string Name, CostPoint[] Points)> Run(IEnumerable<string> names)
    {
        Console.WriteLine($"Host time inside the policy, p99 in ns, by number of vCPUs on {Pcpus} pCPUs: a decision while all are CPU-bound / a decision while half sleep and wake / a wake.");
        Console.WriteLine();
        Console.WriteLine($"| policy | {string.Join(" | ", Sizes)} |");
        Console.WriteLine($"|---|{string.Concat(Enumerable.Repeat("---:|", Sizes.Length))}");
        List<(string, CostPoint[])> found = [];
        foreach ((string name, Func<IScheduler> create) in Policies.All.Where(policy => names.Contains(policy.Name)))
        {
            CostPoint[] points = [.. Sizes.Select(size => Measure(create, size))];
            found.Add((name, points));
            Console.WriteLine($"| {name} | {string.Join(" | ", points.Select(static point => string.Create(CultureInfo.InvariantCulture, $"{point.Hogs.P99.Value} / {point.Decisions.P99.Value} / {point.Wakes.P99.Value}")))} |");
        }

        return found;
    }

    private static CostPoint Measure(Func<IScheduler> create, int vcpus)
    {
        (LatencySummary hogs, _) = Measure(create, vcpus, sleeps: false);
        (LatencySummary decisions, LatencySummary wakes) = Measure(create, vcpus, sleeps: true);
        return new(vcpus, hogs, decisions, wakes);
    }

    private static (LatencySummary Decisions, LatencySummary Wakes) Measure(Func<IScheduler> create, int vcpus, bool sleeps)
    {
        TimedScheduler policy = new(create());
        VirtualMachine machine = new(policy, new VirtualMachineOptions { PcpuCount = Pcpus, StarvationLimit = Nanoseconds.Zero });

        // However many they are, those who sleep use one CPU of the four at most.
        int period = Math.Max(20, vcpus / 20);
        for (int domain = 1; domain <= vcpus; domain++)
        {
            machine.Start(domain, sleeps && domain % 2 == 0
                ? new PeriodicWorkload(Nanoseconds.FromMicroseconds(100), Nanoseconds.FromMilliseconds(period + (domain % 17)), skipLate: true)
                : new CpuBoundWorkload());
        }

        machine.RunFor(Nanoseconds.FromSeconds(5));
        return Best(machine, policy, DecisionsPerRound);
    }

    private static (LatencySummary Decisions, LatencySummary Wakes) Best(VirtualMachine machine, TimedScheduler policy, int decisionsPerRound)
    {
        (LatencySummary Decisions, LatencySummary Wakes) best = default;
        for (int round = 0; round < Rounds; round++)
        {
            policy.Decisions.Clear();
            policy.Wakes.Clear();

            // A policy that pins decides rarely: a minute is enough of it.
            for (int step = 0; step < 600 && policy.Decisions.Count < decisionsPerRound; step++)
                machine.RunFor(Nanoseconds.FromMilliseconds(100));
            LatencySummary decisions = policy.Decisions.Summarize();
            if (round == 0 || decisions.P99 < best.Decisions.P99)
                best = (decisions, policy.Wakes.Summarize());
        }

        return best;
    }
}
