namespace Tessera.Sdk.Scheduling.Core;

/// <content>The recording of every decision, wake and sleep, while somebody wants one.</content>
public sealed partial class SchedulerCore
{
    private ScheduleLog? _log;

    /// <summary>Starts a recording; it begins with what runs and what waits now. One that was going on is dropped.</summary>
    /// <param name="capacity">How many events it takes before it is cut.</param>
    /// <param name="now">The instant.</param>
    public void StartRecording(int capacity, Nanoseconds now)
    {
        Lock gate = Enter();
        try
        {
            now = Advance(now);
            ScheduleLog log = new(capacity, now);
            foreach (VcpuRecord record in _vcpus)
            {
                if (record.WantsRun)
                    log.Add(now, ScheduleEventKind.Wake, record.Vcpu.Id);
            }

            foreach (PcpuRecord pcpu in _pcpus)
            {
                if (pcpu.Occupant is { } occupant)
                    log.Add(now, ScheduleEventKind.Run, occupant.Vcpu.Id, pcpu.Id.Index);
                else
                    log.Add(now, ScheduleEventKind.Idle, default, pcpu.Id.Index);
            }

            _log = log;
        }
        finally
        {
            gate.Exit();
        }
    }

    /// <summary>Ends the recording.</summary>
    /// <returns>It; null when none was going on.</returns>
    public ScheduleLog? StopRecording(Nanoseconds now)
    {
        Lock gate = Enter();
        try
        {
            ScheduleLog? log = _log;
            _log = null;
            if (log is not null)
                log.End = Advance(now);
            return log;
        }
        finally
        {
            gate.Exit();
        }
    }

    private static RunEnd EndOf(VcpuRecord? previous) => previous switch
    {
        null => RunEnd.None,
        { Removed: true } => RunEnd.Removed,
        { Blocked: true } => RunEnd.Slept,
        { Pauses: > 0 } => RunEnd.Paused,
        _ => RunEnd.Preempted,
    };

    private void LogDecision(PcpuRecord pcpu, VcpuRecord? previous, VcpuRecord? chosen, Nanoseconds now)
    {
        if (_log is not { } log)
            return;
        if (chosen == previous)
        {
            if (chosen is { LatencyOpen: true })
                log.Add(now, ScheduleEventKind.Run, chosen.Vcpu.Id, pcpu.Id.Index);
            return;
        }

        if (chosen is null)
            log.Add(now, ScheduleEventKind.Idle, default, pcpu.Id.Index, EndOf(previous));
        else
            log.Add(now, ScheduleEventKind.Run, chosen.Vcpu.Id, pcpu.Id.Index, EndOf(previous));
    }
}
