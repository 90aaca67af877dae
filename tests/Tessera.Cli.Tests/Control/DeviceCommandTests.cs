using System.Text.Json;
using Tessera.Cli.Tests.Support;

namespace Tessera.Cli.Tests.Control;

/// <summary>Disks and network interfaces by `tessera ctl`, on a guest that never takes them up.</summary>
[NonParallelizable]
internal sealed class DeviceCommandTests
{
    [TestCaseSource(typeof(Engines), nameof(Engines.Cases))]
    public void Disks_and_interfaces_are_plugged_in_and_out_and_the_result_says_so(string engine)
    {
        using ControlledMachine machine = ControlledMachine.Run(engine);
        Assert.That(machine.Do("attach-disk", "one", "xvdb", "ram", "--set", "size=8 MiB"), Does.Contain("one: xvdb is attached"));
        Assert.That(machine.Do("attach-nic", "one", "switch", "--set", "network=lan", "--address", "10.0.0.1", "--address", "fe80::1"), Does.Contain("one: interface 0 is attached"));
        Refused(machine, "has a disk xvdb already", "attach-disk", "one", "xvdb", "ram", "--set", "size=8 MiB");
        Refused(machine, "xvdb of one: its backend does not grow", "grow-disk", "one", "xvdb");
        Refused(machine, "Domain one has no disk xvdc.", "grow-disk", "one", "xvdc");
        Assert.That(machine.Do("detach-disk", "one", "xvdb"), Does.Contain("one: disk xvdb is detached"));
        Assert.That(machine.Do("detach-nic", "one", "0"), Does.Contain("one: interface 0 is detached"));
        Refused(machine, "Domain one has no disk xvdb.", "detach-disk", "one", "xvdb");
        Refused(machine, "Domain one has no interface 0.", "detach-nic", "one", "0");
        JsonElement[] changes = [.. machine.End().GetProperty("changes").EnumerateArray()];
        Assert.That(
            changes.Select(change => change.GetProperty("command").GetString()!.Split(' ')[0]),
            Is.SupersetOf(new[] { "attach-disk", "attach-nic", "detach-disk", "detach-nic" }));
    }

    [TestCaseSource(typeof(Engines), nameof(Engines.Cases))]
    public void A_disk_that_has_grown_is_told_of(string engine)
    {
        string file = Path.GetTempFileName();
        File.WriteAllBytes(file, new byte[1 << 20]);
        using ControlledMachine machine = ControlledMachine.Run(engine);
        _ = machine.Do("attach-disk", "one", "xvdb", "raw-file", "--set", $"path={file}");
        // As an administrator does it: .NET would want the lock that the disk has.
        using (System.Diagnostics.Process truncate = System.Diagnostics.Process.Start("truncate", ["-s", "3M", file]))
            truncate.WaitForExit();
        Assert.That(machine.Do("grow-disk", "one", "xvdb"), Does.Contain("one: xvdb has 3145728 bytes"));
        machine.End();
        File.Delete(file);
    }

    [TestCaseSource(typeof(Engines), nameof(Engines.Cases))]
    public void A_mistake_is_named_with_its_cure_and_changes_nothing(string engine)
    {
        using ControlledMachine machine = ControlledMachine.Run(engine);
        Refused(machine, "copy-on-write", "attach-disk", "one", "xvdb", "rum");
        Refused(machine, "size", "attach-disk", "one", "xvdb", "ram", "--set", "sice=8 MiB");
        Refused(machine, "xvda to xvdz", "attach-disk", "one", "sdb", "ram", "--set", "size=8 MiB");
        Refused(machine, "write key=value", "attach-disk", "one", "xvdb", "ram", "--set", "size");
        Refused(machine, "must be an IP address", "attach-nic", "one", "switch", "--address", "10.0.0.300");
        Refused(machine, "nothing checks them", "attach-nic", "one", "switch", "--address", "10.0.0.1", "--any-source");
        Refused(machine, "The domains are one, two, four", "attach-nic", "three", "switch");
        Assert.That(machine.End().GetProperty("domains")[0].GetProperty("disks").GetArrayLength(), Is.Zero);
    }

    [Test]
    public void A_simulated_domain_has_no_devices_and_says_so()
    {
        using ControlledMachine machine = ControlledMachine.Simulate();
        Refused(machine, "Domain one is simulated: it has no disks.", "attach-disk", "one", "xvdb", "ram", "--set", "size=8 MiB");
        Refused(machine, "Domain one is simulated: it has no interfaces.", "attach-nic", "one", "switch");
        machine.End();
    }

    private static void Refused(ControlledMachine machine, string why, params string[] arguments)
    {
        (int code, string _, string error) = machine.Ctl(arguments);
        Assert.That(code, Is.Not.Zero);
        Assert.That(error, Does.Contain(why));
    }
}
