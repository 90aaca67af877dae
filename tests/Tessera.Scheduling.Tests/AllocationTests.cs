using Tessera.Sdk;
using Tessera.Sdk.Scheduling;
using Tessera.Sdk.Scheduling.Core;

namespace Tessera.Scheduling.Tests;

public sealed class AllocationTests
{
    [Test]
    public void Deciding_waking_and_sleeping_allocate_nothing([Values("bvt", "credit", "credit2", "eevdf", "null", "round-robin", "rtds", "sedf", "stride")] string policy, [Values(1, 4)] int pcpus)
    {
        Quiet host = new();
        SchedulerCore core = new(
            Policies.Named(policy), policy, Policies.RoundRobin, new() { PcpuCount = pcpus, HostClock = TimeProvider.System }, host);
        SchedulableVcpu[] vcpus =
        [
            .. Enumerable.Range(0, 50).Select(index => new SchedulableVcpu(
                new SchedulableDomain(new DomainId((ushort)index), 1 + index), affinity: index % 3 == 0 ? CpuSet.Of(index % pcpus) : null)),
        ];
        foreach (SchedulableVcpu vcpu in vcpus)
        {
            core.Add(vcpu, Nanoseconds.Zero);
            core.Wake(vcpu, Nanoseconds.Zero);
        }

        long now = 0;
        Work(10_000);
        Assert.That(Allocations.LeastOf(() => Work(2_000)), Is.Zero);
        Assert.That(core.Ejections, Is.Empty);

        void Work(int rounds)
        {
            for (int round = 0; round < rounds; round++)
            {
                now += 1_300_000;
                Dispatch dispatch = core.Schedule(new PcpuId(round % pcpus), new(now));
                if (dispatch.Vcpu is { } vcpu && round % 3 == 0)
                    core.Sleep(vcpu, new(now));
                else if (dispatch.Vcpu is { } other && round % 7 == 0)
                    core.Yield(other, new(now));
                core.Wake(vcpus[round % vcpus.Length], new(now));
            }
        }
    }

    private sealed class Quiet : ISchedulerHost
    {
        public void Kick(PcpuId pcpu)
        {
        }

        public void Shorten(PcpuId pcpu, Nanoseconds until)
        {
        }
    }
}
