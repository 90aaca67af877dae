using System.Numerics;

namespace Tessera.Sdk.Scheduling.Core;

/// <content>The gate, calls into the policy, and what the policy asks for.</content>
public sealed partial class SchedulerCore
{
    /// <summary>How long a thread waits for a gate before it looks whether the gate was given up, in milliseconds: only a hang makes it matter.</summary>
    private const int GatePollMilliseconds = 20;

    /// <summary>Slow calls are counted anew after this long: a host that stalls now and then must not eject anybody in a long run.</summary>
    private static readonly Nanoseconds ForgivenessWindow = Nanoseconds.FromSeconds(60);

    /// <summary>Bit per physical CPU that has a kick or a shortened slice to hear of.</summary>
    private readonly ulong[] _requests;

    private volatile Lock _gate = new();
    private IScheduler _policy = null!;
    private PolicyPort _port = null!;
    private PcpuRecord? _deciding;
    private Failure _failure;
    private int _slowCalls;
    private Nanoseconds _slowSince;

    /// <summary>The running call's number, 0 between calls. Whoever changes it back to 0 owns the state.</summary>
    private long _call;
    private long _lastCall;
    private long _callStarted;
    private int _callThread;
    private PolicyCall _callKind;
    private SchedulableVcpu? _callVcpu;

    private enum PolicyCall
    {
        Attach,
        Add,
        Remove,
        Wake,
        Sleep,
        Yield,
        Adjust,
        Schedule,
        Describe,
    }

    private enum CallOutcome
    {
        /// <summary>The policy did its part.</summary>
        Done,

        /// <summary>The policy failed; <see cref="_failure"/> says how.</summary>
        Failed,

        /// <summary>The policy failed and the next one knows everything.</summary>
        Replaced,

        /// <summary>The call was given up while this thread was in it: the state belongs to another thread, touch nothing.</summary>
        Lost,
    }

    /// <inheritdoc/>
    public SchedulableVcpu? Running(PcpuId pcpu) => KnownOn(pcpu);

    /// <inheritdoc/>
    public void RequestReschedule(PcpuId pcpu)
    {
        Lock gate = Enter();
        try
        {
            KickNow(_pcpus[pcpu.Index]);
        }
        finally
        {
            gate.Exit();
        }
    }

    /// <inheritdoc/>
    public void RequestRescheduleAt(PcpuId pcpu, Nanoseconds at)
    {
        Lock gate = Enter();
        try
        {
            NoteRescheduleAt(pcpu, at);
            SendRequests();
        }
        finally
        {
            gate.Exit();
        }
    }

    internal SchedulableVcpu? KnownOn(PcpuId pcpu) => Volatile.Read(ref _pcpus[pcpu.Index].Known);

    /// <summary>Whether a port's request counts: a replaced policy's does not; one from outside a call is a broken policy's.</summary>
    internal bool AcceptsFrom(PolicyPort port)
    {
        if (port != _port)
            return false;
        if (Volatile.Read(ref _call) == 0 || _callThread != Environment.CurrentManagedThreadId)
            throw new InvalidOperationException("A scheduler asks for a reschedule only from within a call of the core.");
        return true;
    }

    internal void NoteReschedule(PcpuId id)
    {
        PcpuRecord pcpu = _pcpus[id.Index];
        if (pcpu == _deciding)
        {
            pcpu.Again = true;
        }
        else if (!pcpu.Kicked)
        {
            pcpu.Kicked = true;
            Note(pcpu);
        }
    }

    internal bool NoteIdle(CpuSet among)
    {
        bool found = false;
        foreach (PcpuRecord pcpu in _pcpus)
        {
            if (pcpu.Known is not null || !among.Contains(pcpu.Id))
                continue;
            NoteReschedule(pcpu.Id);
            found = true;
        }

        return found;
    }

    internal void NoteRescheduleAt(PcpuId id, Nanoseconds at)
    {
        PcpuRecord pcpu = _pcpus[id.Index];
        pcpu.RescheduleAt = Nanoseconds.Min(pcpu.RescheduleAt, at);
        if (pcpu == _deciding || pcpu.Kicked || at >= pcpu.Until)
            return;
        pcpu.Until = at;
        Note(pcpu);
    }

    /// <summary>Takes the gate that is in force, following when it is given up meanwhile.</summary>
    private Lock Enter()
    {
        while (true)
        {
            Lock gate = _gate;
            if (gate.IsHeldByCurrentThread)
                throw new InvalidOperationException("The scheduler core was called from within one of its own calls.");
            if (!gate.TryEnter(GatePollMilliseconds))
                continue;
            if (gate == _gate)
                return gate;
            gate.Exit();
        }
    }

    private void Note(PcpuRecord pcpu) => _requests[pcpu.Id.Index / 64] |= 1UL << (pcpu.Id.Index % 64);

