using Tessera.Experiments.Hosts;
using Tessera.Experiments.Planning;
using Tessera.Experiments.Runs;
using Tessera.Hosting;
using Tessera.Lab.Results;
using Tessera.Sdk.Cpu;

namespace Tessera.Experiments.Results;

/// <summary>Makes the document of what a session left behind.</summary>
public static class ResultBuilder
{
    /// <summary>The result of one run.</summary>
    /// <param name="record">What the session left.</param>
    /// <param name="prepared">What ran.</param>
    /// <param name="machine">The machine it ran on.</param>
    /// <param name="scheduler">The scheduler that was configured.</param>
    /// <param name="startedAt">When.</param>
    public static ResultDocument Build(RunRecord record, PreparedExperiment prepared, IRunMachine machine, PluginInfo scheduler, DateTimeOffset startedAt)
    {
        IReadOnlyList<DomainPlan> domains = prepared.Plan.Domains;
        double seconds = (record.Final.At - record.Baseline.At).TotalSeconds;
        ShareRow[] rows = ShareTable.Between(record.Baseline, record.Final, record.Expected);
        return new ResultDocument
        {
            Version = typeof(ResultBuilder).Assembly.GetName().Version?.ToString(3) ?? "0.0.0",
            StartedAt = startedAt,
            Outcome = record.Outcome,
            Failures = record.Failures,
            Host = HostFactsReader.Read(),
            Time = machine is IRunPacer ? ResultDocument.VirtualTime : ResultDocument.RealTime,
            Engine = Engine(machine.Engine),
            Scheduler = new SchedulerReport(scheduler.Name, scheduler.Version, record.Final.SchedulerEjected),
            Configuration = prepared.Resolved,
            MeasuredFromSeconds = Math.Max(0, record.Baseline.At.TotalSeconds),
            ElapsedSeconds = seconds,
            Experiment = Path.GetFileNameWithoutExtension(prepared.Experiment.Document.Position.Source),
            Withheld = record.Withheld is { } withheld ? Withheld(withheld, seconds * machine.HostCpus.Count) : null,
            Domains = [.. domains.Select((domain, index) => Domain(record, domain, index, rows[index]))],
            Pcpus = [.. record.Final.Pcpus.Select((pcpu, index) => Pcpu(index, machine.HostCpus[index], record.Baseline.Pcpus[index], pcpu))],
            SchedulerCost = Cost(record.Final.Decisions),
            Changes = [.. record.Changes.Select(change => new ChangeResult(change.At.TotalSeconds, change.By, change.Command, change.What))],
        };
    }

    /// <summary>An engine's facts as data.</summary>
    public static EngineReport Engine(EngineFacts facts) => new(
        facts.Name, facts.Strategy, [.. facts.Findings.Select(finding => new EngineFindingReport(finding.Probe, finding.Finding, finding.Consequence))]);

    private static WithheldResult Withheld(Withheld withheld, double capacity) => new(
        withheld.Delay.TotalSeconds,
        withheld.Stolen.TotalSeconds,
        capacity > 0 ? Math.Min(100, (withheld.Delay + withheld.Stolen).TotalSeconds / capacity * 100) : 0);

    private static SchedulerCost Cost(IReadOnlyList<DecisionReading> decisions) => new(
        decisions.Sum(static each => each.Count),
        decisions.Count == 0 ? null : decisions[^1].P50Ns,
        decisions.Count == 0 ? null : decisions[^1].P99Ns)
    {
        BySchedulers = [.. decisions.Select(static each => new SchedulerDecisions(each.Scheduler, each.Count, each.P50Ns, each.P99Ns))],
    };

    private static PcpuResult Pcpu(int index, int hostCpu, PcpuReading before, PcpuReading after) => new(
        index, hostCpu, (after.Busy - before.Busy).TotalSeconds, (after.Idle - before.Idle).TotalSeconds, after.Switches - before.Switches);

    private static DomainResult Domain(RunRecord record, DomainPlan plan, int index, ShareRow row)
    {
        DomainReading before = record.Baseline.Domains[index];
        DomainReading after = record.Final.Domains[index];
        double seconds = (record.Final.At - record.Baseline.At).TotalSeconds;
        return new DomainResult
        {
            Name = plan.Name,
            Id = record.Ids[index],
            Guest = plan.Guest,
            State = after.Phase.Word(),
            ExitReason = record.ExitReasons[index],
            CrashRegisters = record.CrashRegisters[index],
            Weight = plan.Weight,
            CpuSeconds = row.CpuSeconds,
            Share = row.Share,
            ExpectedShare = row.ExpectedShare,
            Work = row.Work,
            Wakes = row.Wakes,
            WakeLatencyNs = row.Latency ?? after.WakeLatency,
            MissedDeadlines = row.Missed,
            ResponseTimeNs = ShareTable.Latency(before.Responses, after.Responses),
            Traps = ShareTable.Difference(before.Traps, after.Traps),
            Hypercalls = ShareTable.Difference(before.Hypercalls, after.Hypercalls),
            Memory = new MemoryResult(after.AssignedBytes, after.ResidentBytes),
            Disks = [.. after.Disks.Select(disk => DeviceResults.Of(disk.Key, disk.Value, seconds))],
            Nics = [.. after.Nics.Select(nic => DeviceResults.Of(nic.Key, nic.Value.Address, nic.Value.Reading, seconds))],
            BootMilliseconds = record.BootTimes[index]?.TotalMilliseconds,
            ConsoleTail = record.Consoles[index].Tail(),
            UnknownCode = [.. after.UnknownCode.Select(code => new UnknownCodeResult(code.What, code.Bytes, code.Count))],
            ConsoleProblem = record.Consoles[index].Problem,
        };
    }
}
