using Spectre.Console;
using Tessera.Cli.Control;
using Tessera.Cli.Native;
using Tessera.Cli.Terminal;
using Tessera.Cli.Views;
using Tessera.Experiments;
using Tessera.Experiments.Configuration;
using Tessera.Experiments.Hosts;
using Tessera.Experiments.Machines;
using Tessera.Experiments.Planning;
using Tessera.Experiments.Results;
using Tessera.Experiments.Runs;
using Tessera.Hosting;
using Tessera.Lab.Results;
using Tessera.Sdk;

namespace Tessera.Cli.Verbs;

/// <summary>What `run` and `simulate` are asked for alike.</summary>
/// <param name="Config">The configuration's file.</param>
/// <param name="Edits">Changes of it.</param>
/// <param name="Scheduler">The scheduler instead of the configured one; null for that.</param>
/// <param name="Output">The folder for results; null for none.</param>
/// <param name="Json">Whether the result goes to standard output.</param>
/// <param name="Quiet">Whether progress is not shown.</param>
/// <param name="Control">The control socket; null for none.</param>
/// <param name="Force">Whether results in the output folder are replaced.</param>
/// <param name="Engine">The CPU engine instead of the configured one; null for that.</param>
/// <param name="Recording">What of a run in virtual time is kept or given again; null for nothing.</param>
internal sealed record RunRequest(
    string Config,
    IReadOnlyList<string> Edits,
    string? Scheduler,
    string? Output,
    bool Json,
    bool Quiet,
    string? Control = null,
    bool Force = false,
    string? Engine = null,
    RecordingFiles? Recording = null);

/// <summary>What `run` and `simulate` do: an experiment on a machine, a live table, a summary and result files.</summary>
internal sealed class RunCommand(CliHost host, ExperimentPlanner planner, IMachineFactory machines, SimulatedMachineFactory simulators, RunControlFactory controls, IHostDelay delay, TimeProvider time)
{
    private static readonly Nanoseconds LiveInterval = Nanoseconds.FromMilliseconds(500);
    private static readonly Nanoseconds LineInterval = Nanoseconds.FromSeconds(5);

    /// <summary>Runs it on the machine of the configuration.</summary>
    /// <returns>The exit code.</returns>
    public int Run(RunRequest request, HostResources resources) => Run(request, resources, prepared =>
    {
        if (request.Output is not null)
            host.CheckFolder(request.Output);
        OpenFiles.Check(prepared.Plan.Domains.Count, OpenFiles.Most);
        return machines.Create(prepared);
    });

    /// <summary>Runs it in the simulator.</summary>
    /// <returns>The exit code.</returns>
    public int Simulate(RunRequest request, HostResources resources, SimulationSettings settings) =>
        Run(request, resources, prepared => Simulated(prepared, settings));

    private IRunMachine Simulated(PreparedExperiment prepared, SimulationSettings settings)
    {
        IRunMachine machine = simulators.Create(prepared, settings);
        foreach (string line in SimulatorLimits.LeftOut(prepared.Experiment))
            host.Error.WriteLine($"tessera: {line}");
        return machine;
    }

    private int Run(RunRequest request, HostResources resources, Func<PreparedExperiment, IRunMachine> create)
    {
        Experiment experiment = ConfigurationLoader.Load(request.Config, request.Edits, resources, request.Scheduler, engine: request.Engine);
        using PreparedExperiment prepared = planner.Prepare(experiment) with { Recording = request.Recording };
        VirtualTimeLimits.Check(prepared);
        using OutputFolder? output = request.Output is null ? null : OutputFolder.ForRun(request.Output, request.Force);
        PluginInfo scheduler = prepared.Plugins.Scheduler.Plugin.Info;
        using IRunMachine machine = create(prepared);
        using RunControl? control = request.Control is null ? null : controls.Open(request.Control, prepared);
        if (control is not null && !request.Quiet)
            host.Error.WriteLine($"tessera: control socket {control.Path}");
        // Whoever uses it is a person: idle time passes as theirs does.
        if (control is not null && machine is ITakesInput { IsReplayed: false } input)
            input.InputMayCome = static () => true;
        DateTimeOffset startedAt = DateTimeOffset.UtcNow;
        RunPlan plan = request.Output is null ? prepared.Plan : prepared.Plan with { RecordedEvents = RunPlan.MostRecordedEvents };
        RunRecord record = Watch(request, prepared, plan, machine, control);
        ResultDocument result = ResultBuilder.Build(record, prepared, machine, scheduler, startedAt);
        string? unwritten = request.Output is null ? null : RunFiles.Write(request.Output, prepared, record, result);
        Show(request, prepared, record, result);
        if (unwritten is not null)
            throw new FailedException($"--out {request.Output}: {unwritten}");
        if (request.Output is not null)
            ReportFiles.Write(host, request.Output, request.Quiet);
        return result.Outcome == RunOutcome.Completed ? ExitCode.Good : ExitCode.Failed;
    }

    private RunRecord Watch(RunRequest request, PreparedExperiment prepared, RunPlan plan, IRunMachine machine, RunControl? control)
    {
        if (request.Quiet)
            return Session(request, plan, machine, control, LineInterval, null);
        if (host.ErrorConsole.Profile.Capabilities.Interactive)
            return WatchLive(request, prepared, plan, machine, control);
        long said = time.GetTimestamp();
        return Session(request, plan, machine, control, LineInterval, progress =>
        {
            // Nothing is known at a window's first moment; and virtual time may pass faster than anybody reads.
            if (progress.Elapsed == Nanoseconds.Zero || (machine is IRunPacer && time.GetElapsedTime(said) < TimeSpan.FromSeconds(LineInterval.TotalSeconds)))
                return;
            said = time.GetTimestamp();
            host.Error.WriteLine($"tessera: {RunViews.Line(plan.Domains, progress)}");
        });
    }

    private RunRecord WatchLive(RunRequest request, PreparedExperiment prepared, RunPlan plan, IRunMachine machine, RunControl? control)
    {
        IAnsiConsole console = host.ErrorConsole;
        RunRecord? record = null;
        console.Live(new Text(Title())).AutoClear(true).Overflow(VerticalOverflow.Crop).Start(context =>
            record = Session(request, plan, machine, control, LiveInterval, progress =>
                context.UpdateTarget(RunViews.Live(prepared.Plan.Domains, Title(), progress, console.Profile.Height, console.Profile.Width))));
        return record!;

        string Title() => $"{request.Config}: {Count(prepared.Plan.Domains.Count, "domain")} on {Count(machine.HostCpus.Count, "pCPU")}, {machine.SchedulerName}";

        static string Count(int number, string what) => number == 1 ? $"1 {what}" : $"{number} {what}s";
    }

    private RunRecord Session(RunRequest request, RunPlan plan, IRunMachine machine, RunControl? control, Nanoseconds interval, Action<RunProgress>? progress)
    {
        RunSession session = new(machine, plan, machine as IRunPacer ?? host.Pacer, interval, progress, control, machine is IRunPacer ? null : delay);
        using ConsoleFiles? files = request.Output is null ? null : new ConsoleFiles(request.Output, session.Consoles, plan.ConsoleLimit.Bytes);
        return session.Run();
    }

    private void Show(RunRequest request, PreparedExperiment prepared, RunRecord record, ResultDocument result)
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
}
