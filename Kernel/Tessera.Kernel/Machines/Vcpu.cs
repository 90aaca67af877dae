using Tessera.Kernel.Events;
using Tessera.Kernel.Time;
using Tessera.Sdk;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Cpu.X64;
using Tessera.Sdk.Scheduling;
using Tessera.Sdk.Xen;
using RunState = Tessera.Sdk.Scheduling.RunState;

namespace Tessera.Kernel;

/// <summary>One entry of a guest's trap table.</summary>
internal struct TrapGate
{
    public ulong Address;
    public ushort Cs;
    public byte Flags;
}

/// <summary>One virtual CPU: its hardware context and what Xen keeps of a PV vCPU beside it.</summary>
/// <remarks>Run state and registers belong to the physical CPU that runs it; events and wakes come from any thread.</remarks>
internal sealed unsafe class Vcpu
{
    private const int MaxPolled = 128;
    private readonly int[] _polled = new int[MaxPolled];
    private int _polledCount = -1;
    private int _onPcpu;

    /// <summary>While an alarm goes off: its deadline, ns, from which a wake that it causes counts; else <see cref="Nanoseconds.Never"/>.</summary>
    private long _wakeDue = Nanoseconds.Never.Value;

    public Vcpu(Domain domain, int index, IGuestCpu cpu, SchedulableVcpu schedulable)
    {
        (Domain, Index, Cpu, Schedulable) = (domain, index, cpu, schedulable);
        CounterShift = (cpu as IShiftsCounter)?.CounterShift ?? 0;
        Info = domain.Shared.VcpuInfo(index);
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

    /// <summary>Guards <see cref="Info"/> while it moves to a page of the guest's choice.</summary>
    public Lock InfoGate { get; } = new();

    /// <summary>The vcpu_info structure: in shared_info, or where the guest registered it.</summary>
    // SAFETY: points to a whole, 8-byte aligned vcpu_info inside one frame of the domain, which stays mapped until the domain is destroyed; the guest writes it too.
    public byte* Info { get; private set; }

    /// <summary>The frame that holds a registered vcpu_info, typed writable as long as it does.</summary>
    public Mfn InfoFrame { get; private set; } = Mfn.None;

    public TrapGate[] TrapTable { get; } = new TrapGate[256];

    /// <summary>callback_op addresses by type; zero means none.</summary>
    public ulong[] Callbacks { get; } = new ulong[8];

    /// <summary>Which callbacks mask events on entry.</summary>
    public bool[] CallbackMasksEvents { get; } = new bool[8];

    public ulong KernelStack { get; set; }

    /// <summary>Running the guest's user mode: other page-table root, other GS base.</summary>
    public bool UserMode { get; set; }

    public ulong GsBaseKernel { get; set; }

    public ulong GsBaseUser { get; set; }

    /// <summary>Ports of the virtual interrupts, zero for unbound.</summary>
    public int[] VirqPorts { get; } = new int[VirqLimits.Count];

    /// <summary>What answers leaf hypercalls inside the guest; null where every one is an exit.</summary>
    public FastPath.VcpuFastPath? FastPath { get; set; }

    /// <summary>The single-shot timer, which set_timer_op sets too.</summary>
    public Alarm Timer { get; }

    /// <summary>The periodic timer.</summary>
    public Alarm PeriodicTimer { get; }

    /// <summary>How often the periodic timer goes off; meaningful while it is armed.</summary>
    public Nanoseconds Period { get; set; }

    public Alarm PollTimeout { get; }

    /// <summary>The state of the last trap must be left alone until the next (<see cref="Trap.IsInterruptible"/>).</summary>
    public bool MidDelivery { get; set; }

    /// <summary>Its virtual I/O privilege level, 0 to 3.</summary>
    public int IoPrivilege { get; set; }

    /// <summary>Address, in the guest kernel's tables, of the bits that forbid ports (set_iobitmap).</summary>
    public ulong IoBitmap { get; set; }

    /// <summary>Ports that the bitmap covers; 0 for none.</summary>
    public uint IoBitmapPorts { get; set; }

    /// <summary>The guest's runstate area in its own memory, zero for none.</summary>
    public ulong RunstateArea { get; set; }

    public RunstateClock Runstate { get; } = new();

    public Mfn[] GdtFrames { get; set; } = [];

    public int GdtEntries { get; set; }

    public Mfn[] LdtFrames { get; set; } = [];

    public int LdtEntries { get; set; }

    public TrapCounters Counters { get; } = new();

    /// <summary>The same fault again and again at one place means it will not go away by itself.</summary>
    public ulong LastFaultAddress { get; set; }

    public int FaultRepeats { get; set; }

    public bool EventsMasked
    {
        get => Volatile.Read(ref Info[VcpuInfo.UpcallMask]) != 0;
        set => Volatile.Write(ref Info[VcpuInfo.UpcallMask], value ? (byte)1 : (byte)0);
    }

    public bool UpcallPending => Volatile.Read(ref Info[VcpuInfo.UpcallPending]) != 0;

    /// <summary>An event is due that the guest can take now.</summary>
    public bool CanTakeEvent => UpcallPending && !EventsMasked && Callbacks[(int)CallbackType.Event] != 0;

    /// <summary>For <see cref="WakeInbox"/>: 1 while a wake is in one.</summary>
    internal int WakePosted;

    /// <summary>For <see cref="WakeInbox"/>: the one posted before it.</summary>
    internal Vcpu? NextWake;

    /// <summary>
    /// Makes it runnable if it blocks. Any thread; a physical CPU tells the scheduler when the trap at hand is done with: a policy
    /// that hangs must find no lock held, no vCPU half-way through a hypercall, and nobody's thread but one that can be replaced.
    /// </summary>
    public void Wake()
    {
        Machine machine = Domain.Machine;
        if (machine.CurrentPcpu is { } pcpu)
            pcpu.WakeLater(this, new(Volatile.Read(ref _wakeDue)));
        else
            machine.WakeFromOutside(this);
    }

    /// <summary>Moves vcpu_info to a place in guest memory: pending state goes along, and everything is raised once so that nothing is lost.</summary>
    public void MoveInfo(byte* place, Mfn frame)
    {
        lock (InfoGate)
        {
            new Span<byte>(Info, VcpuInfo.Size).CopyTo(new Span<byte>(place, VcpuInfo.Size));
            Info = place;
            InfoFrame = frame;
            *(ulong*)(place + VcpuInfo.PendingSelector) = ulong.MaxValue;
            place[VcpuInfo.UpcallPending] = 1;
        }
    }

    /// <summary>Switches between the guest's kernel and user mode: its two page-table roots and GS bases.</summary>
    public void SwitchMode(bool userMode)
    {
        ref GuestCpuState state = ref Cpu.State;
        if (UserMode != userMode)
        {
            if (userMode)
                (GsBaseKernel, state.GsBase) = (state.GsBase, GsBaseUser);
            else
                (GsBaseUser, state.GsBase) = (state.GsBase, GsBaseKernel);
            UserMode = userMode;
        }

        state.Root = Domain.Mmu.Root(Index, userMode);
    }

    /// <summary>Where it runs, or ran last; its timers are armed there.</summary>
    public PhysicalCpu? Pcpu { get; private set; }

    /// <summary>Where it has got to in virtual time, in instructions: a physical CPU that takes it up is not behind that.</summary>
    public long WorkedUntil { get; set; }

    /// <summary>A physical CPU is inside its context.</summary>
    public bool IsOnPcpu => Volatile.Read(ref _onPcpu) != 0;

    /// <summary>It went to sleep by itself in this run.</summary>
    public bool WentToSleep { get; set; }

    /// <summary>It offered its physical CPU to others in this run.</summary>
    public bool Yielded { get; set; }

    /// <summary>A physical CPU begins to run it; false when its domain has ended since the scheduler chose it.</summary>
    public bool TryBeginRun(PhysicalCpu pcpu, Nanoseconds now)
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
        if (RunstateArea != 0 && !VcpuTimes.WriteRunstate(this, RunstateArea))
            RunstateArea = 0;
        return true;
    }

