using System.Diagnostics;
using Tessera.Plugins.Cpu.Kvm.Native;
using Tessera.Plugins.Cpu.Kvm.Paging;
using Tessera.Sdk;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Cpu.X64;

namespace Tessera.Plugins.Cpu.Kvm;

/// <summary>
/// One vCPU. Every trap but preemption is an `out` to <see cref="EngineArea.Port"/>: in the guest (hypercall), in the syscall stub, or
/// in the ring-0 stub of an exception's vector; RIP says which. Resuming never runs a return instruction: the ring-3 registers are set
/// from outside.
/// </summary>
internal sealed unsafe class KvmCpu : IGuestCpu, ISyscallInterception, IShiftsCounter, ICapturesCpu
{
    // SAFETY: _vcpu's run area and the machine's engine area live until the machine is disposed; one thread at a time runs a vCPU.

    /// <summary>KVM_RUN rounds in which a delivery under way may be interrupted before its trap comes out; one or two are usual.</summary>
    private const int MostDeliveryRounds = 40;

    /// <summary>How long one of these rounds may last, ns, if the host lets it: deliveries take some ten microseconds, but a guest that got hold of ring 0 may stay there.</summary>
    private const long DeliveryRound = 100_000;

    /// <summary>Runs in a row that ended in the middle of a delivery: a quarter of a second in which nothing came out.</summary>
    private const int MostUnfinishedDeliveries = 64;
    private const byte GeneralProtection = 13;
    private const byte PageFault = 14;
    private const byte DoubleFault = 8;
    private const byte DebugException = 1;
    private const byte Breakpoint = 3;
    private const byte Overflow = 4;

    /// <summary>Runs after which code that has not moved holds no exception: it loops on one instruction.</summary>
    private const int SoftRounds = 3;

    private readonly VcpuHandle _vcpu;
    private readonly KvmMachine _machine;
    private readonly EngineArea _area;
    private readonly CpuContext _context;
    private readonly ExtendedState _extended;
    private readonly int _index;
    private readonly ulong _syscallOut;
    private readonly ulong _compatOut;
    private readonly ulong _exceptionEntry;
    private GuestCpuState _state;
    private long _seen;
    private bool _delivering;
    private int _unfinishedDeliveries;
    private ulong _codeStart;
    private ulong _codeBytes;

    public KvmCpu(KvmMachine machine, VcpuHandle vcpu, int index, CpuidEdit? edit)
    {
        _machine = machine;
        _vcpu = vcpu;
        _area = machine.Area;
        _index = index;
        Presence = machine.HasSeveralCpus ? new Presence(machine.Notifier) : null;
        _syscallOut = _area.SyscallEntry + EngineArea.OutBytes;
        _compatOut = _area.CompatSyscallEntry + EngineArea.OutBytes;
        _exceptionEntry = _area.ExceptionEntry;
        try
        {
            CpuSetup.ForGuest(vcpu, _area, index, edit);
            if (!GuestCounter.TrySet(new VcpuCounter(vcpu), vcpu.Host.Counter.Read, vcpu.Host.CounterMethod, out CounterShift shift))
                throw new EngineException($"The time-stamp counter of a new vCPU could not be set by {vcpu.Host.CounterMethod}, as it could when the host was probed.", "Report this with the output of `tessera doctor --json`.");
            CounterShift = shift.Ticks;
        }
        catch
        {
            vcpu.Dispose();
            throw;
        }

        _context = new CpuContext(vcpu, new DescriptorTables(machine, index), _area.Base);
        _extended = new ExtendedState(vcpu);
        _state.Cs = EngineArea.Code64;
        _state.Ss = _state.Ds = _state.Es = EngineArea.Data;
        _state.Root = EngineArea.RootTable;
        _state.Dr6 = 0xffff0ff0;
        _state.Dr7 = 0x400;
    }

    /// <inheritdoc/>
    public ref GuestCpuState State => ref _state;

    /// <inheritdoc/>
    public ulong Exit => _area.SyscallEntry;

    /// <inheritdoc/>
    public ulong Entry
    {
        get => _area.SyscallTarget(_index);
        set => _area.SyscallTarget(_index) = value;
    }

    /// <inheritdoc/>
    public void Declare(ulong start, int bytes)
    {
        CpuSetup.RedirectSyscall(_vcpu, _area, _index);
        (_codeStart, _codeBytes) = (start, (ulong)bytes);
    }

    /// <inheritdoc/>
    public long CounterShift { get; }

    /// <inheritdoc/>
    public int CaptureBytes => _extended.Bytes;

    /// <summary>Where it is, for other CPUs of its machine; null where there are none.</summary>
    public Presence? Presence { get; }

    /// <summary>The vCPU itself, for probes.</summary>
    public VcpuHandle Vcpu => _vcpu;

    /// <summary>The privilege level in which the last exit happened, for probes.</summary>
    public int RingOfLastExit => _vcpu.Sregs->Cs.Selector & 3;

