using Tessera.GuestLibrary;
using Tessera.Kernel.Domains;
using Tessera.Kernel.Machines;
using Tessera.Linux.Tests.Support;
using Tessera.Plugins.Schedulers.Bvt;
using Tessera.Sdk;

namespace Tessera.Linux.Tests;

/// <summary>Several Linux domains on one machine: they share its CPUs by weight, stop and go on, and die alone.</summary>
[TestFixtureSource(typeof(Engines), nameof(Engines.First))]
internal sealed class TogetherTests(string engine)
{
    [TestCase(1)]
    [TestCase(2)]
    public void A_crash_takes_one_domain_and_leaves_the_other(int pcpus)
    {
        GuestEntry guest = LinuxGuests.Require("debian");
        GuestEntry newer = LinuxGuests.Require("debian-6.12");
        using LinuxMachine machine = new(engine, pcpus);
        Domain doomed = machine.Create("doomed", guest);
        Domain other = machine.Create("other", newer);
        machine.Machine.Start(doomed);
        machine.Machine.Start(other);
        machine.WaitForShell(doomed);
        machine.WaitForShell(other);
        machine.ConsoleOf(doomed).Type("echo c >/proc/sysrq-trigger\n");
        machine.WaitForEnd(doomed);
        CrashReport report = doomed.CrashReport!;
        using (Assert.EnterMultipleScope())
        {
            Assert.That(doomed.State, Is.EqualTo(DomainState.Crashed));
            Assert.That(doomed.ExitReason, Does.StartWith("crash: "));
            Assert.That(report.Registers["rip"], Is.GreaterThan(0xFFFF_FFFF_8000_0000));
            Assert.That(report.UserMode, Is.False);
            Assert.That(report.ConsoleTail, Has.Some.Contains("Kernel Offset").Or.Some.Contains("end Kernel panic"));
            Assert.That(machine.ConsoleOf(other).Run("seq 1 1000 | tail -n 1"), Is.EqualTo("1000"));
        }
    }

    [Test]
    public void Pausing_holds_a_domain_and_destroying_one_at_work_frees_its_memory()
    {
        GuestEntry guest = LinuxGuests.Require("debian");
        using LinuxMachine machine = new(engine);
        (Domain held, LinuxConsole console) = machine.Boot("held", guest);
        (Domain other, LinuxConsole second) = machine.Boot("other", guest);
        for (int round = 0; round < 20; round++)
        {
            machine.Machine.Pause(held);
            console.Type("echo heard\n");
            // The other one's answer proves that time passed in which the held one could have run.
            _ = second.Run("true");
            Nanoseconds before = CpuTime(machine, held);
            _ = second.Run("echo");
            Assert.That(CpuTime(machine, held), Is.EqualTo(before), "a paused domain used the CPU");
            machine.Machine.Resume(held);
            _ = console.WaitFor("\nheard");
            _ = console.WaitFor("# ");
        }

        console.Type("while :; do /bin/busybox true; done\n");
        machine.Machine.Destroy(held);
        Assert.That(held.State, Is.EqualTo(DomainState.Destroyed));
        Assert.That(machine.Machine.Accounts.Snapshot([held]).Domains[0].AssignedBytes, Is.Zero);
        Assert.That(console.All, Does.Contain("heard"));
        Assert.That(held.Console.Write("lost"u8), Is.Zero);

        // At any moment of a boot, too.
        for (int attempt = 0; attempt < 6; attempt++)
        {
            Domain young = machine.Create($"young{attempt}", guest);
            machine.Machine.Start(young);
            for (int wait = 0; wait < attempt; wait++)
                _ = second.Run("/bin/busybox true");
            machine.Machine.Destroy(young);
        }

        Assert.That(second.Run("echo alive"), Is.EqualTo("alive"));
        Assert.That(other.State, Is.EqualTo(DomainState.Running));
    }

    [Test]
    public void Two_busy_domains_share_a_cpu_by_their_weights_and_both_shells_answer()
    {
        GuestEntry guest = LinuxGuests.Require("debian");
        using LinuxMachine machine = new(engine, pcpus: 1, new BvtScheduler(new BvtOptions()));
        Domain light = machine.Create("light", guest, arguments: GuestInit.CpuLoadArgument, weight: 100);
        Domain heavy = machine.Create("heavy", guest, arguments: GuestInit.CpuLoadArgument, weight: 300);
        machine.Machine.Start(light);
        machine.Machine.Start(heavy);
        machine.WaitForShell(light);
        machine.WaitForShell(heavy);

        (Nanoseconds lightBefore, Nanoseconds heavyBefore) = (CpuTime(machine, light), CpuTime(machine, heavy));
        Nanoseconds used;
        do
        {
            Assert.That(machine.ConsoleOf(light).Run("echo light"), Is.EqualTo("light"));
            Assert.That(machine.ConsoleOf(heavy).Run("echo heavy"), Is.EqualTo("heavy"));
            used = CpuTime(machine, light) - lightBefore + (CpuTime(machine, heavy) - heavyBefore);
        }
        while (used < Nanoseconds.FromSeconds(6));

        double share = 100.0 * (CpuTime(machine, light) - lightBefore).Value / used.Value;
        Assert.That(share, Is.EqualTo(25).Within(2), "percentage of the accounted CPU time that the domain of weight 100 got beside one of weight 300");
    }

    private static Nanoseconds CpuTime(LinuxMachine machine, Domain domain) => machine.Machine.Accounts.Snapshot().Domains.Single(each => each.Name == domain.Name).CpuTime;
}
