using Tessera.Lab.Recording;
using Tessera.Sdk;
using Tessera.Sdk.Scheduling.Core;

namespace Tessera.Lab.Metrics;

/// <summary>A physical CPU's stint with one vCPU.</summary>
/// <param name="From">Its beginning, from the recording's start.</param>
/// <param name="To">Its end.</param>
/// <param name="Pcpu">The physical CPU.</param>
/// <param name="Domain">The domain's index.</param>
/// <param name="Vcpu">The vCPU's index in the domain.</param>
/// <param name="End">Why it ended; <see cref="RunEnd.None"/> at the recording's end.</param>
public readonly record struct RunSpan(Nanoseconds From, Nanoseconds To, int Pcpu, int Domain, int Vcpu, RunEnd End);

/// <summary>A time in which a vCPU could run without a break: from its wake (or the recording's start) until it blocked.</summary>
/// <param name="From">Its beginning.</param>
/// <param name="To">Its end, or the recording's.</param>
/// <param name="Domain">The domain's index.</param>
/// <param name="Vcpu">The vCPU's index in the domain.</param>
/// <param name="Ran">CPU time that it had.</param>
/// <param name="Ended">Whether it blocked, so that <paramref name="Ran"/> was all it wanted.</param>
public readonly record struct BusyPeriod(Nanoseconds From, Nanoseconds To, int Domain, int Vcpu, Nanoseconds Ran, bool Ended);

/// <summary>A wake and what followed.</summary>
/// <param name="At">The wake, or the deadline of the timer that caused it: before an earlier wake's or the recording's start when the timer was set for a time gone by.</param>
/// <param name="Domain">The domain's index.</param>
/// <param name="Vcpu">The vCPU's index in the domain.</param>
/// <param name="Latency">From then to running.</param>
public readonly record struct WakeToRun(Nanoseconds At, int Domain, int Vcpu, Nanoseconds Latency)
{
    /// <summary>Where it is on an axis that begins with the recording.</summary>
    public Nanoseconds SeenAt => At < Nanoseconds.Zero ? Nanoseconds.Zero : At;
}

/// <summary>
/// A recording read into who ran when, who wanted to when, and how long wakes took. A vCPU that blocks is charged until its physical
/// CPU turns to something else, as the scheduler core's accounts have it.
/// </summary>
public sealed class ScheduleReplay
{
    private readonly List<RunSpan> _runs = [];
    private readonly List<BusyPeriod> _periods = [];
    private readonly List<WakeToRun> _wakes = [];
    private readonly Dictionary<(int Domain, int Vcpu), Vcpu> _vcpus = [];
    private readonly Pcpu[] _pcpus;
    private readonly long[] _switches;
    private Nanoseconds _lost;
    private Nanoseconds _lostUpTo;
    private int _idle;
    private int _waiting;

    private ScheduleReplay(ScheduleRecording recording)
    {
        _pcpus = new Pcpu[recording.PcpuCount];
        _switches = new long[recording.PcpuCount];
        for (int index = 0; index < _pcpus.Length; index++)
            _pcpus[index] = new Pcpu(index);
        foreach (ScheduleEvent item in recording.Events)
            Apply(item);
        End(recording.Covered);
        _runs.Sort(static (a, b) => a.From != b.From ? a.From.CompareTo(b.From) : a.Pcpu.CompareTo(b.Pcpu));
        _periods.Sort(static (a, b) => a.From != b.From ? a.From.CompareTo(b.From) : a.Domain.CompareTo(b.Domain));
    }

    /// <summary>Every stint, in order of its beginning.</summary>
    public IReadOnlyList<RunSpan> Runs => _runs;

    /// <summary>Every busy period, in order of its beginning.</summary>
    public IReadOnlyList<BusyPeriod> BusyPeriods => _periods;

    /// <summary>Every wake in the recording that was followed by a run, in order of the run. Those before the recording's start are not in it.</summary>
    public IReadOnlyList<WakeToRun> Wakes => _wakes;

    /// <summary>How often each physical CPU turned to another vCPU than its last.</summary>
    public IReadOnlyList<long> Switches => _switches;

    /// <summary>Stints that ended though the vCPU could have gone on.</summary>
    public long Preemptions { get; private set; }

    /// <summary>
    /// pCPU time that was idle while a vCPU waited: at each instant the lesser of idle physical CPUs and waiting vCPUs. Affinity, which
    /// may forbid better, is not in a recording.
    /// </summary>
    public Nanoseconds Lost => _lost;

    /// <summary>Reads a recording.</summary>
    public static ScheduleReplay Of(ScheduleRecording recording) => new(recording);

    private void Apply(in ScheduleEvent item)
    {
        Charge(item.At);
        if (item.Kind == ScheduleEventKind.Policy)
            return;
        if (item.Kind is ScheduleEventKind.Run or ScheduleEventKind.Idle)
        {
            Turn(item);
            return;
        }

        Vcpu vcpu = VcpuOf(item.Domain, item.Vcpu);
        Account(vcpu, item.At);
        bool wanted = vcpu.Wants;
        switch (item.Kind)
        {
            case ScheduleEventKind.Wake:
                vcpu.Blocked = false;
                vcpu.WokenAt = item.At > Nanoseconds.Zero ? item.At - item.Late : null;
                break;
            case ScheduleEventKind.Sleep:
                vcpu.Blocked = true;
                vcpu.WokenAt = null;
                break;
            case ScheduleEventKind.Pause:
                vcpu.Paused = true;
                vcpu.WokenAt = null;
                break;
            case ScheduleEventKind.Resume:
                (vcpu.Paused, vcpu.Blocked) = (false, false);
                break;
            default:
                vcpu.Blocked = true;
                vcpu.WokenAt = null;
                break;
        }

        Wants(vcpu, wanted, item.At);
    }

