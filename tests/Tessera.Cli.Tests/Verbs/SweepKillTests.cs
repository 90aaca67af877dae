using System.Diagnostics;
using Tessera.Cli.Tests.Support;
using Tessera.Experiments.Hosts;
using Tessera.Hosting.Tests;

namespace Tessera.Cli.Tests.Verbs;

/// <summary>Sweeps in processes of their own: killed at any moment, several at once, and a policy that takes its process with it.</summary>
internal sealed class SweepKillTests
{
    private const int Cells = 40;
    private const int Kills = 6;
    private static readonly TimeSpan Look = TimeSpan.FromMilliseconds(20);

    private SweepFolder _sweep = null!;

    [SetUp]
    public void MakeFolder() => _sweep = new SweepFolder();

    [TearDown]
    public void RemoveFolder() => _sweep.Dispose();

    /// <summary>
    /// Whatever is killed, at whatever moment, the sweep ends complete, with the figures of a comparison that nobody disturbed.
    /// </summary>
    [Test]
    public void A_sweep_that_is_killed_again_and_again_ends_complete_and_equal()
    {
        string[] design = ["--scheduler", "bvt,round-robin", "--repeat", $"{Cells / 2}", "--stagger", "20 ms"];
        _sweep.Plan("quickstart.json", design);
        Random random = new(20261201);
        for (int kill = 0; kill < Kills; kill++)
        {
            using Process run = Start();
            int before = _sweep.Finished().Count;
            Wait(() => run.HasExited || _sweep.Finished().Count > before + 1);
            // The moment is what is tried: any.
            Thread.Sleep(random.Next(150));

            // The one that hands out cells, or one that makes them: that one is replaced, and the run goes on.
            if (kill % 2 == 0)
                run.Kill();
            else
                KillAWorker();
            if (kill % 2 == 1)
            {
                Wait(() => run.HasExited || _sweep.Finished().Count > before + 3);
                run.Kill(entireProcessTree: true);
            }

            run.WaitForExit();
        }

        (int code, _, string error) = Child.Run(_sweep.Path, [], "sweep", "run", _sweep.Path, "--jobs", "2");
        Assert.That(code, Is.Zero, error);

        // Workers whose starter was killed end after the cell they are at.
        Wait(() => !Workers().Any());
        using Support.Cli again = new();
        using Support.Cli merge = new();
        Assert.Multiple(() =>
        {
            Assert.That(again.Run("sweep", "run", _sweep.Path), Is.Zero, again.Error);
            Assert.That(again.Error, Does.Contain($"{Cells} of {Cells} cells are in"));
            Assert.That(Directory.GetDirectories(_sweep.Runs), Has.Length.EqualTo(Cells), "nothing unfinished is left");
            Assert.That(merge.Run("sweep", "merge", _sweep.Path, "--quiet"), Is.Zero, merge.Error);
            Assert.That(SweepFolder.Figures(_sweep.Path), Is.EqualTo(_sweep.Compared("quickstart.json", design)));
        });
    }

    [Test]
    public void A_run_that_is_told_to_stop_takes_its_workers_with_it()
    {
        _sweep.Plan("quickstart.json", "--repeat", "400", "--stagger", "20 ms");
        using Process run = Start();
        Wait(() => _sweep.Finished().Count > 2);
        Assert.That(Child.Run("kill", _sweep.Path, [], "", "-TERM", $"{run.Id}").Code, Is.Zero);
        run.WaitForExit();
        Wait(() => !Workers().Any());
        Assert.Multiple(() =>
        {
            Assert.That(run.ExitCode, Is.EqualTo(1));
            Assert.That(_sweep.Finished(), Has.Count.LessThan(400));
        });
    }

    [Test]
    public void Two_runs_of_one_sweep_at_once_do_no_harm()
    {
        string[] design = ["--repeat", "12", "--stagger", "20 ms"];
        _sweep.Plan("quickstart.json", design);
        using Process one = Start();
        (int code, _, string error) = Child.Run(_sweep.Path, [], "sweep", "run", _sweep.Path);
        one.WaitForExit();
        using Support.Cli merge = new();
        Assert.Multiple(() =>
        {
            Assert.That((code, one.ExitCode), Is.EqualTo((0, 0)), error);
            Assert.That(Directory.GetDirectories(_sweep.Runs), Has.Length.EqualTo(12));
            Assert.That(merge.Run("sweep", "merge", _sweep.Path, "--quiet"), Is.Zero, merge.Error);
            Assert.That(SweepFolder.Figures(_sweep.Path), Is.EqualTo(_sweep.Compared("quickstart.json", design)));
        });
    }

