using System.Text;
using System.Text.Json.Nodes;
using Tessera.Experiments.Configuration;
using Tessera.Experiments.Hosts;
using Tessera.Experiments.Machines;
using Tessera.Experiments.Planning;
using Tessera.Experiments.Results;
using Tessera.Experiments.Runs;
using Tessera.Lab;
using Tessera.Lab.Comparisons;
using Tessera.Lab.Metrics;
using Tessera.Lab.Results;
using Tessera.Sdk;

namespace Tessera.Experiments.Comparisons;

/// <summary>
/// Measures what a switch and a wake cost on this machine, in three short runs of their own: the simulator is not fitted to the very
/// figures it is compared with.
/// </summary>
/// <remarks>
/// Switch: two `spin` domains that BVT lets take turns every millisecond do less work in a second of CPU time than one alone; the loss,
/// divided by the switches, is what one costs. Wake: a `beat` domain that warps past a `spin` finds itself late by the price of a wake
/// and a switch; its median, less the switch. The rest of its CPU time for a wake is the guest's own work.
/// </remarks>
public sealed class Calibration(ExperimentPlanner planner, IMachineFactory machines, IHostDelay delay, IExperimentHost host, TimeProvider time)
{
    private const double Seconds = 2;

    /// <summary>How often it is measured before a busy host is no place to measure at.</summary>
    private const int Attempts = 3;

    /// <summary>
    /// Measures on the machine of an experiment: its engine and first physical CPU. What was measured while the host ran other things is not the
    /// machine's cost but the host's load: it is measured again, and then refused.
    /// </summary>
    /// <param name="like">The experiment.</param>
    /// <param name="resources">What the host offers.</param>
    /// <exception cref="FailedException">A run failed, or the host is too busy.</exception>
    /// <exception cref="OperationCanceledException">The user wants to stop.</exception>
    public SimulationCosts Measure(Experiment like, HostResources resources)
    {
        double least = 100;
        for (int attempt = 1; attempt <= Attempts; attempt++)
        {
            SimulationCosts costs = MeasureOnce(like, resources);
            if (costs.WithheldPercent is not >= HostLoad.StarvedPercent)
                return costs;
            least = Math.Min(least, costs.WithheldPercent.Value);
            host.Error.WriteLine($"tessera: the host withheld {NumberText.Of(costs.WithheldPercent.Value)} % of the pCPU's time meanwhile, so these costs are not the machine's{(attempt < Attempts ? "; measuring again" : "")}.");
        }

        throw new FailedException(
            $"What a switch and a wake cost cannot be measured on this host now: it withheld {NumberText.Of(least)} % of the pCPU's time or more in each of {Attempts} attempts, and {HostLoad.StarvedPercent} % is too much. "
            + "Wait until it is quiet, or give the costs: --switch-cost and --wake-cost.");
    }

    private SimulationCosts MeasureOnce(Experiment like, HostResources resources)
    {
        ResultDocument alone = Run(like, resources, Spin("one"));
        ResultDocument turns = Run(like, resources, Spin("one"), Spin("two"));
        ResultDocument beat = Run(like, resources, Spin("hog"), new JsonObject
        {
            ["name"] = "beat",
            ["guest"] = "beat",
            ["guestOptions"] = new JsonObject { ["period"] = "5 ms" },
            ["scheduler"] = new JsonObject { ["warp"] = true, ["warpValue"] = "1 s" },
        });
        double switchCost = Math.Max(0, (1 - (Rate(turns) / Math.Max(1e-9, Rate(alone)))) * turns.ElapsedSeconds / Math.Max(1, turns.Pcpus[0].Switches));
        DomainResult woken = beat.Domains[1];
        long late = woken.WakeLatencyNs?.P50 ?? 0;
        long switchNs = Math.Min((long)(switchCost * 1e9), late);
        long cpuPerWake = (long)(woken.CpuSeconds * 1e9 / Math.Max(1, woken.Wakes));
        double? withheld = new[] { alone, turns, beat }.Max(run => run.Withheld?.Percent);
        string doubt = withheld is { } percent ? $", of whose time the host withheld at most {NumberText.Of(percent)} %" : ", whose host keeps no account of what it withholds";
        return new SimulationCosts(switchNs, late - switchNs, Math.Max(1000, cpuPerWake - late), $"measured on this machine before the first run{doubt}", withheld);
    }

    /// <summary>Work in a second of CPU time; what the host took from the thread meanwhile was none.</summary>
    private static double Rate(ResultDocument run) =>
        run.Domains.Sum(domain => domain.Work ?? 0) / Math.Max(1e-9, run.Domains.Sum(domain => domain.CpuSeconds) - (run.Withheld?.Seconds ?? 0) - (run.Withheld?.StolenSeconds ?? 0));

    private static JsonObject Spin(string name) => new() { ["name"] = name, ["guest"] = "spin" };

    private ResultDocument Run(Experiment like, HostResources resources, params JsonNode[] domains)
    {
        JsonObject configuration = new()
        {
            ["machine"] = new JsonObject { ["engine"] = like.Machine.Engine, ["pcpus"] = new JsonArray(like.Machine.HostCpus[0]) },
            ["scheduler"] = new JsonObject { ["name"] = "bvt", ["options"] = new JsonObject { ["contextSwitchAllowance"] = "1 ms" } },
            ["domains"] = new JsonArray(domains),
            ["duration"] = $"{Seconds} s",
        };
        if (like.Machine.EngineOptions is { } options)
            configuration["machine"]!["engineOptions"] = JsonNode.Parse(options.ToElement().GetRawText());
        Experiment experiment = ConfigurationLoader.ParseCommandLine(Encoding.UTF8.GetBytes(configuration.ToJsonString()), Environment.CurrentDirectory, resources, scheduler: null);
        using PreparedExperiment prepared = planner.Prepare(experiment);
        using IRunMachine machine = machines.Create(prepared);
        RunRecord record = new RunSession(machine, prepared.Plan, machine as IRunPacer ?? host.Pacer, Nanoseconds.Never, null, null, delay).Run();
        if (record.Outcome == RunOutcome.Interrupted)
            throw new OperationCanceledException();
        if (record.Outcome == RunOutcome.Failed)
            throw new FailedException($"What a switch and a wake cost could not be measured: {string.Join(" ", record.Failures)} Give them: --switch-cost and --wake-cost.");
        return ResultBuilder.Build(record, prepared, machine, prepared.Plugins.Scheduler.Plugin.Info, time.GetUtcNow());
    }
}
