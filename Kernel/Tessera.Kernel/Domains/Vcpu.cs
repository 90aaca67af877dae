using Tessera.Kernel.Events;
using Tessera.Kernel.Time;
using Tessera.Sdk;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Cpu.X64;
using Tessera.Sdk.Scheduling;
using Tessera.Sdk.Xen;
using RunState = Tessera.Sdk.Scheduling.RunState;

namespace Tessera.Kernel.Domains;

/// <summary>One virtual CPU: its registers, its PV context, its alarms, and what a physical CPU keeps of it between two runs.</summary>
/// <remarks>Run state and registers belong to the physical CPU that runs it; events and wakes come from any thread.</remarks>
internal sealed partial class Vcpu
{
    /// <summary>The shortest period of the periodic timer (public/vcpu.h).</summary>
    public static readonly Nanoseconds ShortestPeriod = Nanoseconds.FromMilliseconds(1);

    private int _onPcpu;

    /// <summary>While an alarm goes off: its deadline, ns, from which a wake that it causes counts; else <see cref="Nanoseconds.Never"/>.</summary>
    private long _wakeDue = Nanoseconds.Never.Value;

    public Vcpu(Domain domain, int index, IGuestCpu cpu, SchedulableVcpu schedulable)
    {
        (Domain, Index, Cpu, Schedulable) = (domain, index, cpu, schedulable);
        CounterShift = (cpu as IShiftsCounter)?.CounterShift ?? 0;
        VcpuInfoArea info = domain.Shared.VcpuInfo(index);
        Context = new PvContext(info);
        Events = new EventTarget(info, Wake);
        Timer = new Alarm(OnTimer);
        PeriodicTimer = new Alarm(OnPeriod);
        PollTimeout = new Alarm(OnPollTimeout);
    }

    public Domain Domain { get; }

    public int Index { get; }

    public IGuestCpu Cpu { get; }

    public SchedulableVcpu Schedulable { get; }

    /// <summary>What the guest's time-stamp counter gives beyond the host's, in ticks.</summary>
    public long CounterShift { get; }

    /// <summary>What the ABI keeps of it beside its registers.</summary>
    public PvContext Context { get; }

    /// <summary>It, as event channels know it.</summary>
    public EventTarget Events { get; }

    /// <summary>What spares it exits; null where every hypercall is one.</summary>
    public IVcpuAccelerator? Accelerator { get; set; }

    /// <summary>The single-shot timer, which set_timer_op sets too.</summary>
    public Alarm Timer { get; }

    /// <summary>The periodic timer.</summary>
    public Alarm PeriodicTimer { get; }

    /// <summary>How often the periodic timer goes off; zero when it was stopped.</summary>
    public Nanoseconds Period { get; set; }

    public Alarm PollTimeout { get; }

    /// <summary>The state of the last trap must be left alone until the next (<see cref="Trap.IsInterruptible"/>).</summary>
    public bool MidDelivery { get; set; }

    public RunstateClock Runstate { get; } = new();

    public TrapCounters Counters { get; } = new();

    /// <summary>An event is due that the guest can take now.</summary>
    public bool CanTakeEvent => Context.Info.IsEventDue && Context.Callbacks[(int)CallbackType.Event] != 0;

    /// <summary>For whoever hands its wakes over to another thread: 1 while one is on its way.</summary>
    internal int WakePosted;

    /// <summary>The same: the one handed over before it.</summary>
    internal Vcpu? NextWake;

    /// <summary>Makes it runnable if it blocks. Any thread. Before its domain starts there is no need: it looks at its events when it does.</summary>
    public void Wake()
    {
        if (Domain.State != DomainState.Created)
            Domain.Host.Wake(this, new(Volatile.Read(ref _wakeDue)));
    }

    /// <summary>Switches between the guest's kernel and user mode: its two page-table roots and GS bases.</summary>
    public void SwitchMode(bool userMode)
    {
        ref GuestCpuState state = ref Cpu.State;
        PvContext context = Context;
        if (context.UserMode != userMode)
        {
            if (userMode)
                (context.GsBaseKernel, state.GsBase) = (state.GsBase, context.GsBaseUser);
            else
                (context.GsBaseUser, state.GsBase) = (state.GsBase, context.GsBaseKernel);
            context.UserMode = userMode;
        }

        state.Root = Domain.Mmu.Root(Index, userMode);
    }

