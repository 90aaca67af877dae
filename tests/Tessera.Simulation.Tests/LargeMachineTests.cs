using Tessera.Plugins.Schedulers.Bvt;
using Tessera.Sdk;
using Tessera.Sdk.Scheduling;
using Tessera.Sdk.Simulation;

namespace Tessera.Simulation.Tests;

/// <summary>The largest machine, and the simulator's own speed.</summary>
public sealed class LargeMachineTests
{
    private const int Pcpus = VirtualMachineOptions.MaxPcpus;
    private const int Vcpus = VirtualMachineOptions.MaxVcpus;

    [Test]
    public void Ten_thousand_vcpus_share_256_pcpus()
    {
        VirtualMachine machine = new(new BvtScheduler(new()), Pcpus);
        SchedulableVcpu[] hogs = [.. Enumerable.Range(1, Vcpus).Select(domain => machine.Start(domain, new CpuBoundWorkload(), weight: domain % 2 == 0 ? 256 : 512))];
        machine.RunUntil(Nanoseconds.FromSeconds(2));
        double used = hogs.Sum(hog => machine.Core.AccountOf(hog, machine.Now).CpuTime.TotalSeconds);
        double heavy = hogs.Where(static hog => hog.Domain.Weight == 512).Sum(hog => machine.Core.AccountOf(hog, machine.Now).CpuTime.TotalSeconds);
        Assert.Multiple(() =>
        {
            Assert.That(used, Is.EqualTo(2.0 * Pcpus).Within(1e-6));
            Assert.That(heavy / used, Is.EqualTo(2 / 3.0).Within(0.03));
            Assert.That(machine.Core.Ejections, Is.Empty);
        });
    }

    [Test]
    public void More_are_refused()
    {
        Assert.That(() => new VirtualMachine(new BvtScheduler(new()), Pcpus + 1), Throws.TypeOf<ArgumentOutOfRangeException>());
        VirtualMachine machine = new(new BvtScheduler(new()));
        for (int domain = 1; domain <= Vcpus; domain++)
            machine.Start(domain, new OnOffWorkload(Nanoseconds.FromMilliseconds(1), Nanoseconds.FromSeconds(1)));
        Assert.That(() => machine.Start(Vcpus + 1, new CpuBoundWorkload()), Throws.InvalidOperationException);
    }

    [Test]
    public void Simulating_allocates_nothing_once_it_runs()
    {
        VirtualMachine machine = new(new BvtScheduler(new()), 4);
        for (int domain = 1; domain <= 100; domain++)
            machine.Start(domain, domain % 2 == 0 ? new CpuBoundWorkload() : new PeriodicWorkload(new(300_000), new(7_000_000), skipLate: true));
        machine.RunFor(Nanoseconds.FromSeconds(3));
        Assert.That(Allocations.LeastOf(() => machine.RunFor(Nanoseconds.FromSeconds(3))), Is.Zero);
    }
}
