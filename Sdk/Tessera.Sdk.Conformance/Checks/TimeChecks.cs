using Tessera.Sdk.Scheduling;
using Tessera.Sdk.Scheduling.Core;
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
