using System.Diagnostics;
using Tessera.Cli.Tests.Support;

namespace Tessera.Cli.Tests.Verbs;

/// <summary>A sweep on a real Slurm: tasks are killed, what is missing is submitted again, and the merge is that of a comparison.</summary>
internal sealed class SweepSlurmTests
{
    private const int Kills = 4;
    private static readonly string[] Design = ["--scheduler", "bvt,round-robin", "--repeat", "30", "--stagger", "20 ms"];

    [Test]
    public void A_sweep_whose_tasks_are_killed_and_submitted_again_is_equal_to_a_comparison()
    {
        if (SlurmCluster.Lacking is { } lacking)
            Assert.Ignore(lacking);
        using SweepFolder sweep = new();
        using SlurmCluster slurm = new(sweep.Beside("slurm"));
        string tessera = SweepFolder.Program(sweep.Beside("tessera"),
            $"export TESSERA_PLUGINS='{Repository.Plugins}'\nexec dotnet '{Child.Program}' \"$@\"");
        sweep.Plan("quickstart.json", Design);
        Submit();
        Random random = new(20261201);
        int kills = 0;
        slurm.Wait(() =>
        {
            Process[] tasks = [.. Tasks(sweep.Path)];
            if (kills < Kills && tasks.Length > 0 && random.Next(2) == 0)
            {
                tasks[random.Next(tasks.Length)].Kill();
                kills++;
            }

            foreach (Process task in tasks)
                task.Dispose();
            return slurm.Jobs == 0;
        });
        int missing = 60 - sweep.Finished().Count;
        if (missing == 0)
            Assert.Warn("No task was killed in time: what was submitted again was all there.");
        Submit();
        slurm.Wait(() => slurm.Jobs == 0);
        Assert.Multiple(() =>
        {
            Assert.That(sweep.Finished(), Has.Count.EqualTo(60));
            Assert.That(SweepFolder.Figures(sweep.Path), Is.EqualTo(sweep.Compared("quickstart.json", Design)),
                "the merge that depends on the array");
        });

        void Submit()
        {
            (int code, _, string error) = Child.Run(
                sweep.Path, new() { ["SLURM_CONF"] = slurm.Configuration }, "sweep", "submit", sweep.Path, "--slurm", "--cells-per-task",
                    "8", "--tessera", tessera, "--go");
            Assert.That(code, Is.Zero, error);
        }
    }

    private static IEnumerable<Process> Tasks(string folder)
    {
        foreach (Process process in Process.GetProcesses())
        {
            string file = $"/proc/{process.Id}/cmdline";
            string[] words = [];
            try
            {
                words = File.ReadAllText(file).Split('\0');
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                // It has ended since.
            }

            if (words.Contains("--cells") && words.Contains(folder))
                yield return process;
            else
                process.Dispose();
        }
    }
}
