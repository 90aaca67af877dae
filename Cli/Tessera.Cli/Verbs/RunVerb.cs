using System.CommandLine;
using System.Globalization;
using Spectre.Console;
using Tessera.Cli.Composition;
using Tessera.Cli.Configuration;
using Tessera.Cli.Results;
using Tessera.Cli.Runs;
using Tessera.Sdk;

namespace Tessera.Cli.Verbs;

/// <summary>`tessera run CONFIG`: the experiment, with a live table, a summary and result files.</summary>
internal sealed class RunVerb(CliHost host, ExperimentPlanner planner, IMachineFactory machines, HostResources resources) : IVerb
{
    private static readonly Nanoseconds LiveInterval = Nanoseconds.FromMilliseconds(500);
    private static readonly Nanoseconds LineInterval = Nanoseconds.FromSeconds(5);

    /// <inheritdoc/>
    public Command Build()
    {
        Argument<string> config = new("config") { Description = "The configuration, JSON with comments (docs/configuration.md)." };
        Option<string[]> set = new("--set")
        {
            Description = "Change the configuration: domains[0].weight=512, \"duration=5 s\". May be given several times.",
            HelpName = "path=value",
            AllowMultipleArgumentsPerToken = false,
        };
        Option<double?> seconds = CommonOptions.Seconds("Measure this long instead of the configured duration.");
        Option<string?> scheduler = CommonOptions.Scheduler();
        Option<string?> output = new("--out") { Description = "Write result.json, configuration.json and console-NAME.log into this folder.", HelpName = "DIR" };
        Option<bool> json = CommonOptions.Json("the result");
        Option<bool> quiet = new("--quiet") { Description = "Show no progress." };
        Command run = new("run", "Run an experiment and show who got what.") { config, set, seconds, scheduler, output, json, quiet };
        run.SetAction(parsed => Run(new Request(
            parsed.GetRequiredValue(config),
            [.. parsed.GetValue(set) ?? [], .. parsed.GetValue(seconds) is { } value ? new[] { $"{ConfigurationKeys.Duration}={Duration(value)}" } : []],
            parsed.GetValue(scheduler),
            parsed.GetValue(output),
            parsed.GetValue(json),
            parsed.GetValue(quiet))));
        return run;
    }

    private static string Duration(double seconds) => ((decimal)seconds).ToString(CultureInfo.InvariantCulture) + " s";

    private int Run(Request request)
    {
        Experiment experiment = ConfigurationLoader.Load(request.Config, request.Edits, resources, request.Scheduler);
        using PreparedExperiment prepared = planner.Prepare(experiment);
        if (request.Output is not null)
            CreateFolder(request.Output);
        using IRunMachine machine = machines.Create(prepared);
        DateTimeOffset startedAt = DateTimeOffset.UtcNow;
        RunRecord record = Watch(request, prepared, machine);
        ResultDocument result = ResultBuilder.Build(record, prepared.Plan.Domains, machine, prepared.Plugins.Scheduler.Plugin.Info, prepared.Resolved, startedAt);
        if (request.Output is not null)
            WriteFiles(request.Output, prepared, result);
        Show(request, prepared, record, result);
        return result.Outcome == RunOutcome.Completed ? ExitCode.Good : ExitCode.Failed;
    }

    private static void CreateFolder(string folder)
    {
        try
        {
            Directory.CreateDirectory(folder);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new UsageException($"--out {folder}: {e.Message} Name a folder that can be written.");
        }
    }

    private static void WriteFiles(string folder, PreparedExperiment prepared, ResultDocument result)
    {
        File.WriteAllText(Path.Combine(folder, "result.json"), ResultJson.Write(result));
        File.WriteAllText(Path.Combine(folder, "configuration.json"), ConfigurationWriter.Text(prepared.Resolved));
    }

    private RunRecord Watch(Request request, PreparedExperiment prepared, IRunMachine machine)
    {
        RunPlan plan = prepared.Plan;
        if (request.Quiet)
            return Session(request, plan, machine, LineInterval, null);
        if (host.ErrorConsole.Profile.Capabilities.Interactive)
            return WatchLive(request, prepared, machine);
        return Session(request, plan, machine, LineInterval, progress =>
        {
            // Nothing is known at a window's first moment.
            if (progress.Elapsed > Nanoseconds.Zero)
                host.Error.WriteLine($"tessera: {RunViews.Line(plan.Domains, progress)}");
        });
    }

    private RunRecord WatchLive(Request request, PreparedExperiment prepared, IRunMachine machine)
    {
        IAnsiConsole console = host.ErrorConsole;
        string title = $"{request.Config}: {prepared.Plan.Domains.Count} domains on {machine.HostCpus.Count} pCPUs, {prepared.Plugins.Scheduler.Plugin.Info.Name}";
        RunRecord? record = null;
        console.Live(new Text(title)).AutoClear(true).Overflow(VerticalOverflow.Crop).Start(context =>
            record = Session(request, prepared.Plan, machine, LiveInterval, progress =>
                context.UpdateTarget(RunViews.Live(prepared.Plan.Domains, title, progress, console.Profile.Height, console.Profile.Width))));
        return record!;
    }

    private RunRecord Session(Request request, RunPlan plan, IRunMachine machine, Nanoseconds interval, Action<RunProgress>? progress)
    {
        RunSession session = new(machine, plan, host.Pacer, interval, progress);
        using ConsoleFiles? files = request.Output is null ? null : new ConsoleFiles(request.Output, session.Consoles);
        return session.Run();
    }

    private void Show(Request request, PreparedExperiment prepared, RunRecord record, ResultDocument result)
    {
        if (request.Json)
            host.Out.Write(ResultJson.Write(result));
        if (!request.Json)
            host.OutConsole.Write(RunViews.Summary(prepared.Plan.Domains, record, result, host.OutConsole.Profile.Width));
        else if (!request.Quiet)
            host.ErrorConsole.Write(RunViews.Summary(prepared.Plan.Domains, record, result, host.ErrorConsole.Profile.Width));
        foreach (string failure in result.Failures)
            host.Error.WriteLine($"tessera: {failure}");
        if (result.Outcome == RunOutcome.Interrupted)
            host.Error.WriteLine("tessera: interrupted; the figures are those until then.");
    }

    private sealed record Request(string Config, IReadOnlyList<string> Edits, string? Scheduler, string? Output, bool Json, bool Quiet);
}
