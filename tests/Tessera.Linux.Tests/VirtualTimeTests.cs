using System.Diagnostics;
using System.Text.Json;
using Tessera.Linux.Tests.Support;

namespace Tessera.Linux.Tests;

/// <summary>Stock Debian kernels in virtual time: a run can be repeated byte for byte, and one with a person at the console from its recording.</summary>
internal sealed class VirtualTimeTests
{
    private string _folder = "";

    [SetUp]
    public void MakeFolder()
    {
        _ = LinuxGuests.Require("debian");
        _folder = Directory.CreateTempSubdirectory("tessera-virtual-").FullName;
    }

    [TearDown]
    public void RemoveFolder()
    {
        if (_folder.Length > 0)
            Directory.Delete(_folder, recursive: true);
    }

    [Test]
    public void Two_domains_with_disks_and_a_switch_leave_the_same_bytes_three_times()
    {
        string file = Path.Combine(_folder, "two.json");
        File.WriteAllText(file, JsonSerializer.Serialize(new
        {
            machine = new { engine = "software", time = "virtual", pcpus = Math.Min(2, Environment.ProcessorCount) },
            scheduler = "bvt",
            duration = "10 min",
            domains = new[]
            {
                Domain("web", 256, "10.0.0.1/24", "dd if=/dev/urandom of=/dev/xvda bs=64k count=16 2>/dev/null", "sync", "dd if=/dev/xvda of=/tmp/f bs=64k count=16 2>/dev/null",
                    "sha256sum /tmp/f", "httpd -p 80 -h /tmp", "nc -l -p 81", "date", "poweroff -f"),
                Domain("client", 512, "10.0.0.2/24", "until wget -q -O /tmp/f http://10.0.0.1/f; do sleep 1; done", "dd if=/tmp/f of=/dev/xvda bs=64k 2>/dev/null", "sync", "sha256sum /tmp/f",
                    "cat /proc/uptime", "echo over | nc 10.0.0.1 81", "poweroff -f"),
            },
        }));
        SortedDictionary<string, string> first = RunFolder.SameThreeTimes(_ => Run(file));
        using (Assert.EnterMultipleScope())
        {
            Assert.That(first["out/console-web.log"], Does.Contain("over").And.Contain("2026"));
            Assert.That(first["out/console-client.log"].Split('\n').Single(line => line.Contains("/tmp/f", StringComparison.Ordinal)),
                Is.EqualTo(first["out/console-web.log"].Split('\n').Single(line => line.Contains("/tmp/f", StringComparison.Ordinal))), "what was sent is what arrived");
        }

        object Domain(string name, int weight, string address, params string[] script) => new
        {
            name,
            weight,
            guest = "debian",
            memory = "128 MiB",
            cmdline = $"tessera.ip={address}",
            script,
            disks = new object[] { new { name = "xvda", backend = "raw-file", options = new { path = $"{name}.img", create = "2 MiB" } } },
            nics = new object[] { new { backend = "switch", options = new { network = "lan" }, layers = new object[] { new { backend = "capture", options = new { path = $"{name}.pcapng" } } } } },
        };
    }

    [Test]
    public void A_session_with_a_person_at_the_console_replays_to_the_same_bytes()
    {
        string recording = Path.Combine(_folder, "session");
        string recorded;
        using (Process session = Boot(withInput: true, "--record", recording))
        {
            using StreamWriter keys = session.StandardInput;
            keys.AutoFlush = true;
            recorded = ReadUntil(session, "switches it off");
            foreach (string line in (string[])["echo $((6 * 7)) is the answer", "head -c 8 /dev/urandom | od -x", "cat /proc/uptime"])
            {
                keys.Write(line + "\n");
                recorded += ReadUntil(session, "# ");
                Thread.Sleep(300);
            }

            keys.Write("poweroff -f\n");
            recorded += session.StandardOutput.ReadToEnd();
            Assert.That(session.WaitForExit(Hang.Limit), Is.True);
        }

        using Process replay = Boot(withInput: false, "--replay", recording);
        string replayed = replay.StandardOutput.ReadToEnd();
        Assert.That(replay.WaitForExit(Hang.Limit), Is.True);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(recorded, Does.Contain("42 is the answer"));
            Assert.That(File.ReadAllLines(recording), Has.Length.GreaterThan(4));
            Assert.That(replayed, Is.EqualTo(recorded));
        }
    }

    private static Process Boot(bool withInput, params string[] arguments)
    {
        ProcessStartInfo start = new("dotnet", [Path.Combine(AppContext.BaseDirectory, "tessera.dll"), "boot", "debian", "--memory", "128MiB", "--time", "virtual", .. arguments])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
        };
        start.Environment["TESSERA_PLUGINS"] = Path.Combine(TesseraProcess.Root(), "artifacts", "plugins");
        Process process = Process.Start(start)!;
        if (!withInput)
            process.StandardInput.Close();
        return process;
    }

    private static string ReadUntil(Process process, string end)
    {
        System.Text.StringBuilder read = new();
        while (!read.ToString().EndsWith(end, StringComparison.Ordinal))
        {
            int letter = process.StandardOutput.Read();
            Assert.That(letter, Is.Not.Negative, () => $"the domain ended before it said \"{end}\":\n{read}");
            read.Append((char)letter);
        }

        return read.ToString();
    }

    /// <summary>Runs the configuration with new disks; the files it leaves by name, without the host's facts.</summary>
    private SortedDictionary<string, string> Run(string file)
    {
        foreach (string old in Directory.GetFiles(_folder).Where(old => old != file))
            File.Delete(old);
        string output = Path.Combine(_folder, "out");
        TesseraProcess.Do("run", file, "--quiet", "--out", output, "--force");
        return RunFolder.Files(_folder);
    }
}