    /// <summary>Switches EFER.SCE, for probes.</summary>
    public void EnableSyscall(bool enabled)
    {
        _vcpu.Sregs->Efer = enabled ? _vcpu.Sregs->Efer | CpuSetup.EferSyscall : _vcpu.Sregs->Efer & ~CpuSetup.EferSyscall;
        _vcpu.MarkDirty(RunArea.Sregs);
    }

    /// <inheritdoc/>
    public void SetDescriptorTables(in GuestDescriptorTables tables)
    {
        _context.Tables.Set(tables);
        _context.LoadLocalTable(_area.Ldt(_index));
    }

    /// <inheritdoc/>
    public void Capture(Span<byte> area) => _extended.Capture(area);

    /// <inheritdoc/>
    public void Restore(ReadOnlySpan<byte> area) => _extended.Restore(area);

    /// <inheritdoc/>
    public Trap Run(IEngineThread thread, Nanoseconds deadline)
    {
        KvmThread self = (KvmThread)thread;
        if (Presence is null)
            return Run(self, deadline);
        Presence.Enter(self);
        try
        {
            return Run(self, deadline);
        }
        finally
        {
            Presence.Leave();
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _vcpu.Dispose();

    private Trap Run(KvmThread self, Nanoseconds deadline)
    {
        if (self.TakeKick())
            return new Trap { Kind = TrapKind.Preempted, IsInterruptible = !_delivering };
        if (!_delivering)
        {
            if (Stopwatch.GetTimestamp() >= deadline.Value)
                return new Trap { Kind = TrapKind.Preempted, IsInterruptible = true };
            // The CPU would refuse to enter at all; on hardware the return to such an address faults.
            if (!new VirtualAddress(_state.Rip).IsCanonical)
                return new Trap { Kind = TrapKind.Exception, Vector = GeneralProtection, IsInterruptible = true };
            self.Arm(deadline.Value);
            _context.Load(ref _state);
        }
        else
        {
            self.Arm(Math.Max(deadline.Value, Stopwatch.GetTimestamp() + DeliveryRound));
        }

        if (_machine.Notifier.BeforeEntry(ref _seen))
            _context.FlushTlb();
        return Enter(self, deadline.Value);
    }

    private Trap Enter(KvmThread self, long deadline)
    {
        Trap trap = default;
        int deliveryRounds = 0;
        int softRounds = 0;
        ulong softRip = 0;
        long roundBegan = _delivering ? ThreadCalls.CpuTime() : long.MinValue;
        for (; ; )
        {
            int errno = _vcpu.Run();
            if (errno == 0)
            {
                if (!Classify(ref trap))
                    continue;
                _delivering = false;
                _unfinishedDeliveries = 0;
                trap.IsInterruptible = true;
                return trap;
            }

            if (errno is not (KvmCalls.ErrnoInterrupted or KvmCalls.ErrnoAgain))
                return Fatal($"KVM_RUN failed with errno {errno}");
            self.ConsumeSignals();
            // On a busy host a round's time may pass while others have the CPU: the guest was not there, so the round is still to come.
            if (roundBegan != long.MinValue && ThreadCalls.CpuTime() - roundBegan < DeliveryRound / 2)
            {
                self.Arm(Stopwatch.GetTimestamp() + DeliveryRound);
                continue;
            }

            if (IsDelivering() || MayHoldSoftException(ref softRounds, ref softRip))
            {
                // Its trap is a few instructions away: late by that, the caller gets a whole trap and never a half-delivered one.
                if (++deliveryRounds < MostDeliveryRounds)
                {
                    // The timer is spent: without another one, code that stays where it is would never be left again.
                    self.Arm(Stopwatch.GetTimestamp() + DeliveryRound);
                    roundBegan = ThreadCalls.CpuTime();
                    continue;
                }

                if (++_unfinishedDeliveries > MostUnfinishedDeliveries)
                    return Fatal($"the guest hangs in ring {RingOfLastExit} at rip 0x{_vcpu.Regs->Rip:x}, where only a trap's delivery may be");
                _delivering = true;
                return new Trap { Kind = TrapKind.Preempted };
            }

            // Neither is true for a stale signal, such as a kick's that the flag outran, or one of the runtime's.
            if (self.TakeKick() || Stopwatch.GetTimestamp() >= deadline)
            {
                _delivering = false;
                _unfinishedDeliveries = 0;
                _context.Store(ref _state);
                return new Trap { Kind = TrapKind.Preempted, IsInterruptible = true };
            }

            // A round of a delivery may have put its own instant in the timer.
            self.Arm(deadline);
            roundBegan = long.MinValue;
        }
    }

    private bool IsDelivering()
    {
        KvmVcpuEvents* events = _vcpu.Events;
        ulong rip = _vcpu.Regs->Rip;
        return (_vcpu.Sregs->Cs.Selector & 3) != 3
            || (events->ExceptionInjected | events->ExceptionPending | events->InterruptInjected) != 0
            || rip == _area.SyscallEntry || rip == _area.CompatSyscallEntry
            || rip - _codeStart < _codeBytes || (_codeBytes != 0 && _area.IsRedirectedEntry(rip));
    }

    /// <summary>
    /// KVM never tells of an int3 or into that it has taken and not delivered yet (KVM_GET_VCPU_EVENTS leaves "soft" exceptions out),
    /// and forgets it when registers are set; RIP may be past the instruction already, so that it would be lost. Only the number of the
    /// last exception shows, new or old: with such a number the guest goes on for a moment, until it has moved or stays where it is.
    /// </summary>
    private bool MayHoldSoftException(ref int rounds, ref ulong rip)
    {
        if (_vcpu.Events->ExceptionNumber is not (Breakpoint or Overflow))
            return false;
        ulong now = _vcpu.Regs->Rip;
        bool first = rounds == 0;
        bool moved = !first && now != rip;
        rip = now;
        return !moved && ++rounds <= SoftRounds;
    }

    /// <summary>Turns an exit into a trap; false for an exit that means nothing and is simply continued.</summary>
    private bool Classify(ref Trap trap)
    {
        if (_vcpu.ExitReason != ExitReason.Io)
        {
            if (_vcpu.ExitReason == ExitReason.Intr)
                return false;
            trap = Fatal(ExitDiagnosis.Describe(_vcpu));
            return true;
        }

        // A guest that changed its I/O bitmap or runs in ring 0 has left the rules: its accesses are nobody's.
        if (_vcpu.Io->Port != EngineArea.Port)
        {
            trap = Fatal($"access to I/O port 0x{_vcpu.Io->Port:x} at rip 0x{_vcpu.Regs->Rip:x}, ring {RingOfLastExit}");
            return true;
        }

        ulong rip = _vcpu.Regs->Rip;
        ulong stub = rip - _exceptionEntry;
        if (stub < EngineArea.Vectors * EngineArea.StubSpacing)
        {
            Exception((byte)(stub / EngineArea.StubSpacing), ref trap);
        }
        else if (rip == _syscallOut)
        {
            StoreSyscall(_vcpu.Regs->Rcx, is32Bit: false);
            trap.Kind = TrapKind.Syscall;
        }
        else if (rip == _compatOut && RingOfLastExit == 0)
        {
            StoreSyscall((uint)_vcpu.Regs->Rcx, is32Bit: true);
            trap.Kind = TrapKind.Syscall;
        }
        else
        {
            // The guest may also read the port or write strings to it: that does nothing at all.
            KvmIoExit* io = _vcpu.Io;
            if (RingOfLastExit != 3)
            {
                trap = Fatal($"hypercall from ring {RingOfLastExit} at rip 0x{rip:x}");
                return true;
            }

            if (io->Direction == 0 || io->Size != 1 || io->Count != 1)
                return false;
            _context.Store(ref _state);
            trap.Kind = TrapKind.Hypercall;
        }

        return true;
    }

    private void StoreSyscall(ulong rip, bool is32Bit)
    {
        _context.Store(ref _state);
        _state.Rip = rip;
        _state.Rflags = _state.R11;
        _state.Cs = is32Bit ? EngineArea.Code32 : EngineArea.Code64;
        _state.Ss = EngineArea.Data;
        _state.Is32Bit = is32Bit;
    }

    private void Exception(byte vector, ref Trap trap)
    {
        // [error code,] RIP, CS, RFLAGS, RSP, SS; the error code's place is only read where there is one.
        ulong* frame = _area.ExceptionFrameOf(_index, vector == DoubleFault);
        if ((frame[2] & 3) != 3)
        {
            trap = Fatal($"exception {vector} at 0x{frame[1]:x} in the engine's own code");
            return;
        }

        _context.Store(ref _state);
        _state.Rip = frame[1];
        _state.Cs = (ushort)frame[2];
        _state.Rflags = frame[3];
        _state.Rsp = frame[4];
        _state.Ss = (ushort)frame[5];
        _state.Is32Bit = _context.Is32BitCode(_state.Cs);
        trap.Kind = TrapKind.Exception;
        trap.Vector = vector;
        trap.ErrorCode = HasErrorCode(vector) ? (uint)frame[0] : 0;
        if (vector == PageFault)
            trap.FaultAddress = _vcpu.Sregs->Cr2;
        else if (vector == DebugException)
            _context.StoreDebugStatus(ref _state);
    }

    private static bool HasErrorCode(byte vector) => vector is 8 or (>= 10 and <= 14) or 17 or 21 or 29 or 30;

    private Trap Fatal(string diagnosis)
    {
        _delivering = false;
        _context.Store(ref _state);
        return new Trap { Kind = TrapKind.Fatal, IsInterruptible = true, Diagnosis = diagnosis };
    }
}
