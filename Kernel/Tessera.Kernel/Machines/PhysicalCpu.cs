using Tessera.Kernel.Domains;
using Tessera.Kernel.Hypercalls;
using Tessera.Kernel.Native;
using Tessera.Kernel.Time;
using Tessera.Kernel.Traps;
using Tessera.Sdk;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Memory;
using Tessera.Sdk.Plugins;
using Tessera.Sdk.Scheduling.Core;

namespace Tessera.Kernel.Machines;

/// <summary>
/// One physical CPU: a thread pinned to a host CPU, the only place that runs guest code. Asks the scheduler, runs the vCPU it names
/// until its time is over, handles its traps, and idles when there is nothing to run.
/// </summary>
internal sealed partial class PhysicalCpu : IPcpu, IDisposable
{
    private static readonly TimeSpan JoinLimit = TimeSpan.FromSeconds(2);

    private readonly Machine _machine;
    private readonly int _hostCpu;
    private readonly TrapRouter _router;
    private readonly WakeEvent? _wake;
    private readonly Thread? _thread;
    private IEngineThread? _engineThread;
    private int _kicked;
    private int _idle;
    private long _guestTime;
    private long _allocatedBytes;
    private int _leaving;
    private bool _lost;
    private Vcpu? _running;
    private (Vcpu Vcpu, Nanoseconds Due)[] _wakes = new (Vcpu, Nanoseconds)[64];
    private int _wakeCount;
    private int _wakesTold;
    private readonly Queue<Domain> _ended = new();
    private Domain? _ending;
    private Nanoseconds _until;
    private Nanoseconds _deadline = new(-1);
    private Nanoseconds _monotonicDeadline;

    public PhysicalCpu(Machine machine, PcpuId id, int hostCpu, TimerQueue timers, WakeInbox inbox)
    {
        (_machine, Id, _hostCpu, Timers, Inbox) = (machine, id, hostCpu, timers, inbox);
        _router = new TrapRouter(machine.Hypercalls, machine.Cpuid, machine.Engine.Facts.HypercallInstruction.Count);
        _virtual = machine.Virtual;
        if (_virtual is not null)
            return;
        _wake = new WakeEvent();
        _thread = new Thread(Loop) { Name = $"tessera {id}", IsBackground = true };
    }

    public PcpuId Id { get; }

    /// <summary>The alarms armed by vCPUs that last ran here; they outlive a thread that is stuck in a plugin.</summary>
    public TimerQueue Timers { get; }

    /// <summary>Wakes that other threads ask for; they outlive a thread that is stuck in a plugin.</summary>
    public WakeInbox Inbox { get; }

    /// <summary>It has nothing to run.</summary>
    public bool IsIdle => Volatile.Read(ref _idle) != 0;

    /// <summary>Time inside the engine so far: guest code, and entering and leaving it.</summary>
    public Nanoseconds GuestTime => new(Volatile.Read(ref _guestTime));

    /// <summary>Managed memory its thread has allocated since the start: traps and decisions add nothing.</summary>
    public long AllocatedBytes => Volatile.Read(ref _allocatedBytes);

    /// <summary>Managed id of its thread.</summary>
    public int ThreadId => _thread?.ManagedThreadId ?? -1;

    /// <inheritdoc/>
    public bool ShouldLeaveGuest
    {
        get
        {
            _virtual?.SpendItem();
            return Volatile.Read(ref _kicked) != 0 || _machine.Clock.Now >= Nanoseconds.Min(_until, Timers.Next);
        }
    }

    /// <inheritdoc/>
    public bool FinishMmuWork(Domain domain)
    {
        while (!domain.Mmu.Work(MmuLimits.EntriesAtOnce))
        {
            _virtual?.SpendEntries();
            if (ShouldLeaveGuest)
                return false;
        }

        return true;
    }

    public void Start() => _thread!.Start();

    /// <summary>A wake that a trap or an alarm on this thread asks for: told to the scheduler before guest code runs again.</summary>
    /// <param name="vcpu">The vCPU.</param>
    /// <param name="due">The alarm's deadline; <see cref="Nanoseconds.Never"/> when there is none.</param>
    public void WakeLater(Vcpu vcpu, Nanoseconds due)
    {
        if (_wakeCount == _wakes.Length)
            Array.Resize(ref _wakes, _wakeCount * 2);
        _wakes[_wakeCount++] = (vcpu, due);
    }

