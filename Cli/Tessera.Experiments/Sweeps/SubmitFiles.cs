using System.Globalization;
using Tessera.Lab.Comparisons;

namespace Tessera.Experiments.Sweeps;

/// <summary>Who is to make a sweep's cells.</summary>
public enum SubmitTarget
{
    /// <summary>Slurm: an array of jobs, and a job that merges after them.</summary>
    Slurm,

    /// <summary>Kubernetes: an indexed job.</summary>
    Kubernetes,

    /// <summary>GNU parallel, on this host or by ssh.</summary>
    Parallel,
}

/// <summary>How a sweep is handed over.</summary>
public sealed record SubmitRequest
{
    /// <summary>To whom.</summary>
    public required SubmitTarget Target { get; init; }

    /// <summary>The sweep's folder, as a whole path; it is the same on every host.</summary>
    public required string Folder { get; init; }

    /// <summary>The command that is tessera there.</summary>
    public required string Command { get; init; }

    /// <summary>Cells of one task; null for a repetition where a machine runs, and for some five minutes elsewhere.</summary>
    public required int? CellsPerTask { get; init; }

    /// <summary>Kubernetes: the image.</summary>
    public required string Image { get; init; }

    /// <summary>Kubernetes: the claim of the volume that has the sweep's folder.</summary>
    public required string Claim { get; init; }

    /// <summary>Kubernetes: Kueue's local queue; null for none.</summary>
    public required string? Queue { get; init; }
}

/// <summary>A file for a cluster.</summary>
/// <param name="Name">Its name in DIR/submit.</param>
/// <param name="Text">Its contents.</param>
public sealed record SubmitFile(string Name, string Text);

/// <summary>
/// The files that hand a sweep over to what runs jobs already: plain text that a person reads, changes and submits. Nothing of the plan but
/// numbers gets into them, and every path is quoted.
/// </summary>
public static class SubmitFiles
{
    /// <summary>What is called to submit; every target has one.</summary>
    public const string Script = "submit.sh";

    /// <summary>How long a task should take that has only short cells: starting one costs seconds.</summary>
    private const double TaskSeconds = 300;

    /// <summary>The most tasks of an array: Slurm's MaxArraySize is 1001 unless it is configured.</summary>
    private const int SlurmTasks = 1000;

    /// <summary>The least time limit of a task, and how many times the time expected, in minutes.</summary>
    private const int LeastMinutes = 10;
    private const int TimesExpected = 4;

    /// <summary>The files.</summary>
    /// <exception cref="UsageException">The folder's path cannot stand in them.</exception>
    public static IReadOnlyList<SubmitFile> Of(SweepPlan plan, SubmitRequest request)
    {
        if (request.Folder.Any(char.IsControl))
            throw new UsageException(
                $"{request.Folder}: a path with control characters in it cannot stand in a job's file. Move the folder.");
        if (request.Target == SubmitTarget.Parallel && (request.Folder + request.Command).AsSpan().IndexOfAny('{', '}') >= 0)
            throw new UsageException(
                $"{request.Folder}: GNU parallel replaces braces in what it runs, so none can be in the folder's path or in --tessera. Move the folder.");
        int perTask = Math.Min(request.CellsPerTask ?? PerTask(plan, request.Target), plan.Cells.Count);
        Parts parts = new(plan, request, perTask, (plan.Cells.Count + perTask - 1) / perTask);
        return request.Target switch
        {
            SubmitTarget.Slurm => Slurm(parts),
            SubmitTarget.Kubernetes => KubernetesFiles.Of(parts),
            _ => Parallel(parts),
        };
    }

    /// <summary>A repetition is made on one host where hosts matter; short cells are many to a task.</summary>
    private static int PerTask(SweepPlan plan, SubmitTarget target)
    {
        int least = target == SubmitTarget.Slurm ? (plan.Cells.Count + SlurmTasks - 1) / SlurmTasks : 1;
        if (plan.Engines.Contains(ComparisonEngines.Machine))
            return (least + plan.BlockSize() - 1) / plan.BlockSize() * plan.BlockSize();
        double each = Math.Max(plan.Seconds.Simulated ?? TaskSeconds, 0.001);
        return Math.Max(least, Math.Clamp((int)(TaskSeconds / each), 1, Math.Max(1, (plan.Cells.Count + 1) / 2)));
    }