    /// <summary>Where it runs, or ran last; its timers are armed there.</summary>
    public PcpuId Pcpu { get; private set; }

    /// <summary>Where it has got to in virtual time, in instructions: a physical CPU that takes it up is not behind that.</summary>
    public long WorkedUntil { get; set; }

    /// <summary>A physical CPU is inside its context.</summary>
    public bool IsOnPcpu => Volatile.Read(ref _onPcpu) != 0;

    /// <summary>It went to sleep by itself in this run.</summary>
    public bool WentToSleep { get; set; }

    /// <summary>It offered its physical CPU to others in this run.</summary>
    public bool Yielded { get; set; }

    /// <summary>A physical CPU begins to run it; false when its domain has ended since the scheduler chose it.</summary>
    public bool TryBeginRun(PcpuId pcpu, Nanoseconds now)
    {
        // Full barrier: whoever destroys the domain sets its state first and looks for the mark then; one of the two sees the other.
        _ = Interlocked.Exchange(ref _onPcpu, 1);
        if (Domain.State is not (DomainState.Running or DomainState.Paused))
        {
            Volatile.Write(ref _onPcpu, 0);
            return false;
        }

        Pcpu = pcpu;
        WentToSleep = false;
        Yielded = false;
        EndPoll();
        Runstate.Enter(Sdk.Xen.RunState.Running, now);
        // What is not mapped now may be later.
        if (Context.RunstateArea != 0)
            _ = TryWriteRunstate(Context.RunstateArea);
        return true;
    }

    /// <summary>Writes its run states to the guest kernel's memory.</summary>
    public bool TryWriteRunstate(ulong address)
    {
        Span<byte> area = stackalloc byte[VcpuRunStateInfo.Size];
        Runstate.Fill(area, Domain.TimeAhead);
        return Domain.Guest.TryWrite(Index, userMode: false, address, area);
    }

    /// <summary>Writes how to compute the time to the guest kernel's memory, for its user space.</summary>
    public bool TryWriteTime(ulong address)
    {
        Span<byte> area = stackalloc byte[VcpuTimeInfo.Size];
        if (!Domain.Guest.TryRead(Index, userMode: false, address, area))
            return false;
        Domain.Host.Clock.FillTimeInfo(area, CounterShift, Domain.TimeAhead);
        return Domain.Guest.TryWrite(Index, userMode: false, address, area);
    }

    /// <summary>The physical CPU is done with it for now.</summary>
    public void EndRun(Nanoseconds now)
    {
        Runstate.Enter(WentToSleep ? Sdk.Xen.RunState.Blocked : Sdk.Xen.RunState.Runnable, now);
        Volatile.Write(ref _onPcpu, 0);
    }

    /// <summary>The vCPU runs again: no poll goes on.</summary>
    public void EndPoll()
    {
        if (Events.EndPoll())
            TimerQueue.Disarm(PollTimeout);
    }

    private void OnPollTimeout()
    {
        Volatile.Write(ref _wakeDue, PollTimeout.Deadline.Value);
        Wake();
        Volatile.Write(ref _wakeDue, Nanoseconds.Never.Value);
    }

    private void OnTimer() => RaiseTimer(Timer.Deadline);

    private void OnPeriod()
    {
        Nanoseconds due = PeriodicTimer.Deadline;
        // Stopped between the alarm's end and here.
        if (Period <= Nanoseconds.Zero)
            return;
        if (Schedulable.State != RunState.Offline)
            Domain.Host.Arm(this, PeriodicTimer, Nanoseconds.Max(due + Period, Domain.Host.Clock.Now));
        RaiseTimer(due);
    }

    private void RaiseTimer(Nanoseconds due)
    {
        Volatile.Write(ref _wakeDue, due.Value);
        Domain.Events.RaiseVirq(Index, Virq.Timer);
        Volatile.Write(ref _wakeDue, Nanoseconds.Never.Value);
    }
}
