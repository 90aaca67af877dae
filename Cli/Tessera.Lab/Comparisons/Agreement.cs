using Tessera.Lab.Metrics;
using Tessera.Lab.Statistics;

namespace Tessera.Lab.Comparisons;

/// <summary>Machine and simulator side by side: what each item of the configuration got, and where and why they differ.</summary>
public static class Agreement
{
    /// <summary>Shares that differ by less agree.</summary>
    public const double SharePoints = 1;

    /// <summary>Medians of latencies that differ by less agree.</summary>
    public const double LatencyPercent = 25;

    /// <summary>The quantity that is a share of all pCPU time.</summary>
    public const string Share = "share";

    /// <summary>The quantity that guests measure themselves: how late they found themselves awake.</summary>
    public const string Lateness = "lateness";

    /// <summary>The quantity that the scheduler core measures, for guests that measure nothing.</summary>
    public const string WakeToRun = "wake-to-run";

    /// <summary>The rows, scheduler by scheduler, cell by cell.</summary>
    /// <param name="schedulers">The schedulers' labels.</param>
    /// <param name="cells">The combinations of varied values.</param>
    /// <param name="runs">Every run of both engines.</param>
    public static IReadOnlyList<AgreementRow> Rows(
        IReadOnlyList<string> schedulers, IReadOnlyList<IReadOnlyList<FactorValue>> cells, IReadOnlyList<RunRow> runs)
    {
        List<AgreementRow> rows = [];
        foreach (string scheduler in schedulers)
        {
            foreach (IReadOnlyList<FactorValue> cell in cells)
            {
                RunRow[] both = [.. runs.Where(run => run.Outcome == "completed" && run.Scheduler == scheduler && run.Cell.SequenceEqual(cell))];
                RunRow[] machine = [.. both.Where(run => run.Engine == ComparisonEngines.Machine)];
                RunRow[] simulated = [.. both.Where(run => run.Engine == ComparisonEngines.Simulated)];
                if (machine.Length == 0 || simulated.Length == 0)
                    continue;
                foreach (GroupFigures group in machine[0].Groups)
                {
                    Side real = new(group.Name, machine);
                    Side model = new(group.Name, simulated);
                    Add(rows, scheduler, cell, real, model);
                }
            }
        }

        return rows;
    }

    private static void Add(List<AgreementRow> rows, string scheduler, IReadOnlyList<FactorValue> cell, Side real, Side model)
    {
        double points = model.Share - real.Share;
        bool agrees = Math.Abs(points) < SharePoints;
        rows.Add(Row(Share, real.Share, model.Share, points, agrees, agrees ? "" : WhyShare(real, model)));
        if (real.Lateness is { } late && model.Lateness is { } lateModel)
            AddLatency(Lateness, late, lateModel);
        else if (real.WakeToRun is { } woken && model.WakeToRun is { } wokenModel)
            AddLatency(WakeToRun, woken, wokenModel);

        void AddLatency(string quantity, double onMachine, double inModel)
        {
            double percent = onMachine > 0 ? ((inModel / onMachine) - 1) * 100 : inModel > 0 ? 100 : 0;
            bool close = Math.Abs(percent) < LatencyPercent;
            rows.Add(Row(quantity, onMachine, inModel, percent, close, close ? "" : WhyLatency(real, model, onMachine, inModel)));
        }

        AgreementRow Row(string quantity, double onMachine, double inModel, double difference, bool close, string reason) => new()
        {
            Scheduler = scheduler,
            Cell = cell,
            Group = real.Name,
            Quantity = quantity,
            Machine = onMachine,
            Simulated = inModel,
            Difference = difference,
            Agrees = close,
            Reason = reason,
        };
    }

    private static string WhyShare(Side real, Side model)
    {
        if (real.Withheld >= HostLoad.BusyPercent)
            return BusyHost(real);
        if (model.Modelled)
            return "its workload in the simulator is that of --model, not of its guest";
        if (real.CpuPerWake is { } cost && model.CpuPerWake is { } costModel && Differ(cost, costModel))
            return $"a wake takes {Time(cost)} of CPU time on the machine and {Time(costModel)} in the model";
        double asked = Math.Abs(model.Ideal - real.Ideal);
        return asked >= Math.Abs(model.Share - real.Share) / 2
            ? $"it asked for other amounts: {real.Ideal:0.00} % of the machine were due to it there, {model.Ideal:0.00} % here"
            : $"it asked for the same ({real.Ideal:0.00} and {model.Ideal:0.00} % were due) and the policy served it otherwise: interrupts and wakes come at other instants than in virtual time";
    }

    private static string WhyLatency(Side real, Side model, double onMachine, double inModel)
    {
        if (real.Withheld >= HostLoad.BusyPercent)
            return BusyHost(real);
        if (model.Modelled)
            return "its workload in the simulator is that of --model, not of its guest";
        if (real.WakeToRun is not { } woken || model.WakeToRun is not { } wokenModel)
            return "the recordings have no wakes of it to tell why";
        return Math.Abs(wokenModel - woken) >= Math.Abs(inModel - onMachine) / 2
            ? $"the wait for a pCPU differs: from wake to run {Time(woken)} on the machine, {Time(wokenModel)} in the simulator"
            : $"the way from run to the guest's own work differs: {Time(onMachine - woken)} on the machine, {Time(inModel - wokenModel)} in the simulator";
    }

    private static string BusyHost(Side real) =>
        $"the host was busy with other things: its pCPU threads waited for a host CPU {NumberText.Of(real.Withheld)} % of the time, which virtual time knows nothing of";

    private static bool Differ(double one, double other) => Math.Abs(one - other) > LatencyPercent / 100 * Math.Max(one, other);

    private static string Time(double nanoseconds) => NumberText.Time(nanoseconds);

    /// <summary>An item's figures over the runs of one engine.</summary>
    private sealed class Side
    {
        public Side(string name, RunRow[] runs)
        {
            Name = name;
            GroupFigures[] groups = [.. runs.SelectMany(run => run.Groups).Where(group => group.Name == name)];
            Share = Mean(groups.Select(group => (double?)(group.Share * 100))) ?? 0;
            Ideal = Mean(groups.Select(group => (double?)(group.IdealShare * 100))) ?? 0;
            Lateness = Mean(groups.Select(group => group.LateP50Ns));
            WakeToRun = Mean(groups.Select(group => group.WakeP50Ns));
            CpuPerWake = Mean(groups.Select(group => group.CpuPerWakeNs));
            Withheld = Mean(runs.Select(run => run.Metrics.TryGetValue(MetricCatalogue.Withheld, out double percent) ? percent : (double?)null)) ?? 0;
            Modelled = groups.Any(group => group.Modelled);
        }

        public string Name { get; }

        public double Share { get; }

        public double Ideal { get; }

        public double? Lateness { get; }

        public double? WakeToRun { get; }

        public double? CpuPerWake { get; }

        /// <summary>What the host took of the pCPUs, in per cent.</summary>
        public double Withheld { get; }

        public bool Modelled { get; }

        private static double? Mean(IEnumerable<double?> values)
        {
            double[] known = [.. values.OfType<double>()];
            return known.Length == 0 ? null : Describe.Mean(known);
        }
    }
}