    private static SubmitFile[] Slurm(Parts parts)
    {
        string constraint = parts.NeedsKvm
            ? "# Only nodes whose Features= in slurm.conf say that they have /dev/kvm.\n#SBATCH --constraint=kvm"
            : "# No cell needs /dev/kvm: any node will do.";
        string array = $"""
            #!/bin/bash
            # Makes the cells of a sweep, {parts.PerTask} a task. Cells that are there stay: submit it again after a failure.
            #SBATCH --job-name=tessera-sweep
            #SBATCH --array=0-{parts.Tasks - 1}
            #SBATCH --cpus-per-task={parts.Cpus}
            #SBATCH --time={parts.Minutes}
            #SBATCH --requeue
            #SBATCH --signal=B:TERM@90
            #SBATCH --output=slurm-%A_%a.log
            {constraint}
            set -u
            first=$(({parts.First("SLURM_ARRAY_TASK_ID")}))
            last=$((first + {parts.PerTask - 1}))
            # exec: Slurm's signals go to tessera, which ends in order.
            exec {parts.Tessera} sweep run {parts.Folder} --cells "$first-$last"

            """;
        string merge = $"""
            #!/bin/bash
            # Merges what is there, whether or not all tasks went well: what is missing is named.
            #SBATCH --job-name=tessera-merge
            #SBATCH --time={LeastMinutes}
            #SBATCH --output=slurm-merge-%j.log
            exec {parts.Tessera} sweep merge {parts.Folder}

            """;
        string submit = $"""
            #!/bin/sh
            # Submits the array, and a merge that waits for its end. squeue shows both.
            set -eu
            cd {Quoted(Path.Combine(parts.Request.Folder, "submit"))}
            array=$(sbatch --parsable array.sbatch)
            array=$(echo "$array" | cut -d ';' -f 1)
            merge=$(sbatch --parsable --dependency=afterany:"$array" merge.sbatch)
            echo "array $array, merge $merge"

            """;
        return [new("array.sbatch", array), new("merge.sbatch", merge), new(Script, submit)];
    }

    private static SubmitFile[] Parallel(Parts parts)
    {
        // Machines' runs would wait for each other.
        string jobs = parts.Plan.MostPcpus() > 0 ? "--jobs 1 " : "";
        string submit = $"""
            #!/bin/sh
            # Makes the cells of a sweep by GNU parallel, {parts.PerTask} a task, and merges. On other hosts that have this folder, too:
            #   PARALLEL='--sshlogin host1,host2' sh {Script}
            # Options after the script's name go to parallel as well; --jobs 1 is one task at a time on each host.
            set -eu
            cd {Quoted(Path.Combine(parts.Request.Folder, "submit"))}
            made=0
            seq 1 {parts.PerTask} {parts.Plan.Cells.Count} | parallel {jobs}--line-buffer --retries 3 --joblog parallel.log "$@" \
                {Quoted($"{parts.Tessera} sweep run {parts.Folder} --quiet --cells {{}}-$(({{}}+{parts.PerTask - 1}))")} || made=$?
            {parts.Tessera} sweep merge {parts.Folder} || exit
            exit "$made"

            """;
        return [new(Script, submit)];
    }

    /// <summary>A word that a shell takes as it is.</summary>
    internal static string Quoted(string text) => $"'{text.Replace("'", "'\\''", StringComparison.Ordinal)}'";

    /// <summary>What all targets need to know.</summary>
    internal sealed record Parts(SweepPlan Plan, SubmitRequest Request, int PerTask, int Tasks)
    {
        public string Tessera => Quoted(Request.Command);

        public string Folder => Quoted(Request.Folder);

        public bool NeedsKvm => Plan.NeedsKvm();

        /// <summary>A machine's physical CPUs, and one for what is not guests'.</summary>
        public int Cpus => Plan.MostPcpus() is > 0 and int pcpus ? pcpus + 1 : 1;

        public int Minutes
        {
            get
            {
                double each = Plan.Engines.Max(engine => Plan.Seconds.Of(engine) ?? 0);
                return (int)Math.Min(int.MaxValue / 2, LeastMinutes + (TimesExpected * each * PerTask / 60));
            }
        }

        /// <summary>The first cell of a task, as a shell's arithmetic.</summary>
        public string First(string index) => string.Create(CultureInfo.InvariantCulture, $"{index} * {PerTask} + 1");
    }
}
