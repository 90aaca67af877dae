using Tessera.GuestLibrary;
using Tessera.Kernel.Devices.Network;
using Tessera.Kernel.Domains;
using Tessera.Kernel.Machines;
using Tessera.Linux.Tests.Support;
using Tessera.Plugins.Net.Switch;
using Tessera.Sdk.Devices;

namespace Tessera.Linux.Tests;

/// <summary>Stock Linux with its own xen-netfront on a switch.</summary>
[TestFixtureSource(typeof(Engines), nameof(Engines.Each))]
internal sealed class NetworkTests(string engine)
{
    private const int Megabytes = 16;

    private readonly SharedThings _shared = new();

    [TestCase(1)]
    [TestCase(2)]
    public void Two_domains_on_a_switch_ping_and_send_what_arrives_unchanged(int pcpus)
    {
        GuestEntry guest = LinuxGuests.Require("debian");
        using LinuxMachine machine = new(engine, pcpus);
        Domain first = Create(machine, guest, 1);
        Domain second = Create(machine, guest, 2);
        LinuxConsole one = Start(machine, first);
        LinuxConsole two = Start(machine, second);
        Assert.That(one.Run("ping -c 5 -i 0.2 10.0.0.2 | grep -c 'ttl='"), Is.EqualTo("5"));
        // Small frames, and ones that are cut into fragments by IP.
        Assert.That(one.Run("ping -c 3 -i 0.2 -s 20000 10.0.0.2 | grep -c 'ttl='"), Is.EqualTo("3"));

        _ = two.Run($"dd if=/dev/urandom of=/tmp/all bs=1M count={Megabytes} 2>/dev/null; httpd -p 80 -h /tmp");
        Assert.That(one.Run("wget -q -O /tmp/all http://10.0.0.2/all; md5sum </tmp/all"), Is.EqualTo(two.Run("md5sum </tmp/all")));
        NetworkReading sender = second.Nics[0].Read();
        NetworkReading receiver = first.Nics[0].Read();
        TestContext.Out.WriteLine($"{sender}\n{receiver}");
        using (Assert.EnterMultipleScope())
        {
            Assert.That(sender.SentBytes, Is.GreaterThan((long)Megabytes << 20));
            Assert.That(receiver.ReceivedBytes, Is.GreaterThan((long)Megabytes << 20));
            Assert.That(sender.SentFrames, Is.LessThan((Megabytes << 20) / 3000), "large frames go whole");
            Assert.That((sender.Refused, receiver.Refused, sender.BrokenRings, receiver.BrokenRings), Is.EqualTo((0L, 0L, 0L, 0L)));
        }
    }

    [Test]
    public async Task An_interface_is_plugged_in_and_out_while_Linux_runs()
    {
        GuestEntry guest = LinuxGuests.Require("debian");
        using LinuxMachine machine = new(engine);
        Domain domain = Create(machine, guest, 1);
        LinuxConsole console = Start(machine, domain);
        Nic added = machine.Machine.AttachNic(domain, Configuration(1, 9));
        _ = console.Run("until [ -e /sys/class/net/eth1 ]; do sleep 0.1; done; cat /sys/class/net/eth1/address");
        Assert.That(console.Run("cat /sys/class/net/eth1/address"), Is.EqualTo(added.Address.ToString()));
        Assert.That(await added.DetachAsync(Hang.Limit), Is.True);
        _ = console.Run("while [ -e /sys/class/net/eth1 ]; do sleep 0.1; done");
        Assert.That(await domain.Nics[0].DetachAsync(Hang.Limit), Is.True, () => console.All);
        _ = console.Run("while [ -e /sys/class/net/eth0 ]; do sleep 0.1; done");
    }

    private Domain Create(LinuxMachine machine, GuestEntry guest, int number)
    {
        Domain domain = machine.Create($"net{number}", guest, 256, arguments: $"tessera.ip=10.0.0.{number}/24");
        _ = machine.Machine.AttachNic(domain, Configuration(0, number));
        return domain;
    }

    private NicConfiguration Configuration(int number, int address) => new() { Number = number, Address = new MacAddress(0x0016_3E00_0000UL + (ulong)address), Backend = new Switch(new SwitchOptions(), _shared) };

    private static LinuxConsole Start(LinuxMachine machine, Domain domain)
    {
        machine.Machine.Start(domain);
        machine.WaitForShell(domain);
        return machine.ConsoleOf(domain);
    }
}
