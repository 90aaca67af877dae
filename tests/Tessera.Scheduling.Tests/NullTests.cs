using Tessera.Sdk;
using Tessera.Sdk.Scheduling;
using Tessera.Sdk.Simulation;

namespace Tessera.Scheduling.Tests;

/// <summary>Xen's null scheduler: one vCPU to a CPU, the others wait for one to become free.</summary>
public sealed class NullTests
{
    [Test]
    public void The_first_has_the_cpu_until_it_leaves()
    {
        TimingTable table = new(Policies.Null());
        SchedulableVcpu[] vcpus = [table.Add(1), table.Add(2), table.Add(3)];
        foreach (SchedulableVcpu vcpu in vcpus)
            table.Wake(vcpu, 0);

        // No timer of its own: the core looks every ten seconds.
        table.Row(0, 1, 10_000_000);
        table.Sleep(vcpus[0], 1_000);
        Assert.That(table.Core.Schedule(new(0), Nanoseconds.FromMicroseconds(1_000)).Vcpu, Is.Null);
        table.Wake(vcpus[0], 2_000);
        Assert.That(table.Kicked, Is.True);
        table.Row(2_000, 1, 10_000_000);
        table.Core.Remove(vcpus[0], Nanoseconds.FromMicroseconds(3_000));
        table.Row(3_000, 2, 10_000_000);
    }

    [Test]
    public void Each_vcpu_stays_on_the_cpu_it_was_given()
    {
        HandMachine machine = new(Policies.Null(), pcpus: 3);
        SchedulableVcpu[] vcpus = [machine.Start(1), machine.Start(2, affinity: CpuSet.Of(2)), machine.Start(3), machine.Start(4)];
        machine.Settle();
        Assert.That(machine.Runs, Is.EqualTo(new[] { vcpus[0], vcpus[2], vcpus[1] }));
        Sleep(machine, vcpus[2]);
        Assert.That(machine.Runs[1], Is.Null, "its CPU waits for it, though d4 waits for a CPU");
        machine.Core.Wake(vcpus[2], machine.Now);
        machine.Settle();
        Assert.That(machine.Runs[1], Is.EqualTo(vcpus[2]));
    }

    [Test]
    public void A_free_cpu_goes_to_the_first_waiting_that_may_run_on_it()
    {
        HandMachine machine = new(Policies.Null(), pcpus: 2);
        SchedulableVcpu first = machine.Start(1);
        SchedulableVcpu second = machine.Start(2);
        SchedulableVcpu onlyFirst = machine.Start(3, affinity: CpuSet.Of(0));
        SchedulableVcpu anywhere = machine.Start(4);
        machine.Settle();
        machine.Core.Remove(second, machine.Now);
        machine.Settle();
        Assert.That(machine.Runs, Is.EqualTo(new[] { first, anywhere }));
        Assert.That(machine.Core.Describe(onlyFirst), Does.Contain("waits for a CPU of its own, with 0 others"));
        machine.Core.Remove(first, machine.Now);
        machine.Settle();
        Assert.That(machine.Runs, Is.EqualTo(new[] { onlyFirst, anywhere }));
    }

    [Test]
    public void A_change_of_affinity_moves_it_and_frees_its_cpu()
    {
        HandMachine machine = new(Policies.Null(), pcpus: 2);
        SchedulableVcpu mover = machine.Start(1);
        SchedulableVcpu waiting = machine.Start(2, affinity: CpuSet.Of(0));
        machine.Settle();
        machine.Core.Adjust(mover, CpuSet.Of(1), machine.Now);
        machine.Settle();
        Assert.That(machine.Runs, Is.EqualTo(new[] { waiting, mover }));
    }

    [Test]
    public void More_vcpus_than_cpus_are_starvation_and_the_watchdog_says_so()
    {
        VirtualMachine machine = new(Policies.Null());
        SchedulableVcpu first = machine.Start(1, new CpuBoundWorkload());
        SchedulableVcpu second = machine.Start(2, new CpuBoundWorkload());

        // Decisions are ten seconds apart, and each moves the watchdog's clock by half a second.
        machine.RunUntil(Nanoseconds.FromSeconds(1_000));
        Assert.That(machine.Core.Ejections, Has.Count.EqualTo(1));
        Assert.That(machine.Core.Ejections[0].ToString(), Does.Contain("waits for a CPU of its own"));
        Assert.That(machine.Core.AccountOf(first).CpuTime, Is.GreaterThan(Nanoseconds.FromSeconds(30)));
        Assert.That(machine.Core.AccountOf(second).CpuTime, Is.GreaterThan(Nanoseconds.Zero));
    }

    private static void Sleep(HandMachine machine, SchedulableVcpu vcpu)
    {
        machine.Core.PrepareToSleep(vcpu);
        machine.Core.Sleep(vcpu, machine.Now);
        machine.Decide(vcpu.Pcpu.Index);
        machine.Settle();
    }
}
