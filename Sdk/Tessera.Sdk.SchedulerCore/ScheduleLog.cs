namespace Tessera.Sdk.Scheduling.Core;

/// <summary>What an entry of a <see cref="ScheduleLog"/> tells.</summary>
public enum ScheduleEventKind : byte
{
    /// <summary>A physical CPU gave itself to a vCPU, or went on with one that woke while it was still there.</summary>
    Run,

    /// <summary>A physical CPU found nothing to run.</summary>
    Idle,

    /// <summary>A blocked vCPU became runnable.</summary>
    Wake,

    /// <summary>A vCPU blocked; it is off its physical CPU when that one runs another or idles.</summary>
    Sleep,

    /// <summary>The administrator stopped a vCPU.</summary>
    Pause,

    /// <summary>The administrator let it go on.</summary>
    Resume,

    /// <summary>A vCPU left for good.</summary>
    Remove,

    /// <summary>Another policy took over.</summary>
    Policy,
}

/// <summary>Why a physical CPU's vCPU before this one stopped.</summary>
public enum RunEnd : byte
{
    /// <summary>It did not: there was none, or it goes on.</summary>
    None,

    /// <summary>It could have run on.</summary>
    Preempted,

    /// <summary>It blocked.</summary>
    Slept,

    /// <summary>The administrator paused it.</summary>
    Paused,

    /// <summary>It left for good.</summary>
    Removed,
}

/// <summary>One event.</summary>
/// <param name="At">When.</param>
/// <param name="Vcpu">Whose; meaningless for <see cref="ScheduleEventKind.Idle"/> and <see cref="ScheduleEventKind.Policy"/>.</param>
/// <param name="Pcpu">The physical CPU's index for <see cref="ScheduleEventKind.Run"/> and <see cref="ScheduleEventKind.Idle"/>, else -1.</param>
/// <param name="Kind">What.</param>
/// <param name="Before">For those two, why the one before stopped.</param>
/// <param name="LateNs">For <see cref="ScheduleEventKind.Wake"/>, how long ago it was to wake, ns; at most two seconds.</param>
public readonly record struct ScheduleEntry(Nanoseconds At, VcpuId Vcpu, short Pcpu, ScheduleEventKind Kind, RunEnd Before, int LateNs = 0);

/// <summary>
/// Every scheduling event from some instant on, in order, up to a fixed number. Its memory is taken at once and touched as it fills, so
/// recording allocates nothing. Written under the core's lock; read it when the recording has stopped.
/// </summary>
public sealed class ScheduleLog
{
    private readonly ScheduleEntry[] _entries;
    private int _count;

    /// <summary>Makes an empty log.</summary>
    /// <param name="capacity">How many events it takes, at least 1; 24 bytes each.</param>
    /// <param name="start">When it begins.</param>
    public ScheduleLog(int capacity, Nanoseconds start)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(capacity, 1);
        _entries = GC.AllocateUninitializedArray<ScheduleEntry>(capacity);
        Start = start;
    }

    /// <summary>When it begins: the first entries restate what ran and waited then.</summary>
    public Nanoseconds Start { get; }

    /// <summary>When it ended; <see cref="Nanoseconds.Never"/> while it goes on.</summary>
    public Nanoseconds End { get; internal set; } = Nanoseconds.Never;

    /// <summary>The instant of the first event it had no room for; null when it has all.</summary>
    public Nanoseconds? CutAt { get; private set; }

    /// <summary>The events.</summary>
    public ReadOnlySpan<ScheduleEntry> Entries => _entries.AsSpan(0, _count);

    internal void Add(Nanoseconds at, ScheduleEventKind kind, VcpuId vcpu, int pcpu = -1, RunEnd before = RunEnd.None, Nanoseconds late = default)
    {
        if (_count == _entries.Length)
        {
            CutAt ??= at;
            return;
        }

        _entries[_count++] = new(at, vcpu, (short)pcpu, kind, before, (int)Math.Min(late.Value, int.MaxValue));
    }
}
