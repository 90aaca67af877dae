using System.Runtime.CompilerServices;
using Tessera.Plugins.Cpu.Kvm.Native;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Cpu.X64;

namespace Tessera.Plugins.Cpu.Kvm;

/// <summary>Carries register state between <see cref="GuestCpuState"/> and a vCPU's run area; system registers are given to KVM only when one differs.</summary>
internal sealed unsafe class CpuContext
{
    // SAFETY: the run area of _vcpu lives as long as the CPU; KvmRegs has the layout of GuestCpuState's first 18 fields (tested).
    private const uint GeneralRegisterBytes = 18 * sizeof(ulong);

    /// <summary>What ring 3 may choose: CF PF AF ZF SF TF DF OF NT RF AC ID.</summary>
    private const ulong GuestFlags = 0x254dd5;

    /// <summary>Bit 1 and IF, which the guest can never clear.</summary>
    private const ulong FixedFlags = 0x202;
    private const ulong SlotMask = 0xffff_ff80_0000_0000;
    private const ulong DebugStatusFixed = 0xffff0ff0;
    private const ulong DebugControlFixed = 0x400;
    private const ulong DebugControlGuest = 0xffff03ff;

    private readonly VcpuHandle _vcpu;
    private readonly KvmRegs* _regs;
    private readonly KvmSregs* _sregs;
    private readonly ulong _ownSlot;
    private KvmDebugRegs _debug = new() { Dr6 = DebugStatusFixed, Dr7 = DebugControlFixed };
    private ulong _debugControlAsked = DebugControlFixed;

    public CpuContext(VcpuHandle vcpu, DescriptorTables tables, ulong ownSlot)
    {
        _vcpu = vcpu;
        _regs = vcpu.Regs;
        _sregs = vcpu.Sregs;
        _ownSlot = ownSlot;
        Tables = tables;
    }

    /// <summary>The CPU's descriptor tables.</summary>
    public DescriptorTables Tables { get; }

    /// <summary>Puts the state where KVM_RUN takes it from.</summary>
    public void Load(ref GuestCpuState state)
    {
        Unsafe.CopyBlockUnaligned(ref *(byte*)_regs, ref Unsafe.As<ulong, byte>(ref state.Rax), GeneralRegisterBytes);
        _regs->Rflags = (state.Rflags & GuestFlags) | FixedFlags;
        ulong dirty = RunArea.Regs;
        if (SystemRegistersDiffer(ref state))
        {
            LoadSystemRegisters(ref state);
            dirty |= RunArea.Sregs;
        }

        _vcpu.MarkDirty(dirty);
        if (state.Dr7 != _debugControlAsked || state.Dr0 != _debug.Db0 || state.Dr1 != _debug.Db1 || state.Dr2 != _debug.Db2 || state.Dr3 != _debug.Db3 || state.Dr6 != _debug.Dr6)
            LoadDebugRegisters(ref state);
    }

    /// <summary>Takes the state from where KVM_RUN left it.</summary>
    public void Store(ref GuestCpuState state)
    {
        Unsafe.CopyBlockUnaligned(ref Unsafe.As<ulong, byte>(ref state.Rax), ref *(byte*)_regs, GeneralRegisterBytes);
        state.FsBase = _sregs->Fs.Base;
        state.GsBase = _sregs->Gs.Base;
        state.Ds = _sregs->Ds.Selector;
        state.Es = _sregs->Es.Selector;
        state.Fs = _sregs->Fs.Selector;
        state.Gs = _sregs->Gs.Selector;
        if ((_sregs->Cs.Selector & 3) != 3)
            return;
        state.Cs = _sregs->Cs.Selector;
        state.Ss = _sregs->Ss.Selector;
        state.Is32Bit = _sregs->Cs.L == 0;
    }

    /// <summary>Reads DR6 after a debug exception.</summary>
    public void StoreDebugStatus(ref GuestCpuState state)
    {
        _vcpu.Call(KvmCalls.GetDebugRegs, "KVM_GET_DEBUGREGS", ref _debug);
        state.Dr6 = _debug.Dr6;
    }