    /// <summary>A domain that ended in a trap on this thread: its vCPUs leave the scheduler before the next decision.</summary>
    public void EndLater(Domain domain) => _ended.Enqueue(domain);

    /// <summary>
    /// Takes over from a thread that is stuck in the policy: what it had not told the scheduler yet, and the vCPU it was with, whose
    /// context is saved, since the policy is only called between traps.
    /// </summary>
    public void Succeed(PhysicalCpu stuck)
    {
        for (int index = stuck._wakesTold; index < stuck._wakeCount; index++)
            WakeLater(stuck._wakes[index].Vcpu, stuck._wakes[index].Due);
        if (stuck._ending is { } begun)
            EndLater(begun);
        foreach (Domain domain in stuck._ended)
            EndLater(domain);
        stuck.LetGo();
        SucceedInVirtualTime(stuck);
    }

    /// <summary>Its thread is stuck in the policy: the vCPU it was with is free.</summary>
    public void LetGo() => _running?.EndRun(_machine.Clock.Now);

    /// <summary>Makes it ask the scheduler soon. Any thread.</summary>
    public void Kick()
    {
        if (Interlocked.Exchange(ref _kicked, 1) != 0)
            return;
        _kickedAt = _virtual?.Time.Clock.Work ?? 0;
        if (_virtual is not null || Environment.CurrentManagedThreadId == _thread!.ManagedThreadId)
            return;
        if (Volatile.Read(ref _idle) != 0)
            _wake!.Set();
        else
            Volatile.Read(ref _engineThread)?.Kick();
    }

    /// <summary>Makes the thread end; it does so at its next turn, or, stuck in a plugin, whenever it comes back.</summary>
    public void Leave()
    {
        Volatile.Write(ref _leaving, 1);
        _ = Interlocked.Exchange(ref _kicked, 1);
        _wake?.Set();
        Volatile.Read(ref _engineThread)?.Kick();
    }

    /// <summary>Ends the thread and waits for it; one that is stuck in a plugin is left behind.</summary>
    public void Dispose()
    {
        Leave();
        if (_thread?.Join(JoinLimit) == true)
            _wake!.Dispose();
    }

    private void Loop()
    {
        try
        {
            Native.TimeSlice.Restore();
            using IEngineThread engineThread = _machine.Engine.EnterThread(_hostCpu);
            Volatile.Write(ref _engineThread, engineThread);
            _machine.Duties?.Enter(ThreadDuty.Processor);
            try
            {
                while (Volatile.Read(ref _leaving) == 0)
                    Turn(engineThread);
            }
            finally
            {
                Volatile.Write(ref _engineThread, null);
            }
        }
        catch (Exception exception)
        {
            _machine.OnFailure(exception);
        }
    }

    /// <summary>One decision and what follows from it.</summary>
    private void Turn(IEngineThread engineThread)
    {
        Nanoseconds now = _machine.Clock.Now;
        Volatile.Write(ref _allocatedBytes, GC.GetAllocatedBytesForCurrentThread());
        Timers.Expire(now);
        do
        {
            Inbox.Drain(this);
            if (!TellWakes() || !TellEnds())
                return;
            _ = Interlocked.Exchange(ref _kicked, 0);

            // The kick of a wake that was posted meanwhile has just been taken back.
        }
        while (!Inbox.IsEmpty);
        Dispatch dispatch = _machine.Core.Schedule(Id, now);
        if (dispatch.Lost)
        {
            _ = Lose();
            return;
        }

        _virtual?.SpendDecision();
        if (dispatch.Vcpu is { } schedulable)
        {
            _until = dispatch.Until;
            // Its domain may have ended since the scheduler chose it.
            if (_machine.FindVcpu(schedulable) is { } vcpu)
                RunVcpu(vcpu, engineThread);
        }
        else
        {
            Idle(dispatch.Until);
        }
    }

    private void Idle(Nanoseconds until)
    {
        if (_virtual is not null)
        {
            (_idle, _idleUntil) = (1, until);
            return;
        }

        until = Nanoseconds.Min(until, Timers.Next);
        Volatile.Write(ref _idle, 1);
        Interlocked.MemoryBarrier();
        long wait = until == Nanoseconds.Never ? 1_000_000_000 : Math.Min(1_000_000_000, (until - _machine.Clock.Now).Value);
        if (Volatile.Read(ref _kicked) == 0 && wait > 0)
            _wake!.Wait(wait);
        Volatile.Write(ref _idle, 0);
    }

