using System.Diagnostics;
using System.Globalization;
using Tessera.Hosting.Tests;
using Tessera.Linux.Tests.Kill;
using Tessera.Linux.Tests.Support;

namespace Tessera.Linux.Tests;

/// <summary>
/// The whole VMM is killed while a guest writes and synchronizes, at a random moment; the next one mounts the disk, looks for everything that
/// was acknowledged, checks the file system, and goes on writing, to be killed in its turn. TESSERA_KILLS and TESSERA_KILL_SEED make it long and another.
/// </summary>
[TestFixtureSource(typeof(Engines), nameof(Engines.First))]
internal sealed class KillTests(string engine)
{
    private const int MostRecords = 250;
    private const int MostPasses = 4;
    private const int MostMilliseconds = 40;

    private static readonly int Kills = Setting("TESSERA_KILLS", 2);
    private static readonly int Seed = Setting("TESSERA_KILL_SEED", 20260);

    [TestCase("raw-file")]
    [TestCase("copy-on-write")]
    [TestCase("nbd")]
    public void Killing_the_machine_loses_no_acknowledged_write(string backend)
    {
        _ = LinuxGuests.RequireRootDisk();
        using KillFolder folder = new();
        using KillDisk disk = new(folder, backend);
        TestContext.Out.WriteLine($"{backend}: seed {Seed}");
        Random random = new(Seed);
        for (int kill = 1; kill <= Kills + 1; kill++)
        {
            (long records, long passes) = (folder.Records, folder.Passes);
            using KilledMachine machine = new(engine, folder, disk);
            string verdict = machine.WaitForVerdict();
            Assert.That(verdict, Is.EqualTo($"verified {records} {passes}"), $"{backend}, seed {Seed}, after kill {kill - 1} of {Kills}");
            if (kill > Kills)
                break;
            machine.WaitFor(records + random.Next(1, MostRecords), passes + random.Next(1, MostPasses));
            Stopwatch watch = Stopwatch.StartNew();
            double milliseconds = random.NextDouble() * MostMilliseconds;
            SpinWait.SpinUntil(() => watch.Elapsed.TotalMilliseconds >= milliseconds);
            machine.Kill();
            // The server outlives every other kill.
            if (kill % 2 == 0)
                disk.KillServer();
            TestContext.Progress.WriteLine($"{backend}: kill {kill} of {Kills}, {folder.Records} records and {folder.Passes} passes of fio acknowledged so far");
        }

        TestContext.Progress.WriteLine($"RESULT {backend} {Kills} {folder.Records} {folder.Passes} {Seed}");
    }

    [TestCase("late", "raw-file")]
    [TestCase("deaf", "copy-on-write")]
    [TestCase("deaf", "nbd")]
    public void Killing_the_machine_shows_a_backend_that_acknowledges_too_early(string broken, string backend)
    {
        _ = LinuxGuests.RequireRootDisk();
        using PluginForge forge = new();
        string layer = forge.Plugin(broken, broken == "late" ? BrokenBackends.Late : BrokenBackends.Deaf);
        using KillFolder folder = new();
        using KillDisk disk = new(folder, backend) { Layers = [layer] };
        using (KilledMachine machine = new(engine, folder, disk))
        {
            Assert.That(machine.WaitForVerdict(), Is.EqualTo("verified 0 0"));
            machine.WaitFor(records: 100, passes: 1);
            machine.Kill();
        }

        disk.KillServer();
        using KilledMachine next = new(engine, folder, disk);
        string verdict = next.WaitForVerdict();
        TestContext.Out.WriteLine(verdict);
        Assert.That(verdict, Does.StartWith("lost: "));
    }

    private static int Setting(string name, int otherwise) =>
        Environment.GetEnvironmentVariable(name) is { Length: > 0 } text ? int.Parse(text, CultureInfo.InvariantCulture) : otherwise;
}
