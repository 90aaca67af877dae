using System.Globalization;
using Tessera.GuestLibrary;
using Tessera.Kernel.Domains;
using Tessera.Linux.Tests.Support;

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

    private static double Uptime(LinuxConsole console) => double.Parse(console.Run("cut -d' ' -f1 /proc/uptime"), CultureInfo.InvariantCulture);

    private static DateTimeOffset Wall(LinuxConsole console) => DateTimeOffset.FromUnixTimeSeconds(long.Parse(console.Run("date +%s"), CultureInfo.InvariantCulture));
}
