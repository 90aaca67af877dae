using System.Globalization;
using System.Text;
using Tessera.GuestLibrary;
using Tessera.Kernel.Devices.Block;
using Tessera.Kernel.Domains;
using Tessera.Linux.Tests.Support;
using Tessera.Plugins.Block.CopyOnWrite;
using Tessera.Plugins.Block.RawFile;
using Tessera.Sdk.Plugins;

namespace Tessera.Linux.Tests;

/// <summary>Stock Debian kernels are saved at their shell and go on in another machine, whether they know of it or not.</summary>
[TestFixtureSource(typeof(Engines), nameof(Engines.Each))]
internal sealed class SnapshotTests(string engine)
{
    private const int Mebibytes = 128;
    private const string Complaints = "dmesg | grep -ciE 'oops|call trace|W\\+X|BUG:|detected stall|soft lockup|unstable'";

    [TestCase("debian")]
    [TestCase("debian-6.12")]
    public void A_kernel_that_knows_nothing_of_it_goes_on(string name)
    {
        GuestEntry guest = LinuxGuests.Require(name);
        using LinuxMachine first = new(engine), second = new(engine);
        (Domain domain, LinuxConsole console) = first.Boot("linux", guest, Mebibytes);
        _ = console.Run("(while true; do i=$((i+1)); echo $i > /tmp/count; /bin/busybox true; done) & kept=here");
        double uptime = Uptime(console);
        // In the middle of whatever it does.
        console.Type("echo be''fore; sleep 1; echo af''ter\n");
        _ = console.WaitFor("before");
        byte[] snapshot = first.Save(domain);

        Domain next = second.Restore(domain, snapshot);
        second.Machine.Start(next);
        LinuxConsole other = second.ConsoleOf(next);
        _ = other.WaitFor("after\r\n");
        _ = other.WaitFor("# ");
        using (Assert.EnterMultipleScope())
        {
            Assert.That(other.Run("echo $kept"), Is.EqualTo("here"));
            Assert.That(Uptime(other), Is.GreaterThanOrEqualTo(uptime).And.LessThan(uptime + 600));
            Assert.That(other.Run("a=$(cat /tmp/count); sleep 1; b=$(cat /tmp/count); [ $b -gt $a ]; echo $?"), Is.EqualTo("0"), "its loop goes on");
            Assert.That(Math.Abs((Wall(other) - DateTimeOffset.UtcNow).TotalSeconds), Is.LessThan(600));
            Assert.That(other.Run(Complaints, expectedStatus: 1), Is.EqualTo("0"));
        }

        // The one that was saved is another domain, and none the worse.
        first.Machine.Resume(domain);
        _ = console.WaitFor("after\r\n");
        _ = console.WaitFor("# ");
        Assert.That(console.Run("echo $kept"), Is.EqualTo("here"));
        second.Machine.StoreClient.Write($"/local/domain/{next.Id.Value}/control/shutdown", "poweroff");
        second.WaitForEnd(next);
        Assert.That((next.State, next.ExitReason), Is.EqualTo((DomainState.Shutdown, "poweroff")), "its store's watches are there");
    }

    [TestCase("debian")]
    [TestCase("debian-6.12")]
    public void A_kernel_that_suspends_itself_wakes_elsewhere(string name)
    {
        GuestEntry guest = LinuxGuests.Require(name);
        using LinuxMachine first = new(engine), second = new(engine);
        (Domain domain, LinuxConsole console) = first.Boot("linux", guest, Mebibytes);
        _ = console.Run("kept=here");
        double uptime = Uptime(console);
        first.Machine.StoreClient.Write($"/local/domain/{domain.Id.Value}/control/shutdown", "suspend");
        first.WaitForEnd(domain);
        Assert.That((domain.State, domain.ExitReason), Is.EqualTo((DomainState.Suspended, "suspend")));

        Domain next = second.Restore(domain, first.Save(domain));
        second.Machine.Start(next);
        LinuxConsole other = second.ConsoleOf(next);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(other.Run("echo $kept"), Is.EqualTo("here"));
            Assert.That(Uptime(other), Is.GreaterThanOrEqualTo(uptime).And.LessThan(uptime + 600));
            Assert.That(other.Run(Complaints, expectedStatus: 1), Is.EqualTo("0"));
        }

        other.Type("poweroff -f\n");
        second.WaitForEnd(next);
        Assert.That((next.State, next.ExitReason), Is.EqualTo((DomainState.Shutdown, "poweroff")));
    }

    [Test]
    public void A_kernel_that_suspends_itself_finds_its_disks_where_it_wakes()
    {
        GuestEntry guest = LinuxGuests.RequireRootDisk();
        string folder = Directory.CreateTempSubdirectory("tessera-suspended-").FullName;
        try
        {
            const string Script = """
                set -e
                mkfs.ext4 -q /dev/xvdb
                mkdir -p /m
                mount /dev/xvdb /m
                for i in $(seq 1 200); do
                    dd if=/usr/bin/dpkg of=/m/$((i % 20)) bs=64k status=none
                    sync
                    echo "written $i"
                done
                for i in $(seq 0 19); do cmp /usr/bin/dpkg /m/$i; done
                umount /m
                e2fsck -fn /dev/xvdb
                """;
            string arguments = $"root=/dev/xvda rw tessera.exec={Convert.ToBase64String(Encoding.ASCII.GetBytes(Script + "\n"))}";
            using LinuxMachine first = new(engine), second = new(engine);
            Domain domain = first.Create("linux", guest, arguments: arguments);
            Attach(first, domain);
            first.Machine.Start(domain);
            _ = first.ConsoleOf(domain).WaitFor("written 20");
            first.Machine.StoreClient.Write($"/local/domain/{domain.Id.Value}/control/shutdown", "suspend");
            first.WaitForEnd(domain);
            Assert.That((domain.State, domain.ExitReason), Is.EqualTo((DomainState.Suspended, "suspend")));
            byte[] snapshot = first.Save(domain);
            first.Machine.Destroy(domain);

            Domain next = second.Restore(domain, snapshot);
            Attach(second, next);
            second.Machine.Start(next);
            LinuxConsole console = second.ConsoleOf(next);
            string output = console.WaitFor("tessera-guest: exec done, status ");
            Assert.That(console.WaitFor("\n").Trim(), Is.EqualTo("0"), () => output);
            Assert.That(output, Does.Contain("written 200").And.Not.Contain("written 19\r"));
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }

        void Attach(LinuxMachine machine, Domain domain)
        {
            CopyOnWriteOptions root = new() { Base = guest.RootDiskPath!, Overlay = Path.Combine(folder, "root") };
            RawFileOptions data = new() { Path = Path.Combine(folder, "data"), Create = new ByteSize(96 << 20) };
            _ = machine.Machine.AttachDisk(domain, new DiskConfiguration { Name = "xvda", Backend = new CopyOnWrite(root) });
            _ = machine.Machine.AttachDisk(domain, new DiskConfiguration { Name = "xvdb", Backend = new RawFile(data) });
        }
    }

    private static double Uptime(LinuxConsole console) => double.Parse(console.Run("cut -d' ' -f1 /proc/uptime"), CultureInfo.InvariantCulture);

    private static DateTimeOffset Wall(LinuxConsole console) => DateTimeOffset.FromUnixTimeSeconds(long.Parse(console.Run("date +%s"), CultureInfo.InvariantCulture));
}