    private void SendRequests()
    {
        for (int word = 0; word < _requests.Length; word++)
        {
            ulong bits = _requests[word];
            _requests[word] = 0;
            for (; bits != 0; bits &= bits - 1)
            {
                PcpuRecord pcpu = _pcpus[(word * 64) + BitOperations.TrailingZeroCount(bits)];
                if (pcpu.Kicked)
                    _host.Kick(pcpu.Id);
                else
                    _host.Shorten(pcpu.Id, pcpu.Until);
            }
        }
    }

    private void KickNow(PcpuRecord pcpu)
    {
        NoteReschedule(pcpu.Id);
        SendRequests();
    }

    private CallStart BeginCall(PolicyCall kind, SchedulableVcpu? vcpu)
    {
        _callKind = kind;
        _callVcpu = vcpu;
        _callThread = Environment.CurrentManagedThreadId;
        long started = _options.HostClock?.GetTimestamp() ?? 0;
        _callStarted = _hangClock == _options.HostClock ? started : _hangClock!.GetTimestamp();
        long number = ++_lastCall;
        Volatile.Write(ref _call, number);
        return new(number, started);
    }

    private CallOutcome EndCall(CallStart start, Exception? thrown, LatencyHistogram? cost = null)
    {
        if (Interlocked.CompareExchange(ref _call, 0, start.Number) != start.Number)
        {
            AwaitGivenUp(start.Number);
            return CallOutcome.Lost;
        }

        SendRequests();
        if (thrown is not null)
        {
            _failure = new(EjectionReason.Threw, $"its {CallName()} threw {thrown.GetType().Name}: {thrown.Message}{Origin(thrown)}");
            return CallOutcome.Failed;
        }

        if (_options.HostClock is not { } clock)
            return CallOutcome.Done;
        Nanoseconds took = Elapsed(clock, start.Started);
        cost?.Record(took);
        if (took <= _options.DecisionBudget || _options.DecisionBudget <= Nanoseconds.Zero)
            return CallOutcome.Done;
        if (_now - _slowSince > ForgivenessWindow)
            (_slowSince, _slowCalls) = (_now, 0);
        if (++_slowCalls <= _options.SlowCallsForgiven)
            return CallOutcome.Done;
        _failure = new(
            EjectionReason.TooSlow,
            $"its {CallName()} took {took} (budget {_options.DecisionBudget}), call {_slowCalls} over the budget within {ForgivenessWindow} ({_options.SlowCallsForgiven} forgiven)");
        return CallOutcome.Failed;
    }

    private string CallName() => _callVcpu is { } vcpu ? $"{_callKind}({vcpu.Id})" : $"{_callKind}()";

    private static string Origin(Exception thrown) =>
        thrown.StackTrace is { } trace ? " " + trace.Split('\n', 2)[0].Trim() : "";

    /// <summary>One call; a failure is left in <see cref="_failure"/>.</summary>
    private CallOutcome TryCall(PolicyCall kind, SchedulableVcpu? vcpu, Nanoseconds now)
    {
        CallStart start = BeginCall(kind, vcpu);
        Exception? thrown = null;
        Entitlement? owed = null;
        try
        {
            switch (kind)
            {
                case PolicyCall.Attach:
                    _policy.Attach(_port);
                    break;
                case PolicyCall.Add:
                    _policy.Add(vcpu!, now);
                    owed = _policy.EntitlementOf(vcpu!);
                    break;
                case PolicyCall.Remove:
                    _policy.Remove(vcpu!, now);
                    break;
                case PolicyCall.Wake:
                    _policy.Wake(vcpu!, now);
                    break;
                case PolicyCall.Sleep:
                    _policy.Sleep(vcpu!, now);
                    break;
                case PolicyCall.Yield:
                    _policy.Yield(vcpu!, now);
                    break;
                default:
                    _policy.Adjust(vcpu!, now);
                    owed = _policy.EntitlementOf(vcpu!);
                    break;
            }
        }
        catch (Exception exception)
        {
            thrown = exception;
        }

        CallOutcome outcome = EndCall(start, thrown);
        return outcome == CallOutcome.Done && owed is { } entitlement ? TakeEntitlement(vcpu!, entitlement) : outcome;
    }

    private CallOutcome TakeEntitlement(SchedulableVcpu vcpu, Entitlement owed)
    {
        if (owed.Objection() is { } objection)
        {
            _failure = new(EjectionReason.Nonsense, $"its entitlement of {vcpu.Id} {objection}");
            return CallOutcome.Failed;
        }

        RecordOf(vcpu).Owed = owed;
        return CallOutcome.Done;
    }

    /// <summary>One call; a policy that fails is replaced.</summary>
    private CallOutcome Tell(PolicyCall kind, SchedulableVcpu vcpu, Nanoseconds now)
    {
        CallOutcome outcome = TryCall(kind, vcpu, now);
        return outcome == CallOutcome.Failed ? Eject(now) : outcome;
    }

    private readonly record struct CallStart(long Number, long Started);

    private readonly record struct Failure(EjectionReason Reason, string Evidence);
}
