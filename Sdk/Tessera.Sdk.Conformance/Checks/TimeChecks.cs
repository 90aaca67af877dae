using Tessera.Scheduling;
using Tessera.Sdk.Scheduling;
using Tessera.Sdk.Simulation;

namespace Tessera.Sdk.Conformance.Checks;

/// <summary>The longest wait among equal CPU-bound vCPUs.</summary>
internal sealed class StarvationCheck : Check
{
    public StarvationCheck()
        : base("no-starvation", "A runnable vCPU runs within the declared bound.") => Needs = static declaration => declaration.StarvationBound is not null;

    public override CheckResult Run(Subject subject)
    {
        Nanoseconds bound = subject.Declaration.StarvationBound!.Value;
        Nanoseconds longest = Nanoseconds.Zero;
        foreach (int pcpus in subject.Declaration.MultiCpu ? new[] { 1, 2 } : [1])
        {
            VirtualMachine machine = Simulated.Machine(subject, pcpus);
            Dictionary<SchedulableVcpu, Nanoseconds> waitingSince = [];
            SchedulableVcpu?[] runs = new SchedulableVcpu?[pcpus];
            machine.Decided = (pcpu, dispatch) =>
            {
                if (runs[pcpu.Index] == dispatch.Vcpu)
                    return;
                if (runs[pcpu.Index] is { } preempted)
                    waitingSince[preempted] = machine.Now;
                if (dispatch.Vcpu is { } next && waitingSince.Remove(next, out Nanoseconds since))
                    longest = Nanoseconds.Max(longest, machine.Now - since);
                runs[pcpu.Index] = dispatch.Vcpu;
            };
            foreach (SchedulableVcpu hog in Simulated.Hogs(machine, pcpus * subject.Declaration.VcpusPerPcpu))
                waitingSince[hog] = Nanoseconds.Zero;
            machine.RunUntil(Simulated.Window);
            if (Simulated.Ejected(machine) is { } ejected)
                return Failed(ejected);
            foreach (Nanoseconds since in waitingSince.Values)
                longest = Nanoseconds.Max(longest, machine.Now - since);
        }

        return Judge(longest <= bound, $"the longest wait of a CPU-bound vCPU among {subject.Declaration.VcpusPerPcpu} on a physical CPU was {longest} (bound {bound})");
    }
}

/// <summary>From wake to running beside CPU-bound vCPUs.</summary>
internal sealed class WakeLatencyCheck : Check
{
    public WakeLatencyCheck()
        : base("wake-latency", "A vCPU that wakes runs within the declared bound.") => Needs = static declaration => declaration.WakeLatencyBound is not null;

    public override CheckResult Run(Subject subject)
    {
        Nanoseconds bound = subject.Declaration.WakeLatencyBound!.Value;
        VirtualMachine machine = Simulated.Machine(subject, 1);
        Simulated.Hogs(machine, subject.Declaration.VcpusPerPcpu);
        machine.RunUntil(Simulated.WarmUp);
        SchedulableVcpu waker = machine.Start(1000, new PeriodicWorkload(Nanoseconds.FromMicroseconds(500), Nanoseconds.FromMilliseconds(20), skipLate: true));
        machine.RunFor(Simulated.Window);
        if (Simulated.Ejected(machine) is { } ejected)
            return Failed(ejected);
        VcpuAccount account = machine.Core.AccountOf(waker, machine.Now);
        LatencySummary latency = account.WakeLatency;
        string found = $"{latency.Count} wakes beside {subject.Declaration.VcpusPerPcpu} CPU-bound vCPUs: median {latency.P50}, longest {latency.Max} (bound {bound})";
        return Judge(latency.Count > 0 && latency.Count >= account.Wakes - 1 && latency.Max <= bound, found);
    }
}

/// <summary>What a decision costs as vCPUs grow: allocations decide, for they can be counted; times are only reported.</summary>
internal sealed class CostCheck() : Check("decision-cost", "A decision allocates no more, and its cost is reported, as vCPUs grow.")
{
    private const int Decisions = 2_000;

    /// <summary>The best of these is reported: the first ones may have met a compiler at work, or a busy host.</summary>
    private const int Rounds = 5;

    /// <summary>More than this for a decision, and more than on a small machine, is a copy of a queue.</summary>
    private const long FewBytes = 512;

    public override CheckResult Run(Subject subject)
    {
        List<(int Vcpus, double Nanoseconds, long Bytes)> found = [];
        for (int vcpus = 10; vcpus <= subject.Options.MostVcpus; vcpus *= 10)
        {
            if (Measure(subject, vcpus, found) is { } failure)
                return Failed(failure);
        }

        (int most, double slowest, long bytes) = found[^1];
        string detail = $"a decision took {string.Join(", ", found.Select(static point => $"{point.Nanoseconds:0} ns at {point.Vcpus}"))} vCPUs (reported, not judged) and allocated {bytes} B at {most}";
        return Judge(bytes <= FewBytes || bytes <= 2 * found[0].Bytes, detail);
    }

    private static string? Measure(Subject subject, int vcpus, List<(int Vcpus, double Nanoseconds, long Bytes)> found)
    {
        VirtualMachine machine = Simulated.Machine(subject, 1);
        Simulated.Hogs(machine, vcpus);
        long decisions = 0;
        machine.Decided = (_, _) => decisions++;
        Run(machine, Decisions / 4, ref decisions);
        double least = double.MaxValue;
        long bytes = 0;
        long made = 0;
        for (int round = 0; round < Rounds; round++)
        {
            bytes = GC.GetAllocatedBytesForCurrentThread();
            long started = TimeProvider.System.GetTimestamp();
            made = Run(machine, Decisions, ref decisions);
            least = Math.Min(least, TimeProvider.System.GetElapsedTime(started).TotalNanoseconds / Math.Max(1, made));
            bytes = GC.GetAllocatedBytesForCurrentThread() - bytes;
        }

        if (made == 0)
            return Simulated.Ejected(machine) ?? $"no decision was made with {vcpus} CPU-bound vCPUs";
        found.Add((vcpus, least, bytes / made));
        return Simulated.Ejected(machine);
    }

    /// <summary>Runs until so many decisions were made, or for a virtual hour.</summary>
    private static long Run(VirtualMachine machine, int count, ref long decisions)
    {
        decisions = 0;
        for (int second = 0; second < 3600 && decisions < count; second++)
            machine.RunFor(Nanoseconds.FromMilliseconds(100));
        return decisions;
    }
}
