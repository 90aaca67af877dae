using Tessera.Sdk;
using Tessera.Sdk.Scheduling;
using Tessera.Sdk.Simulation;

namespace Tessera.Scheduling.Tests;

/// <summary>
/// On many CPUs BVT finds whom to preempt by an index; where affinities overlap it looks at each CPU. A domain that sleeps for ever on one CPU of
/// sixteen makes affinities overlap and changes nothing else: both ways must come to the same shares and latencies.
/// </summary>
public sealed class BvtManyCpuTests
{
    private const int Pcpus = 16;

    [Test]
    public void The_index_finds_what_a_look_at_every_cpu_finds([Values(20, 24, 40, 100)] int vcpus)
    {
        (double[] indexed, Nanoseconds indexedLatency) = Run(vcpus, overlap: false);
        (double[] searched, Nanoseconds searchedLatency) = Run(vcpus, overlap: true);
        for (int index = 0; index < indexed.Length; index++)
            Assert.That(indexed[index], Is.EqualTo(searched[index]).Within(0.02 + (0.01 * searched[index])), $"d{index + 1}");
        Assert.That(Math.Abs(indexedLatency.TotalMilliseconds - searchedLatency.TotalMilliseconds), Is.LessThanOrEqualTo(5), "latencies to an allowance");
    }

    [Test]
    public void Equal_hogs_on_many_cpus_have_equal_shares_within_an_allowance()
    {
        (double[] times, _) = Run(40, overlap: false, sleepers: false);
        Assert.That(times.Max() - times.Min(), Is.LessThanOrEqualTo(0.011));
    }

    private static (double[] CpuTimes, Nanoseconds Latency) Run(int vcpus, bool overlap, bool sleepers = true)
    {
        VirtualMachine machine = new(Policies.Bvt(), Pcpus);
        if (overlap)
            machine.Start(5000, new CpuBoundWorkload(Nanoseconds.FromMicroseconds(1)), affinity: CpuSet.Of(0));
        SchedulableVcpu[] all = [.. Enumerable.Range(1, vcpus).Select(domain => machine.Start(domain, Load(domain)))];
        machine.RunUntil(Nanoseconds.FromSeconds(10));
        Nanoseconds latency = Nanoseconds.Zero;
        foreach (SchedulableVcpu vcpu in all)
            latency = Nanoseconds.Max(latency, machine.Core.AccountOf(vcpu).WakeLatency.P99);
        return ([.. all.Select(vcpu => machine.Core.AccountOf(vcpu, machine.Now).CpuTime.TotalSeconds)], latency);

        Workload Load(int domain) => sleepers && domain % 4 == 0
            ? new PeriodicWorkload(Nanoseconds.FromMilliseconds(1), Nanoseconds.FromMilliseconds(20 + domain), skipLate: true)
            : new CpuBoundWorkload();
    }
}
