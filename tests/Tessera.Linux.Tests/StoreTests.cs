using Tessera.GuestLibrary;
using Tessera.Kernel.Domains;
using Tessera.Kernel.Machines;
using Tessera.Kernel.Store;
using Tessera.Linux.Tests.Support;
using Tessera.Sdk;

namespace Tessera.Linux.Tests;

/// <summary>Stock Linux with the store: what its own drivers write at boot, the shutdown request it watches for, and its user space through /dev/xen/xenbus.</summary>
[TestFixtureSource(typeof(Engines), nameof(Engines.Each))]
internal sealed class StoreTests(string engine)
{
    [TestCase("debian")]
    [TestCase("debian-6.12")]
    public void Linux_says_what_it_can_do_and_powers_off_when_the_store_asks(string name)
    {
        GuestEntry guest = LinuxGuests.Require(name);
        using LinuxMachine machine = new(engine);
        (Domain domain, LinuxConsole console) = machine.Boot("linux", guest, 128);
        StoreClient store = machine.Machine.StoreClient;
        string home = $"/local/domain/{domain.Id.Value}";
        Assert.Multiple(() =>
        {
            Assert.That(store.Read($"{home}/control/feature-poweroff"), Is.EqualTo("1"));
            Assert.That(store.Read($"{home}/control/feature-reboot"), Is.EqualTo("1"));
            Assert.That(console.Run("dmesg | grep -i -E 'xenbus|xenstore' | grep -ciE 'fail|error|timeout|unable'", expectedStatus: 1), Is.EqualTo("0"));
        });
        // It runs orderly_poweroff, which is /sbin/poweroff of its user space.
        store.Write($"{home}/control/shutdown", "poweroff");
        machine.WaitForEnd(domain);
        Assert.That((domain.State, domain.ExitReason), Is.EqualTo((DomainState.Shutdown, "poweroff")));
    }

    [Test]
    public void A_program_in_the_guest_reads_writes_lists_watches_and_transacts()
    {
        GuestEntry guest = LinuxGuests.Require("debian");
        byte[] program = HostRootFilesystem.TryCompile("store.c");
        if (program.Length == 0)
            Assert.Ignore("gcc with a static C library is needed to compile store.c.");
        using LinuxMachine machine = new(engine);
        (Domain domain, LinuxConsole console) = machine.Boot("linux", guest, 256, HostRootFilesystem.Build(guest, new Dictionary<string, byte[]> { ["store"] = program }));
        if (console.Run("ls /dev/xen/xenbus 2>/dev/null || echo none") == "none")
            Assert.Ignore("This kernel has no /dev/xen/xenbus.");
        StoreClient store = machine.Machine.StoreClient;
        string home = $"/local/domain/{domain.Id.Value}";
        store.Write($"{home}/data/from0", "hello guest");
        Assert.Multiple(() =>
        {
            Assert.That(console.Run("/store read name"), Is.EqualTo("linux"));
            Assert.That(console.Run("/store read data/from0"), Is.EqualTo("hello guest"));
            Assert.That(console.Run("/store write data/mine/x value"), Is.EqualTo("OK"));
            Assert.That(store.Read($"{home}/data/mine/x"), Is.EqualTo("value"));
            Assert.That(console.Run("/store list data"), Is.EqualTo("from0 mine"));
            Assert.That(console.Run("/store write name other"), Is.EqualTo("error EACCES"));
            Assert.That(console.Run("/store list /local/domain"), Is.EqualTo("error EACCES"));
            Assert.That(console.Run("/store flood 500"), Is.EqualTo("500 written"));
            Assert.That(store.Read($"{home}/data/flood"), Is.EqualTo("499"));
            Assert.That(console.Run("/store transact data/t1 data/t2"), Is.EqualTo("OK"));
            Assert.That(store.Read($"{home}/data/t1") + store.Read($"{home}/data/t2"), Is.EqualTo("tt"));
        });

        console.Type("/store watch data/bell\n");
        _ = console.WaitFor("event data/bell");
        store.Write($"{home}/data/bell/rung", "now");
        _ = console.WaitFor("event data/bell/rung");
        _ = console.WaitFor("# ");
        Assert.That(machine.Machine.StoreClient.GetPermissions($"{home}/data/mine/x")[0].Domain, Is.EqualTo(domain.Id));
    }
}
