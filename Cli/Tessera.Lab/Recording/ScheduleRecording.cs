using Tessera.Sdk;
using Tessera.Sdk.Scheduling;
using Tessera.Sdk.Scheduling.Core;

namespace Tessera.Lab.Recording;

/// <summary>One scheduling event of a recording.</summary>
/// <param name="At">When, from the recording's start.</param>
/// <param name="Kind">What.</param>
/// <param name="Pcpu">The physical CPU for <see cref="ScheduleEventKind.Run"/> and <see cref="ScheduleEventKind.Idle"/>, else -1.</param>
/// <param name="Domain">Index into <see cref="ScheduleRecording.Domains"/>; -1 for an idle physical CPU and a change of policy.</param>
/// <param name="Vcpu">The vCPU's index in its domain; -1 where there is no domain.</param>
/// <param name="Before">For run and idle, why the physical CPU's vCPU before this one stopped.</param>
/// <param name="Late">For wake, how long ago it was to wake: its timer was noticed late.</param>
public readonly record struct ScheduleEvent(Nanoseconds At, ScheduleEventKind Kind, int Pcpu, int Domain, int Vcpu, RunEnd Before, Nanoseconds Late = default);

/// <summary>A domain of a recording.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Weight">Its share weight.</param>
/// <param name="Owed">What the scheduler owed each of its vCPUs.</param>
public readonly record struct RecordedDomain(string Name, int Weight, Entitlement Owed)
{
    /// <summary>One that was owed a share by its weight.</summary>
    /// <param name="name">Its name.</param>
    /// <param name="weight">Its share weight.</param>
    public RecordedDomain(string name, int weight)
        : this(name, weight, Entitlement.ByWeight(weight))
    {
    }
}

/// <summary>Who ran where and who wanted to, over the measured window of a run. The first events restate what was so at its start.</summary>
public sealed record ScheduleRecording
{
    /// <summary>How long the window was.</summary>
    public required Nanoseconds Length { get; init; }

    /// <summary>How many physical CPUs there were.</summary>
    public required int PcpuCount { get; init; }

    /// <summary>The domains, in the order of the configuration.</summary>
    public required IReadOnlyList<RecordedDomain> Domains { get; init; }

    /// <summary>The events, in order of time.</summary>
    public required IReadOnlyList<ScheduleEvent> Events { get; init; }

    /// <summary>Where it had to stop for want of room; null when it reaches to the end.</summary>
    public Nanoseconds? CutAt { get; init; }

    /// <summary>The part that the events cover.</summary>
    public Nanoseconds Covered => CutAt ?? Length;

    /// <summary>Makes one of a scheduler core's log.</summary>
    /// <param name="log">The log, ended.</param>
    /// <param name="pcpuCount">The physical CPUs.</param>
    /// <param name="domains">The domains, in order.</param>
    /// <param name="ids">Their numbers, in the same order; events of other domains are left out.</param>
    public static ScheduleRecording FromLog(ScheduleLog log, int pcpuCount, IReadOnlyList<RecordedDomain> domains, IReadOnlyList<int> ids)
    {
        Dictionary<int, int> indexOf = [];
        for (int index = 0; index < ids.Count; index++)
            indexOf[ids[index]] = index;
        List<ScheduleEvent> events = new(log.Entries.Length);
        foreach (ScheduleEntry entry in log.Entries)
        {
            bool nobody = entry.Kind is ScheduleEventKind.Idle or ScheduleEventKind.Policy;
            int domain = nobody ? -1 : indexOf.GetValueOrDefault(entry.Vcpu.Domain.Value, -1);
            if (domain < 0 && !nobody)
                continue;
            events.Add(new(entry.At - log.Start, entry.Kind, entry.Pcpu, domain, nobody ? -1 : entry.Vcpu.Index, entry.Before, new(entry.LateNs)));
        }

        return new()
        {
            Length = log.End - log.Start,
            PcpuCount = pcpuCount,
            Domains = domains,
            Events = events,
            CutAt = log.CutAt is { } cut ? cut - log.Start : null,
        };
    }
}