    /// <summary>False when the policy hung in it: another thread is this physical CPU now.</summary>
    private bool TellWakes()
    {
        while (_wakesTold < _wakeCount)
        {
            (Vcpu vcpu, Nanoseconds due) = _wakes[_wakesTold++];
            if (!_machine.Core.Wake(vcpu.Schedulable, _machine.Clock.Now, due == Nanoseconds.Never ? null : due))
                return Lose();
        }

        _wakesTold = _wakeCount = 0;
        return true;
    }

    /// <summary>False when the policy hung in it: another thread is this physical CPU now.</summary>
    private bool TellEnds()
    {
        while (_ended.TryDequeue(out _ending))
        {
            if (!_machine.RemoveEnded(_ending))
                return Lose();
        }

        return true;
    }

    private bool Lose()
    {
        _lost = true;
        Volatile.Write(ref _leaving, 1);
        return false;
    }

    private void RunVcpu(Vcpu vcpu, IEngineThread engineThread)
    {
        _virtual?.Meet(vcpu);
        if (!vcpu.TryBeginRun(Id, _machine.Clock.Now))
            return;
        _running = vcpu;
        GoOn(vcpu, engineThread);
    }

    /// <summary>Runs the vCPU it has until its time is over, or, in virtual time, this turn's.</summary>
    private void GoOn(Vcpu vcpu, IEngineThread engineThread)
    {
        bool isOnlyTurn = false;
        try
        {
            isOnlyTurn = RunUntilDue(vcpu, engineThread);
        }
        catch (TamperedTablesException exception)
        {
            vcpu.Domain.Crash(vcpu, $"its page tables are not what it was allowed to write: {exception.Message}");
        }
        catch (Exception exception) when (exception is not SchedulerFailedException)
        {
            // A host failure or a bug of ours must cost one domain, not the machine.
            vcpu.Domain.Crash(vcpu, $"the VMM failed: {exception.GetType().Name}: {exception.Message}");
        }

        if (_lost || isOnlyTurn)
            return;
        _running = null;
        vcpu.WorkedUntil = _virtual?.Time.Clock.Work ?? 0;
        vcpu.EndRun(_machine.Clock.Now);
        if (vcpu.Yielded && !_machine.Core.Yield(vcpu.Schedulable, _machine.Clock.Now))
            _ = Lose();
    }

    private bool FinishMmuWorkOf(Domain domain)
    {
        lock (domain.Gate)
            return FinishMmuWork(domain);
    }

    /// <returns>True when only the turn of virtual time is over, and the vCPU goes on in the next.</returns>
    private bool RunUntilDue(Vcpu vcpu, IEngineThread engineThread)
    {
        while (Volatile.Read(ref _kicked) == 0)
        {
            if (_virtual is not null && _virtual.Time.Clock.Work >= _turnEnds)
                return true;
            if (vcpu.Domain.Mmu.HasWork && !FinishMmuWorkOf(vcpu.Domain))
                return false;
            if (!vcpu.MidDelivery && vcpu.CanTakeEvent && !GuestEntry.Event(vcpu))
                return false;
            Nanoseconds deadline = Nanoseconds.Min(_until, Timers.Next);
            vcpu.Accelerator?.BeforeRun();
            Nanoseconds entered = _machine.Clock.Now;
            Trap trap = _virtual is null ? Enter(vcpu.Cpu, engineThread, deadline) : EnterInVirtualTime(vcpu.Cpu, engineThread, deadline);
            Volatile.Write(ref _guestTime, _guestTime + (_machine.Clock.Now - entered).Value);
            if (vcpu.Accelerator is { } accelerator && !accelerator.AfterRun())
                return false;
            if (trap.Kind == TrapKind.Preempted && _virtual is not null && _machine.Clock.Now < deadline)
                continue;
            TrapOutcome outcome = _router.Handle(vcpu, this, trap);
            if (trap.Kind == TrapKind.Preempted)
            {
                Nanoseconds now = _machine.Clock.Now;
                Timers.Expire(now);
                if (now >= _until)
                    return false;
            }
            else if (outcome != TrapOutcome.Resume)
            {
                return false;
            }

            if (_wakeCount != 0 && !TellWakes())
                return false;
        }

        return false;
    }

    private Trap Enter(IGuestCpu cpu, IEngineThread engineThread, Nanoseconds deadline)
    {
        if (deadline != _deadline)
        {
            _deadline = deadline;
            _monotonicDeadline = _machine.Clock.ToMonotonic(deadline);
        }

        return cpu.Run(engineThread, _monotonicDeadline);
    }
}
