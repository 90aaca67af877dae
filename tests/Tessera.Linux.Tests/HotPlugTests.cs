using System.Text.Json.Nodes;
using Tessera.GuestLibrary;
using Tessera.Linux.Tests.Support;

namespace Tessera.Linux.Tests;

/// <summary>A stock Debian that gets a disk and an interface by `tessera ctl` while it runs, uses them, and lets go of them.</summary>
[TestFixtureSource(typeof(Engines), nameof(Engines.First))]
internal sealed class HotPlugTests(string engine)
{
    [Test]
    public void A_disk_and_an_interface_are_plugged_in_and_out_by_ctl_while_the_guest_runs()
    {
        _ = LinuxGuests.RequireRootDisk();
        string folder = Directory.CreateTempSubdirectory("tessera-plug-").FullName;
        try
        {
            string socket = Path.Combine(folder, "s");
            string output = Path.Combine(folder, "out");
            File.WriteAllText(Path.Combine(folder, "machine.json"), Configuration().ToJsonString());
            using TesseraProcess machine = new("run", Path.Combine(folder, "machine.json"), "--quiet", "--out", output, "--control", socket, "--engine", engine);
            WaitFor("waits for a disk");
            TesseraProcess.Do("ctl", "--socket", socket, "attach-disk", "guest", "xvdb", "ram", "--set", "size=8 MiB");
            WaitFor("wrote and read its disk");
            TesseraProcess.Do("ctl", "--socket", socket, "detach-disk", "guest", "xvdb");
            WaitFor("waits for an interface");
            TesseraProcess.Do("ctl", "--socket", socket, "attach-nic", "guest", "switch", "--set", "network=lan", "--mac", "00:16:3e:00:00:07");
            WaitFor("has an interface 00:16:3e:00:00:07");
            TesseraProcess.Do("ctl", "--socket", socket, "detach-nic", "guest", "0");
            WaitFor("has neither any more");
            Assert.That(machine.EndsWell(), machine.Said);
            JsonArray changes = JsonNode.Parse(File.ReadAllText(Path.Combine(output, "result.json")))!["changes"]!.AsArray();
            Assert.That(
                changes.Select(change => (string)change!["what"]!),
                Is.EqualTo(new[] { "domain guest: disk xvdb attached", "domain guest: disk xvdb detached", "domain guest: interface 0 attached", "domain guest: interface 0 detached" }));

            void WaitFor(string line)
            {
                string console = Path.Combine(output, "console-guest.log");
                string text = "";
                bool found = SpinWait.SpinUntil(
                    () =>
                    {
                        bool isOver = machine.HasExited;
                        text = File.Exists(console) ? ReadShared(console) : "";
                        return text.Contains($"guest {line}", StringComparison.Ordinal) || isOver;
                    },
                    Hang.Limit);
                Assert.That(found && text.Contains($"guest {line}", StringComparison.Ordinal), $"The guest never said \"{line}\". {machine.Said}\nIts console:\n{text}");
            }
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static string ReadShared(string path)
    {
        using FileStream file = new(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
        using StreamReader reader = new(file);
        return reader.ReadToEnd();
    }

    private static JsonObject Configuration() => new()
    {
        ["machine"] = new JsonObject { ["pcpus"] = 1 },
        ["duration"] = "600 s",
        ["domains"] = new JsonArray(new JsonObject
        {
            ["name"] = "guest",
            ["guest"] = "debian",
            ["memory"] = "256 MiB",
            ["cmdline"] = "root=/dev/xvda rw " + GuestInit.ExecArgument("""
                echo guest waits for a disk
                until [ -b /dev/xvdb ]; do sleep 0.1; done
                echo through the ring | dd of=/dev/xvdb bs=512 conv=sync oflag=direct status=none
                dd if=/dev/xvdb bs=512 count=1 iflag=direct status=none | grep -q 'through the ring' && echo guest wrote and read its disk
                while [ -b /dev/xvdb ]; do sleep 0.1; done
                echo guest waits for an interface
                until [ -e /sys/class/net/eth0 ]; do sleep 0.1; done
                echo guest has an interface $(cat /sys/class/net/eth0/address)
                while [ -e /sys/class/net/eth0 ]; do sleep 0.1; done
                echo guest has neither any more
                poweroff -f
                """),
            ["disks"] = new JsonArray(new JsonObject { ["name"] = "xvda", ["backend"] = "copy-on-write", ["options"] = new JsonObject { ["base"] = "guest:debian" } }),
        }),
    };
}
