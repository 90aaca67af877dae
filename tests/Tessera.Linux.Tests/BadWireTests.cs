using System.Globalization;
using Tessera.GuestLibrary;
using Tessera.Kernel.Devices.Network;
using Tessera.Kernel.Domains;
using Tessera.Kernel.Machines;
using Tessera.Linux.Tests.Support;
using Tessera.Plugins.Net.Loss;
using Tessera.Plugins.Net.Switch;
using Tessera.Sdk;
using Tessera.Sdk.Devices;

namespace Tessera.Linux.Tests;

/// <summary>Stock Linux over a bad wire, and in another's name.</summary>
[TestFixtureSource(typeof(Engines), nameof(Engines.First))]
internal sealed class BadWireTests(string engine)
{
    private readonly SharedThings _shared = new();

    [Test]
    public void Linux_gets_everything_over_a_bad_wire_and_nothing_in_anothers_name()
    {
        GuestEntry guest = LinuxGuests.Require("debian");
        using LinuxMachine machine = new(engine, 2);
        LossOptions bad = new() { Loss = 2, Duplication = 2, Delay = Nanoseconds.FromMilliseconds(20), Jitter = Nanoseconds.FromMilliseconds(5), Seed = 4 };
        Domain first = Create(machine, guest, 1, new Loss(bad, Port(), TimeProvider.System));
        Domain second = Create(machine, guest, 2, Port());
        LinuxConsole one = Start(machine, first);
        LinuxConsole two = Start(machine, second);
        string least = one.Run("ping -c 20 -i 0.2 10.0.0.2 | sed -n 's/.*min.* = \\([0-9.]*\\)\\/.*/\\1/p'");
        Assert.That(double.Parse(least, CultureInfo.InvariantCulture), Is.GreaterThanOrEqualTo(40), "20 ms out and 20 ms in");

        _ = two.Run("dd if=/dev/urandom of=/tmp/all bs=1M count=2 2>/dev/null; httpd -p 80 -h /tmp");
        Assert.That(one.Run("wget -q -O /tmp/all http://10.0.0.2/all; md5sum </tmp/all"), Is.EqualTo(two.Run("md5sum </tmp/all")));

        Assert.That(second.Nics[0].Read().Refused, Is.Zero);
        _ = two.Run("ip link set eth0 down; ip link set eth0 address 00:16:3e:00:00:01; ip link set eth0 up; ping -c 2 -W 1 10.0.0.1 >/dev/null; true");
        Assert.That(second.Nics[0].Read().Refused, Is.Positive, "it spoke in the first one's name");
        _ = two.Run("ip link set eth0 down; ip link set eth0 address 00:16:3e:00:00:02; ip link set eth0 up");
        Assert.That(two.Run("ping -c 20 -i 0.2 10.0.0.1 | grep -c 'ttl='"), Is.Not.EqualTo("0"));
    }

    private Switch Port() => new(new SwitchOptions(), _shared);

    private static Domain Create(LinuxMachine machine, GuestEntry guest, int number, INetworkBackend backend)
    {
        Domain domain = machine.Create($"bad{number}", guest, 256, arguments: $"tessera.ip=10.0.0.{number}/24");
        _ = machine.Machine.AttachNic(domain, new NicConfiguration { Number = 0, Address = new MacAddress(0x0016_3E00_0000UL + (ulong)number), Backend = backend });
        return domain;
    }

    private static LinuxConsole Start(LinuxMachine machine, Domain domain)
    {
        machine.Machine.Start(domain);
        machine.WaitForShell(domain);
        return machine.ConsoleOf(domain);
    }
}