    /// <summary>The physical CPU is done with it for now.</summary>
    public void EndRun(Nanoseconds now)
    {
        Runstate.Enter(WentToSleep ? Sdk.Xen.RunState.Blocked : Sdk.Xen.RunState.Runnable, now);
        Volatile.Write(ref _onPcpu, 0);
    }

    /// <summary>SCHEDOP_poll: which ports end the wait.</summary>
    public void BeginPoll(ReadOnlySpan<uint> ports)
    {
        for (int index = 0; index < ports.Length; index++)
            _polled[index] = (int)ports[index];
        Volatile.Write(ref _polledCount, ports.Length);
    }

    /// <summary>The vCPU runs again: no poll goes on.</summary>
    public void EndPoll()
    {
        if (_polledCount < 0)
            return;
        Volatile.Write(ref _polledCount, -1);
        TimerQueue.Disarm(PollTimeout);
    }

    /// <summary>Whether a poll waits for this port, masked or not.</summary>
    public bool IsPolling(int port)
    {
        int count = Volatile.Read(ref _polledCount);
        for (int index = 0; index < count; index++)
        {
            if (_polled[index] == port)
                return true;
        }

        return false;
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
        if (Schedulable.State != RunState.Offline)
            Domain.Machine.ArmTimer(this, PeriodicTimer, Nanoseconds.Max(due + Period, Domain.Machine.Clock.Now));
        RaiseTimer(due);
    }

    private void RaiseTimer(Nanoseconds due)
    {
        Volatile.Write(ref _wakeDue, due.Value);
        Domain.Events.RaiseVirq(this, Virq.Timer);
        Volatile.Write(ref _wakeDue, Nanoseconds.Never.Value);
    }
}
