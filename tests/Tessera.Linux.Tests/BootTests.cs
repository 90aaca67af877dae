using Tessera.GuestLibrary;
using Tessera.Kernel.Domains;
using Tessera.Linux.Tests.Support;

namespace Tessera.Linux.Tests;

/// <summary>Stock Debian kernels boot to a shell that answers, in little memory, and power off.</summary>
[TestFixtureSource(typeof(Engines), nameof(Engines.Each))]
internal sealed class BootTests(string engine)
{
    // Documented as the least are 80; how much of them a kernel keeps for itself differs from one security update to the next.
    private const int LittleMebibytes = 96;

    [TestCase("debian")]
    [TestCase("debian-6.12")]
    public void A_stock_kernel_boots_to_a_shell_that_obeys_and_powers_off(string name)
    {
        GuestEntry guest = LinuxGuests.Require(name);
        using LinuxMachine machine = new(engine);
        (Domain domain, LinuxConsole console) = machine.Boot("linux", guest, LittleMebibytes);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(console.Run("uname -r"), Is.EqualTo(guest.KernelVersion));
            Assert.That(console.Run("echo one two | tr a-z A-Z | wc -w"), Is.EqualTo("2"));
            Assert.That(console.Run("i=0; while [ $i -lt 20 ]; do /bin/busybox true && i=$((i+1)); done; echo $i"), Is.EqualTo("20"));
            Assert.That(console.Run("a=$(cut -d. -f1 /proc/uptime); sleep 1; b=$(cut -d. -f1 /proc/uptime); [ $b -gt $a ]; echo $?"), Is.EqualTo("0"));
            Assert.That(console.Run("cat /proc/cpuinfo | grep -c ^processor"), Is.EqualTo("1"));
            Assert.That(console.Run("dmesg | grep -ciE 'oops|call trace|W\\+X|BUG:'", expectedStatus: 1), Is.EqualTo("0"), "the kernel complained about its machine");
        }

        console.Type("poweroff -f\n");
        machine.WaitForEnd(domain);
        Assert.That((domain.State, domain.ExitReason, domain.CrashReport), Is.EqualTo((DomainState.Shutdown, "poweroff", (CrashReport?)null)));
    }

    [Test]
    public void Control_C_ends_a_foreground_program_and_reboot_says_so()
    {
        GuestEntry guest = LinuxGuests.Require("debian");
        using LinuxMachine machine = new(engine);
        (Domain domain, LinuxConsole console) = machine.Boot("linux", guest);
        // The program itself says that it runs: a Control-C before the shell has put it in the foreground would be the shell's.
        console.Type("sh -c 'echo started; exec sleep 1000'; echo was $?\n");
        _ = console.WaitFor("started\r\n");
        console.Type("\x03");
        _ = console.WaitFor("# ");
        Assert.That(console.Run("pidof sleep", expectedStatus: 1), Is.Empty);
        console.Type("reboot -f\n");
        machine.WaitForEnd(domain);
        Assert.That((domain.State, domain.ExitReason), Is.EqualTo((DomainState.Shutdown, "reboot")));
    }

    [Test]
    public void Much_output_and_much_pasted_input_arrive_whole()
    {
        GuestEntry guest = LinuxGuests.Require("debian");
        using LinuxMachine machine = new(engine);
        (_, LinuxConsole console) = machine.Boot("linux", guest);
        string output = console.Run("dd if=/dev/zero bs=1k count=60 2>/dev/null | tr '\\0' x; echo; seq 1 1500");
        Assert.That(output, Is.EqualTo(new string('x', 60 << 10) + "\n" + string.Join('\n', Enumerable.Range(1, 1500))));

        string pasted = string.Concat(Enumerable.Range(0, 600).Select(line => $"line {line} of the pasted text\n"));
        console.Type("stty -echo; cat >/tmp/pasted; stty echo\n");
        _ = console.WaitFor("stty echo");
        console.Type(pasted);
        console.Type("\x04");
        _ = console.WaitFor("# ");
        string expected = Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(System.Text.Encoding.ASCII.GetBytes(pasted)));
        Assert.That(console.Run("sha256sum </tmp/pasted"), Does.StartWith(expected));
    }
}