    /// <summary>
    /// Flushes the CPU's TLB at the next entry: KVM resets its MMU context and flushes the guest's translations when a paging-related
    /// control register is set to another value from outside, and CR4.DE is one whose change ring 3 cannot notice.
    /// </summary>
    public void FlushTlb()
    {
        _sregs->Cr4 ^= CpuSetup.Cr4DebugExtensions;
        _vcpu.MarkDirty(RunArea.Sregs);
    }

    /// <summary>Loads the LDT register for the tables as they are now.</summary>
    public void LoadLocalTable(ulong address)
    {
        int entries = Tables.LdtEntries;
        _sregs->Ldt = entries == 0
            ? new KvmSegment { Type = 2, Unusable = 1 }
            : new KvmSegment { Base = address, Limit = ((uint)entries * 8) - 1, Selector = EngineArea.LocalTable, Type = 2, Present = 1 };
        _vcpu.MarkDirty(RunArea.Sregs);
    }

    /// <summary>Whether a code selector is one of 32-bit code.</summary>
    public bool Is32BitCode(ushort selector) => selector != EngineArea.Code64 && (Tables.Lookup(selector) >> 53 & 1) == 0;

    private static ulong Canonical(ulong address) => (ulong)((long)(address << 16) >> 16);

    private bool SystemRegistersDiffer(ref GuestCpuState state) =>
        _sregs->Cr3 != state.Root.Address
        || _sregs->Cs.Selector != (state.Cs | 3)
        || _sregs->Ss.Selector != (state.Ss | 3)
        || _sregs->Cs.Dpl != 3
        || (_sregs->Cs.L == 0) != state.Is32Bit
        || _sregs->Fs.Base != state.FsBase
        || _sregs->Gs.Base != state.GsBase
        || ((_sregs->Cr0 & CpuSetup.Cr0TaskSwitched) != 0) != state.TaskSwitched
        || _sregs->Ds.Selector != state.Ds
        || _sregs->Es.Selector != state.Es
        || _sregs->Fs.Selector != state.Fs
        || _sregs->Gs.Selector != state.Gs;

    private void LoadSystemRegisters(ref GuestCpuState state)
    {
        _sregs->Cr3 = state.Root.Address;
        _sregs->Cr0 = CpuSetup.Cr0 | (state.TaskSwitched ? CpuSetup.Cr0TaskSwitched : 0);
        ushort code = (ushort)(state.Cs | 3);
        ushort stack = (ushort)(state.Ss | 3);
        _sregs->Cs = state.Is32Bit ? Tables.Segment(code, SegmentKind.Code32) : CpuSetup.Flat(code, SegmentKind.Code64);
        _sregs->Ss = state.Is32Bit ? Tables.Segment(stack, SegmentKind.Data) : CpuSetup.Flat(stack, SegmentKind.Data);
        LoadData(ref _sregs->Ds, state.Ds);
        LoadData(ref _sregs->Es, state.Es);
        LoadData(ref _sregs->Fs, state.Fs);
        LoadData(ref _sregs->Gs, state.Gs);
        _sregs->Fs.Base = state.FsBase = Canonical(state.FsBase);
        _sregs->Gs.Base = state.GsBase = Canonical(state.GsBase);
    }

    private void LoadData(ref KvmSegment segment, ushort selector)
    {
        if (segment.Selector != selector)
            segment = (selector & ~3) == 0 ? CpuSetup.Flat(selector, SegmentKind.Null) : Tables.Segment(selector, SegmentKind.Data);
    }

    private void LoadDebugRegisters(ref GuestCpuState state)
    {
        _debug.Db0 = state.Dr0;
        _debug.Db1 = state.Dr1;
        _debug.Db2 = state.Dr2;
        _debug.Db3 = state.Dr3;
        _debug.Dr6 = state.Dr6 &= uint.MaxValue;
        _debug.Dr7 = (state.Dr7 & DebugControlGuest) | DebugControlFixed;
        // A breakpoint in the engine's slot would strike in ring 0; such a one is never armed.
        for (int index = 0; index < 4; index++)
        {
            ulong address = index switch { 0 => state.Dr0, 1 => state.Dr1, 2 => state.Dr2, _ => state.Dr3 };
            if ((address & SlotMask) == _ownSlot)
                _debug.Dr7 &= ~(3UL << (index * 2));
        }

        _debugControlAsked = state.Dr7;
        _vcpu.Call(KvmCalls.SetDebugRegs, "KVM_SET_DEBUGREGS", ref _debug);
    }
}
