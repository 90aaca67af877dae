using System.Text;
using System.Text.Json.Nodes;
using Tessera.Cli.Composition;
using Tessera.Cli.Configuration;
using Tessera.Cli.Results;
using Tessera.Cli.Runs;
using Tessera.Lab.Comparisons;
using Tessera.Sdk;

namespace Tessera.Cli.Comparisons;

/// <summary>
/// Measures what a switch and a wake cost on this machine, in three short runs of their own: the simulator is not fitted to the very
/// figures it is compared with.
/// </summary>
/// <remarks>
/// Switch: two `spin` domains that BVT lets take turns every millisecond do less work in a second of CPU time than one alone; the loss,
/// divided by the switches, is what one costs. Wake: a `beat` domain that warps past a `spin` finds itself late by the price of a wake
/// and a switch; its median, less the switch. The rest of its CPU time for a wake is the guest's own work.
/// </remarks>
internal sealed class Calibration(ExperimentPlanner planner, IMachineFactory machines, CliHost host, TimeProvider time)
{
    private const double Seconds = 2;

    /// <summary>Measures on the machine of an experiment: its engine and first physical CPU.</summary>
    /// <param name="like">The experiment.</param>
    /// <param name="resources">What the host offers.</param>
    /// <exception cref="FailedException">A run failed, or the user wants to stop.</exception>
    public SimulationCosts Measure(Experiment like, HostResources resources)
    {
        (ResultDocument Result, double Withheld) alone = Run(like, resources, Spin("one"));
        (ResultDocument Result, double Withheld) turns = Run(like, resources, Spin("one"), Spin("two"));
        (ResultDocument Result, double Withheld) beat = Run(like, resources, Spin("hog"), new JsonObject
        {
            ["name"] = "beat",
            ["guest"] = "beat",
            ["guestOptions"] = new JsonObject { ["period"] = "5 ms" },
            ["scheduler"] = new JsonObject { ["warp"] = true, ["warpValue"] = "1 s" },
        });
        double switchCost = Math.Max(0, (1 - (Rate(turns) / Rate(alone))) * turns.Result.ElapsedSeconds / Math.Max(1, turns.Result.Pcpus[0].Switches));
        DomainResult woken = beat.Result.Domains[1];
        long late = woken.WakeLatencyNs?.P50 ?? 0;
        long switchNs = Math.Min((long)(switchCost * 1e9), late);
        long cpuPerWake = (long)(woken.CpuSeconds * 1e9 / Math.Max(1, woken.Wakes));
        double withheld = new[] { alone, turns, beat }.Average(run => run.Withheld / run.Result.ElapsedSeconds) * 100;
        string doubt = withheld >= Agreement.BusyHostPercent ? $", while the host kept the pCPU waiting {VerdictText.Number(withheld)} % of the time" : "";
        return new SimulationCosts(switchNs, late - switchNs, Math.Max(1000, cpuPerWake - late), $"measured on this machine before the first run{doubt}");
    }

    /// <summary>Work in a second of CPU time; what the host took from the thread meanwhile was none.</summary>
    private static double Rate((ResultDocument Result, double Withheld) run) =>
        run.Result.Domains.Sum(domain => domain.Work ?? 0) / Math.Max(1e-9, run.Result.Domains.Sum(domain => domain.CpuSeconds) - run.Withheld);

    private static JsonObject Spin(string name) => new() { ["name"] = name, ["guest"] = "spin" };

    private (ResultDocument Result, double Withheld) Run(Experiment like, HostResources resources, params JsonNode[] domains)
    {
        JsonObject configuration = new()
        {
            ["machine"] = new JsonObject { ["engine"] = like.Machine.Engine.Name, ["pcpus"] = new JsonArray(like.Machine.HostCpus[0]) },
            ["scheduler"] = new JsonObject { ["name"] = "bvt", ["options"] = new JsonObject { ["contextSwitchAllowance"] = "1 ms" } },
            ["domains"] = new JsonArray(domains),
            ["duration"] = $"{Seconds} s",
        };
        if (like.Machine.Engine.Options is { } options)
            configuration["machine"]!["engineOptions"] = JsonNode.Parse(options.ToElement().GetRawText());
        Experiment experiment = ConfigurationLoader.ParseCommandLine(Encoding.UTF8.GetBytes(configuration.ToJsonString()), Environment.CurrentDirectory, resources, scheduler: null);
        using PreparedExperiment prepared = planner.Prepare(experiment);
        using IRunMachine machine = machines.Create(prepared);
        long before = HostDelay.Read();
        RunRecord record = new RunSession(machine, prepared.Plan, machine as IRunPacer ?? host.Pacer, Nanoseconds.Never, null).Run();
        if (record.Outcome == RunOutcome.Interrupted)
            throw new OperationCanceledException();
        if (record.Outcome == RunOutcome.Failed)
            throw new FailedException($"What a switch and a wake cost could not be measured: {string.Join(" ", record.Failures)} Give them: --switch-cost and --wake-cost.");
        double withheld = (HostDelay.Read() - before) / 1e9;
        return (ResultBuilder.Build(record, prepared.Plan.Domains, machine, prepared.Plugins.Scheduler.Plugin.Info, prepared.Resolved, time.GetUtcNow()), withheld);
    }
}