    /// <summary>A physical CPU turns to a vCPU or to nothing.</summary>
    private void Turn(in ScheduleEvent item)
    {
        Pcpu pcpu = _pcpus[item.Pcpu];
        Vcpu? next = item.Kind == ScheduleEventKind.Run ? VcpuOf(item.Domain, item.Vcpu) : null;
        if (next is not null && next == pcpu.Runs)
        {
            Woken(next, item.At);
            return;
        }

        if (pcpu.Runs is { } previous)
            Stop(pcpu, previous, item.At, item.Before);
        else if (pcpu.Idle)
            _idle--;
        pcpu.Idle = next is null;
        pcpu.Runs = next;
        pcpu.Since = item.At;
        if (next is null)
        {
            _idle++;
            return;
        }

        if (pcpu.Last is not null && pcpu.Last != next)
            _switches[item.Pcpu]++;
        pcpu.Last = next;
        bool wanted = next.Wants;
        next.Blocked = false;
        next.Paused = false;
        Wants(next, wanted, item.At);
        if (next.Running == 0)
            _waiting--;
        next.Running++;
        next.ChargedTo = item.At;
        Woken(next, item.At);
    }

    private void Stop(Pcpu pcpu, Vcpu previous, Nanoseconds at, RunEnd why)
    {
        if (at > pcpu.Since)
            _runs.Add(new RunSpan(pcpu.Since, at, pcpu.Index, previous.Domain, previous.Index, why));
        if (why == RunEnd.Preempted)
            Preemptions++;
        Account(previous, at);
        previous.Running--;
        if (previous.Wants && previous.Running == 0)
            _waiting++;
    }

    /// <summary>CPU time belongs to the busy period it was spent in; the rest of a stint after blocking, to the one that just ended.</summary>
    private void Account(Vcpu vcpu, Nanoseconds now)
    {
        if (vcpu.Running == 0)
            return;
        Nanoseconds length = now - vcpu.ChargedTo;
        vcpu.ChargedTo = now;
        if (vcpu.Wants || vcpu.LastPeriod < 0)
        {
            vcpu.Ran += length;
            return;
        }

        BusyPeriod last = _periods[vcpu.LastPeriod];
        _periods[vcpu.LastPeriod] = last with { Ran = last.Ran + length };
    }

    private void Woken(Vcpu vcpu, Nanoseconds at)
    {
        if (vcpu.WokenAt is not { } woken)
            return;
        _wakes.Add(new WakeToRun(woken, vcpu.Domain, vcpu.Index, at - woken));
        vcpu.WokenAt = null;
    }

    private void Wants(Vcpu vcpu, bool before, Nanoseconds at)
    {
        if (vcpu.Wants == before)
            return;
        if (vcpu.Wants)
        {
            vcpu.BusySince = at;
            vcpu.Ran = Nanoseconds.Zero;
            if (vcpu.Running == 0)
                _waiting++;
            return;
        }

        if (vcpu.Running == 0)
            _waiting--;
        vcpu.LastPeriod = _periods.Count;
        _periods.Add(new BusyPeriod(vcpu.BusySince, at, vcpu.Domain, vcpu.Index, vcpu.Ran, Ended: true));
    }

    private void Charge(Nanoseconds now)
    {
        if (now <= _lostUpTo)
            return;
        _lost += new Nanoseconds((now - _lostUpTo).Value * Math.Min(_idle, _waiting));
        _lostUpTo = now;
    }

    private void End(Nanoseconds end)
    {
        Charge(end);
        foreach (Pcpu pcpu in _pcpus)
        {
            if (pcpu.Runs is { } running)
                Stop(pcpu, running, end, RunEnd.None);
        }

        foreach (Vcpu vcpu in _vcpus.Values)
        {
            if (vcpu.Wants && end > vcpu.BusySince)
                _periods.Add(new BusyPeriod(vcpu.BusySince, end, vcpu.Domain, vcpu.Index, vcpu.Ran, Ended: false));
        }
    }

    private Vcpu VcpuOf(int domain, int index)
    {
        if (!_vcpus.TryGetValue((domain, index), out Vcpu? vcpu))
            _vcpus.Add((domain, index), vcpu = new Vcpu(domain, index));
        return vcpu;
    }

    private sealed class Vcpu(int domain, int index)
    {
        public readonly int Domain = domain;
        public readonly int Index = index;
        public bool Blocked = true;
        public bool Paused;

        /// <summary>Physical CPUs it is on; the next one may take it up at the instant the last lets go, in either order.</summary>
        public int Running;

        public Nanoseconds BusySince;
        public Nanoseconds Ran;
        public Nanoseconds ChargedTo;
        public Nanoseconds? WokenAt;
        public int LastPeriod = -1;

        public bool Wants => !Blocked && !Paused;
    }

    private sealed class Pcpu(int index)
    {
        public readonly int Index = index;
        public Vcpu? Runs;
        public Vcpu? Last;
        public bool Idle;
        public Nanoseconds Since;
    }
}