    [Test]
    public void A_cell_that_ends_its_process_costs_three_of_them_and_no_other_cell()
    {
        using PluginForge forge = new();
        string deadly = Path.Combine(forge.Folder, "is-deadly");
        string schedule = $"=> System.IO.File.Exists(\"{deadly}\") ? Die() : Decision.Idle; "
            + "private static Decision Die() { Console.Write(\"1 last word \"); Environment.Exit(77); return Decision.Idle; }";
        string plugin = forge.Plugin("deadly", PluginForge.Scheduler("deadly")
            .Replace("=> Decision.Idle;", schedule, StringComparison.Ordinal));
        _sweep.Plan("quickstart.json", "--scheduler", $"bvt,{plugin}", "--repeat", "3");
        foreach (string run in Directory.GetDirectories(_sweep.Runs))
            Directory.Delete(run, recursive: true);
        File.WriteAllText(deadly, "");
        (int code, string output, string error) = Child.Run(_sweep.Path, [], "sweep", "run", _sweep.Path, "--jobs", "2");
        Assert.Multiple(() =>
        {
            Assert.That(code, Is.EqualTo(1), error);
            Assert.That(output, Does.Contain("1 last word"), "what a plugin writes is passed on");
            Assert.That(error, Does.Contain("ended with 77; another makes it again").And.Contain(
                "the 3rd that did: the cell is left out").And.Contain("3 of 6 cells were not made"));
            Assert.That(_sweep.Finished(), Has.Count.EqualTo(3).And.All.StartsWith("simulated-bvt-"));
        });
    }

    [Test]
    public void A_machine_has_its_host_CPUs_alone_and_simulated_cells_share_theirs()
    {
        HostCpuLocks locks = new(_sweep.Beside("cpus"));
        using IDisposable shared = locks.Take([0, 1], alone: false, () => true)!;
        using IDisposable also = locks.Take([1, 2], alone: false, () => true)!;
        using IDisposable? other = locks.Take([3], alone: true, () => true);
        Assert.Multiple(() =>
        {
            Assert.That(other, Is.Not.Null, "nobody has it");
            Assert.That(locks.Take([2], alone: true, () => true), Is.Null, "a simulated cell has it");
            Assert.That(locks.Take([0, 3], alone: false, () => true), Is.Null, "a machine has it");
        });
        also.Dispose();
        using IDisposable? freed = locks.Take([2], alone: true, () => true);
        Assert.That(freed, Is.Not.Null);
        Assert.That(locks.Take([1], alone: true, () => true), Is.Null);
    }

    private Process Start()
    {
        ProcessStartInfo start = new("dotnet", [Child.Program, "sweep", "run", _sweep.Path, "--jobs", "2", "--quiet"]);
        start.Environment["TESSERA_PLUGINS"] = Repository.Plugins;
        return Process.Start(start)!;
    }

    private static void Wait(Func<bool> isSo)
    {
        long began = Stopwatch.GetTimestamp();
        while (!isSo())
        {
            Assert.That(Stopwatch.GetElapsedTime(began), Is.LessThan(Hang.Limit));
            Thread.Sleep(Look);
        }
    }

    private void KillAWorker()
    {
        foreach (int worker in Workers().Take(1))
        {
            try
            {
                using Process process = Process.GetProcessById(worker);
                process.Kill();
            }
            catch (ArgumentException)
            {
                // It has ended since.
            }
        }
    }

    private IEnumerable<int> Workers()
    {
        foreach (string process in Directory.GetDirectories("/proc"))
        {
            if (!int.TryParse(Path.GetFileName(process), out int number))
                continue;
            string[] words;
            try
            {
                words = File.ReadAllText(Path.Combine(process, "cmdline")).Split('\0');
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                continue;
            }

            if (words.Contains("--worker") && words.Contains(_sweep.Path))
                yield return number;
        }
    }
}
