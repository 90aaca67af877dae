using Tessera.Lab.Recording;
using Tessera.Lab.Statistics;

namespace Tessera.Lab.Metrics;

/// <summary>What the scheduling of one domain comes to.</summary>
public sealed record DomainMetrics
{
    /// <summary>Its name.</summary>
    public required string Name { get; init; }

    /// <summary>Its weight.</summary>
    public required int Weight { get; init; }

    /// <summary>pCPU time it had, in seconds.</summary>
    public required double CpuSeconds { get; init; }

    /// <summary>That time over all pCPU time, 0 to 1.</summary>
    public required double Share { get; init; }

    /// <summary>The share that generalised processor sharing would have given it (<see cref="FluidGps"/>), 0 to 1.</summary>
    public required double IdealShare { get; init; }

    /// <summary>The part of the recording in which it could run and did not (steal time), 0 to 1: the mean of its vCPUs.</summary>
    public required double WaitShare { get; init; }

    /// <summary>How often it woke.</summary>
    public required long Wakes { get; init; }

    /// <summary>How often it was taken off a pCPU though it could have gone on.</summary>
    public required long Preemptions { get; init; }

    /// <summary>How long its stints on a pCPU were, in ns; null when there was none.</summary>
    public required Quantiles? StintNs { get; init; }

    /// <summary>From its wakes to running, in ns, as the scheduler core saw it; null when it did not wake.</summary>
    public required Quantiles? WakeToRunNs { get; init; }
}

/// <summary>What the scheduling of one run comes to: a pure function of its recording.</summary>
public sealed record RunMetrics
{
    /// <summary>What of the run the recording covers, in seconds.</summary>
    public required double Seconds { get; init; }

    /// <summary>Physical CPUs.</summary>
    public required int Pcpus { get; init; }

    /// <summary>The domains, in the order of the configuration.</summary>
    public required IReadOnlyList<DomainMetrics> Domains { get; init; }

    /// <summary>Distances from the ideal at 10 ms, 100 ms, 1 s and 10 s; those that no whole window fits into are left out.</summary>
    public required IReadOnlyList<WindowError> ShareErrors { get; init; }

    /// <summary>
    /// Jain's index (Jain, Chiu and Hawe, DEC-TR-301, 1984) of service over ideal service, (Σx)² / (n Σx²) over the domains with a claim:
    /// 1 when all had the same part of their due, 1/n when one had everything.
    /// </summary>
    public required double JainIndex { get; init; }

    /// <summary>From wake to running over all domains, in ns; null when nobody woke.</summary>
    public required Quantiles? WakeToRunNs { get; init; }

    /// <summary>Turns of a pCPU to another vCPU than its last.</summary>
    public required long Switches { get; init; }

    /// <summary>Stints that ended though the vCPU could have gone on.</summary>
    public required long Preemptions { get; init; }

    /// <summary>Part of all pCPU time given to vCPUs, 0 to 1.</summary>
    public required double BusyShare { get; init; }

    /// <summary>Part of all pCPU time that was idle while a vCPU waited, 0 to 1 (<see cref="ScheduleReplay.Lost"/>).</summary>
    public required double LostShare { get; init; }

    /// <summary>Computes everything.</summary>
    public static RunMetrics Of(ScheduleRecording recording)
    {
        ScheduleReplay replay = ScheduleReplay.Of(recording);
        return Of(recording, replay, ShareTrace.Of(recording, replay));
    }

    /// <summary>Computes everything from parts that are at hand.</summary>
    public static RunMetrics Of(ScheduleRecording recording, ScheduleReplay replay, ShareTrace trace)
    {
        int domains = recording.Domains.Count;
        List<long>[] stints = Lists(domains);
        List<long>[] wakes = Lists(domains);
        long[] preemptions = new long[domains];
        foreach (RunSpan run in replay.Runs)
        {
            stints[run.Domain].Add((run.To - run.From).Value);
            if (run.End == Sdk.Scheduling.Core.RunEnd.Preempted)
                preemptions[run.Domain]++;
        }

        foreach (WakeToRun wake in replay.Wakes)
            wakes[wake.Domain].Add(wake.Latency.Value);
        long[] waited = new long[domains];
        int[] vcpus = new int[domains];
        foreach (BusyPeriod period in replay.BusyPeriods)
        {
            // What ran on after it had blocked is not of the period's time.
            waited[period.Domain] += Math.Max(0, (period.To - period.From - period.Ran).Value);
            vcpus[period.Domain] = Math.Max(vcpus[period.Domain], period.Vcpu + 1);
        }

        double capacity = Math.Max(1, recording.Covered.Value) * (double)recording.PcpuCount;
        return new RunMetrics
        {
            Seconds = recording.Covered.TotalSeconds,
            Pcpus = recording.PcpuCount,
            Domains =
            [
                .. recording.Domains.Select((domain, index) => new DomainMetrics
                {
                    Name = domain.Name,
                    Weight = domain.Weight,
                    CpuSeconds = trace.Real[index] / 1e9,
                    Share = trace.Real[index] / capacity,
                    IdealShare = trace.Ideal[index] / capacity,
                    WaitShare = waited[index] / (Math.Max(1, recording.Covered.Value) * (double)Math.Max(1, vcpus[index])),
                    Wakes = wakes[index].Count,
                    Preemptions = preemptions[index],
                    StintNs = Quantiles.Of([.. stints[index]]),
                    WakeToRunNs = Quantiles.Of([.. wakes[index]]),
                }),
            ],
            ShareErrors = trace.Errors,
            JainIndex = Jain(trace.Real, trace.Ideal),
            WakeToRunNs = Quantiles.Of([.. replay.Wakes.Select(wake => wake.Latency.Value)]),
            Switches = replay.Switches.Sum(),
            Preemptions = replay.Preemptions,
            BusyShare = trace.Real.Sum() / capacity,
            LostShare = replay.Lost.Value / capacity,
        };
    }

    /// <summary>Jain's index of what each had over what each was due; those without a claim do not count. 1 when nobody had one.</summary>
    public static double Jain(IReadOnlyList<double> had, IReadOnlyList<double> due)
    {
        double sum = 0;
        double squares = 0;
        int count = 0;
        for (int index = 0; index < had.Count; index++)
        {
            if (due[index] <= 0)
                continue;
            double part = had[index] / due[index];
            sum += part;
            squares += part * part;
            count++;
        }

        return squares <= 0 ? 1 : sum * sum / (count * squares);
    }

    private static List<long>[] Lists(int count)
    {
        List<long>[] lists = new List<long>[count];
        for (int index = 0; index < count; index++)
            lists[index] = [];
        return lists;
    }
}
