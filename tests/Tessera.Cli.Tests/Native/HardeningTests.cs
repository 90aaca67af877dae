using System.Diagnostics;
using System.Globalization;
using Tessera.Cli.Native;
using Tessera.Cli.Tests.Support;

namespace Tessera.Cli.Tests.Native;

/// <summary>What a process that runs guests has left of its rights, as the kernel shows it.</summary>
internal sealed class HardeningTests
{
    private string _folder = "";

    [SetUp]
    public void MakeFolder() => _folder = Directory.CreateTempSubdirectory("tessera-").FullName;

    [TearDown]
    public void RemoveFolder() => Directory.Delete(_folder, recursive: true);

    [TestCaseSource(typeof(Engines), nameof(Engines.Cases))]
    public void Every_thread_of_a_run_is_without_capabilities_and_under_the_filter(string engine)
    {
        using Process process = Start(engine, []);
        try
        {
            WaitForGuests(process);
            Dictionary<string, string>[] threads = [.. Directory.GetDirectories($"/proc/{process.Id}/task").Select(folder => Status(folder + "/status"))];
            string[] names = [.. threads.Select(thread => thread["Name"])];
            // Threads of a CPU, the VMM's two for devices, the store's, a file's.
            foreach (string name in (string[])["tessera p0", "tessera-blkback", "tessera-netback", "store", "tessera-raw-fil"])
                Assert.That(names, Does.Contain(name));
            int before = int.Parse(Status("/proc/self/status")["Seccomp_filters"], CultureInfo.InvariantCulture);
            Assert.Multiple(() =>
            {
                foreach (Dictionary<string, string> thread in threads.Append(Status($"/proc/{process.Id}/status")))
                {
                    foreach (string set in (string[])["CapInh", "CapPrm", "CapEff", "CapAmb"])
                        Assert.That(thread[set].Trim('0'), Is.Empty, $"{thread["Name"]}: {set}");
                    Assert.That(thread["NoNewPrivs"], Is.EqualTo("1"), thread["Name"]);
                    Assert.That(thread["Seccomp"], Is.EqualTo("2"), thread["Name"]);
                    if (!IsStartedByAnyThread(thread["Name"]))
                        Assert.That(int.Parse(thread["Seccomp_filters"], CultureInfo.InvariantCulture), Is.EqualTo(before + (HasDuty(thread["Name"]) ? 2 : 1)), thread["Name"]);
                }

                string limits = File.ReadAllText($"/proc/{process.Id}/limits");
                Assert.That(limits, Does.Match(@"Max core file size +0 +0 "));
                Assert.That(limits, Does.Match($@"Max open files +\d{{1,5}} +\d{{1,5}} "));
            });
        }
        finally
        {
            process.Kill();
            process.WaitForExit();
        }
    }

    [Test]
    public void It_can_be_turned_off()
    {
        using Process process = Start(Engines.FirstUsable, new() { [ProcessHardening.Variable] = ProcessHardening.Off });
        try
        {
            WaitForGuests(process);
            string seccomp = Status($"/proc/{process.Id}/status")["Seccomp_filters"], before = Status("/proc/self/status")["Seccomp_filters"];
            Assert.That(seccomp, Is.EqualTo(before));
        }
        finally
        {
            process.Kill();
            process.WaitForExit();
        }
    }

    [Test]
    public void A_folder_of_ones_own_may_be_written_to() =>
        Assert.That(() => ProcessHardening.CheckFolder(TestContext.CurrentContext.WorkDirectory), Throws.Nothing);

    [Test]
    public void What_is_refused_is_refused_once() => Assert.That(SystemCallFilter.Refused.ToArray(), Is.Unique);

    /// <summary>The runtime's threads that compile and collect, and the one that Linux adds to a process with KVM (6.x; no code of ours runs there): under the filters of whichever thread needed it first.</summary>
    private static bool IsStartedByAnyThread(string name) =>
        name.StartsWith(".NET Tiered", StringComparison.Ordinal) || name.StartsWith(".NET BGC", StringComparison.Ordinal) || name.StartsWith("kvm-nx-lpage-re", StringComparison.Ordinal);

    private static bool HasDuty(string name) =>
        name == "store" || name.StartsWith("tessera-", StringComparison.Ordinal) || name.StartsWith("tessera p", StringComparison.Ordinal) && char.IsAsciiDigit(name[^1]);

    private Process Start(string engine, Dictionary<string, string> environment)
    {
        string configuration = Path.Combine(_folder, "c.json");
        File.WriteAllText(configuration, $$"""
            {
              "machine": { "engine": "{{engine}}", "pcpus": 1 },
              "domains": [
                {
                  "name": "a", "guest": "spin",
                  "disks": [ { "name": "xvda", "backend": "raw-file", "options": { "path": "a.img", "create": "1 MiB" } } ],
                  "nics": [ { "backend": "switch", "options": { "network": "lan" }, } ]
                }
              ],
              "duration": "600 s"
            }
            """);
        ProcessStartInfo start = new("dotnet", [Child.Program, "run", configuration]) { RedirectStandardError = true, RedirectStandardOutput = true };
        start.Environment["TESSERA_PLUGINS"] = Repository.Plugins;
        foreach ((string name, string value) in environment)
            start.Environment[name] = value;
        return Process.Start(start)!;
    }

    /// <summary>The first line of progress says that they run; others may come before it.</summary>
    private static void WaitForGuests(Process process)
    {
        List<string> said = [];
        while (process.StandardError.ReadLine() is { } line)
        {
            said.Add(line);
            if (line.Contains("measuring", StringComparison.Ordinal))
                return;
        }

        Assert.Fail($"The run ended: {string.Join('\n', said)}");
    }

    private static Dictionary<string, string> Status(string file) =>
        File.ReadAllLines(file).Select(line => line.Split(':', 2)).Where(parts => parts.Length == 2).ToDictionary(parts => parts[0], parts => parts[1].Trim());
}
