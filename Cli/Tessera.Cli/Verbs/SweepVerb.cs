using System.CommandLine;
using Tessera.Experiments.Sweeps;

namespace Tessera.Cli.Verbs;

/// <summary>
/// `tessera sweep plan | run | submit | status | merge`: a comparison cut into cells that anybody makes, in any order, on any host.
/// </summary>
internal sealed class SweepVerb(SweepCommand command, SweepRunCommand runner, SweepSubmitCommand submitter) : IVerb
{
    /// <inheritdoc/>
    public Command Build() =>
        new("sweep", "Cut a comparison into cells, make them here or on a cluster, and merge what is there (docs/sweep.md).")
    {
        Plan(), Run(), Submit(), Status(), Merge(),
    };

    private static Argument<string> Folder() => new("dir") { Description = "The sweep's folder, which --out of `sweep plan` named." };

    private Command Plan()
    {
        CompareOptions options = new("The sweep's folder; runs that are there already are kept.");
        Command plan = new("plan", "Write the plan: every cell with what makes it. The options are those of `tessera compare`.");
        options.AddTo(plan);
        plan.SetAction(parsed => command.Plan(options.Request(parsed)));
        return plan;
    }

    private Command Run()
    {
        Argument<string> folder = Folder();
        Option<string?> cells = new("--cells")
        {
            Description = "Only these cells, by their numbers; by default all that are missing.",
            HelpName = "A-B,C"
        };
        Option<int> jobs = CommonOptions.Count("--jobs",
            "How many cells to make at once, each in a process of its own. Machines whose host CPUs overlap wait for each other.", 1);
        Option<bool> quiet = CommonOptions.Quiet();
        Option<bool> worker = new("--worker") { Description = "Take numbers of cells from standard input.", Hidden = true };
        Command run = new("run", "Make the cells that are missing.") { folder, cells, jobs, quiet, worker };
        run.SetAction(parsed => parsed.GetValue(worker)
            ? runner.Work(parsed.GetRequiredValue(folder))
            : runner.Run(parsed.GetRequiredValue(folder), parsed.GetValue(cells), parsed.GetValue(jobs), parsed.GetValue(quiet)));
        return run;
    }

    private Command Submit()
    {
        Argument<string> folder = Folder();
        Option<bool> slurm = new("--slurm") { Description = "Files for Slurm: an array of jobs, and a merge that waits for it." };
        Option<bool> kubernetes = new("--kubernetes") { Description = "Files for Kubernetes: an indexed job, and a job that merges." };
        Option<bool> parallel = new("--parallel") { Description = "A script for GNU parallel, here or on hosts it reaches by ssh." };
        Option<bool> go = new("--go") { Description = "Submit the files too, by sbatch, kubectl or parallel." };
        Option<int> perTask = CommonOptions.Count("--cells-per-task",
            "How many cells a task makes; by default a repetition where a machine runs, and some five minutes' worth elsewhere.", 1);
        Option<string> tessera = new("--tessera")
        {
            Description = "The command that is tessera on the hosts.",
            HelpName = "COMMAND",
            DefaultValueFactory = _ => "tessera"
        };
        Option<string> image = new("--image")
        {
            Description = "Kubernetes: the image (samples/cluster/Dockerfile).",
            HelpName = "NAME",
            DefaultValueFactory = _ => "tessera:latest"
        };
        Option<string> claim = new("--volume")
        {
            Description = "Kubernetes: the claim of the volume with the sweep's folder.",
            HelpName = "CLAIM",
            DefaultValueFactory = _ => "tessera-sweep"
        };
        Option<string?> queue = new("--queue") { Description = "Kubernetes: Kueue's local queue.", HelpName = "NAME" };
        Command submit = new("submit", "Write the files that hand the cells over to a cluster into DIR/submit.")
        {
            folder, slurm, kubernetes, parallel, go, perTask, tessera, image, claim, queue,
        };
        submit.Validators.Add(result =>
        {
            if (new[] { slurm, kubernetes, parallel }.Count(option => result.GetValue(option)) != 1)
                result.AddError("sweep submit: say to whom: one of --slurm, --kubernetes and --parallel.");
        });
        submit.SetAction(parsed => submitter.Submit(
            new SubmitRequest
            {
                Target = parsed.GetValue(slurm) ? SubmitTarget.Slurm : parsed.GetValue(kubernetes) ? SubmitTarget.Kubernetes
                    : SubmitTarget.Parallel,
                Folder = Path.TrimEndingDirectorySeparator(Path.GetFullPath(parsed.GetRequiredValue(folder))),
                Command = parsed.GetRequiredValue(tessera),
                CellsPerTask = parsed.GetResult(perTask) is { Implicit: false } ? parsed.GetValue(perTask) : null,
                Image = parsed.GetRequiredValue(image),
                Claim = parsed.GetRequiredValue(claim),
                Queue = parsed.GetValue(queue),
            },
            parsed.GetValue(go)));
        return submit;
    }

    private Command Status()
    {
        Argument<string> folder = Folder();
        Option<bool> json = CommonOptions.Json("it");
        Command status = new("status", "Say which cells are done, failed or missing, and which hosts made them.") { folder, json };
        status.SetAction(parsed => command.Status(parsed.GetRequiredValue(folder), parsed.GetValue(json)));
        return status;
    }

    private Command Merge()
    {
        Argument<string> folder = Folder();
        Option<string?> metrics = CommonOptions.Metrics();
        Option<bool> json = CommonOptions.Json("the comparison");
        Option<bool> quiet = CommonOptions.Quiet();
        Command merge = new("merge", "Compare what is there: comparison.json, comparison.csv and the report, as `tessera compare` writes "
            + "them.") { folder, metrics, json, quiet };
        merge.SetAction(parsed => command.Merge(parsed.GetRequiredValue(folder), CommonOptions.List(parsed.GetValue(metrics)),
            parsed.GetValue(json), parsed.GetValue(quiet)));
        return merge;
    }
}
