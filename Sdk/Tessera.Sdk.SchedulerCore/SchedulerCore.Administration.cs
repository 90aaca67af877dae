namespace Tessera.Sdk.Scheduling.Core;

/// <content>What the control interface does to a vCPU: pause, resume, adjust.</content>
public sealed partial class SchedulerCore
{
    /// <summary>Keeps a vCPU from running until <see cref="Resume"/>; pauses nest, and wakes meanwhile are kept. A running one stops when its kicked CPU comes back.</summary>
    public void Pause(SchedulableVcpu v, Nanoseconds now)
    {
        Lock gate = Enter();
        try
        {
            now = Advance(now);
            if (Find(v) is not { } record)
                return;
            if (record.WantsRun)
                _log?.Add(now, ScheduleEventKind.Pause, v.Id);
            record.Pauses++;
            record.LatencyOpen = false;
            if (v.State == RunState.Runnable)
                StopWaiting(record, now);
            else if (v.State == RunState.Running)
                KickNow(_pcpus[v.Pcpu.Index]);
        }
        finally
        {
            gate.Exit();
        }
    }

    /// <summary>Takes one pause back.</summary>
    /// <exception cref="InvalidOperationException">It is not paused.</exception>
    public void Resume(SchedulableVcpu v, Nanoseconds now)
    {
        Lock gate = Enter();
        try
        {
            now = Advance(now);
            if (Find(v) is not { } record)
                return;
            if (record.Pauses == 0)
                throw new InvalidOperationException($"vCPU {v.Id} is resumed but not paused.");
            record.Pauses--;
            if (record.WantsRun)
                _log?.Add(now, ScheduleEventKind.Resume, v.Id);
            if (record.WantsRun && v.State == RunState.Blocked)
                MakeRunnable(record, now);
        }
        finally
        {
            gate.Exit();
        }
    }

    /// <summary>
    /// Changes a domain's parameters, or the affinity of all its vCPUs; null leaves one as it is. The policy is told for each of its vCPUs
    /// that it schedules; without any, nothing is changed.
    /// </summary>
    /// <exception cref="ArgumentException">The affinity has none of this machine's physical CPUs, or the weight is below 1.</exception>
    public void Adjust(SchedulableDomain domain, int? weight, object? options, CpuSet? affinity, Nanoseconds now)
    {
        if (weight is { } value)
            ArgumentOutOfRangeException.ThrowIfLessThan(value, 1, nameof(weight));
        foreach (SchedulableVcpu v in domain.Vcpus)
            RequireAffinity(v.Id, affinity ?? v.Affinity);
        Lock gate = Enter();
        try
        {
            now = Advance(now);
            if (domain.Vcpus.IsEmpty)
                return;
            domain.Weight = weight ?? domain.Weight;
            domain.Options = options ?? domain.Options;
            foreach (SchedulableVcpu v in domain.Vcpus)
            {
                if (!TellChange(v, affinity ?? v.Affinity, now))
                    return;
            }
        }
        finally
        {
            gate.Exit();
        }
    }

    /// <summary>Changes the affinity of one vCPU.</summary>
    /// <exception cref="ArgumentException">The affinity has none of this machine's physical CPUs.</exception>
    public void Adjust(SchedulableVcpu v, CpuSet affinity, Nanoseconds now)
    {
        RequireAffinity(v.Id, affinity);
        Lock gate = Enter();
        try
        {
            _ = TellChange(v, affinity, Advance(now));
        }
        finally
        {
            gate.Exit();
        }
    }

    /// <returns>False when the policy hung in this call.</returns>
    private bool TellChange(SchedulableVcpu v, CpuSet affinity, Nanoseconds now)
    {
        v.Affinity = affinity;
        if (Find(v) is null)
            return true;
        if (Tell(PolicyCall.Adjust, v, now) == CallOutcome.Lost)
            return false;
        if (v.State == RunState.Running && !v.Affinity.Contains(v.Pcpu))
            KickNow(_pcpus[v.Pcpu.Index]);
        return true;
    }
}
