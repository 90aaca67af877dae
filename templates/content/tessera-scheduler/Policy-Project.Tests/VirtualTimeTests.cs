using Tessera.Sdk;
using Tessera.Sdk.Scheduling;
using Tessera.Sdk.Simulation;

namespace PolicyNamespace.Tests;

/// <summary>What this policy is for, on a machine in virtual time: ten seconds pass in a few milliseconds, the same in every run.</summary>
[TestFixture]
public sealed class VirtualTimeTests
{
    [Test]
    public void Three_hogs_share_one_CPU_by_weight_beside_a_domain_that_sleeps_most_of_the_time()
    {
        VirtualMachine machine = new(new PolicyClassScheduler(new PolicyClassOptions()), new VirtualMachineOptions { PcpuCount = 1 });
        SchedulableVcpu[] hogs = [.. new[] { 1, 2, 4 }.Select(parts => machine.Start(parts, new CpuBoundWorkload(), weight: 256 * parts))];
        PeriodicWorkload beat = new(Nanoseconds.FromMicroseconds(20), Nanoseconds.FromMilliseconds(100));
        machine.Start(8, beat);

        machine.RunFor(Nanoseconds.FromSeconds(10));

        Assert.Multiple(() =>
        {
            Assert.That(machine.ShareOf(hogs[0], hogs), Is.EqualTo(1.0 / 7).Within(0.01));
            Assert.That(machine.ShareOf(hogs[1], hogs), Is.EqualTo(2.0 / 7).Within(0.01));
            Assert.That(machine.ShareOf(hogs[2], hogs), Is.EqualTo(4.0 / 7).Within(0.01));
            Assert.That(beat.MissesBy(machine.Now), Is.Zero);
        });
    }
}
