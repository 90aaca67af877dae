using Tessera.Plugins.Cpu.Kvm.Native;

namespace Tessera.Plugins.Cpu.Kvm;

/// <summary>The state a vCPU starts from: long mode, the engine's descriptor tables, the syscall stub, hardware's CPUID and XCR0.</summary>
internal static unsafe class CpuSetup
{
    // SAFETY: the vCPU's run area is alive while these methods run; structures given to ioctls are locals.

    /// <summary>CR0: PE MP ET NE WP AM PG.</summary>
    public const ulong Cr0 = 0x8005_0033;

    /// <summary>CR0.TS.</summary>
    public const ulong Cr0TaskSwitched = 8;

    /// <summary>CR4.DE: only I/O breakpoints feel it, and ring 3 cannot see it, so it may change at any time.</summary>
    public const ulong Cr4DebugExtensions = 8;

    private const ulong Cr4Fixed = 0x620;
    private const ulong Cr4FsGsBase = 1 << 16;
    private const ulong Cr4OsXsave = 1 << 18;
    /// <summary>EFER.SCE: `syscall` is an instruction.</summary>
    public const ulong EferSyscall = 1;

    private const ulong Efer = 0xd00;
    private const uint Leaf1EcxXsave = 1 << 26;
    private const uint Leaf7EbxFsGsBase = 1;

    private const uint MsrSysenterCs = 0x174;
    private const uint MsrSysenterEsp = 0x175;
    private const uint MsrSysenterEip = 0x176;
    private const uint MsrStar = 0xc0000081;
    private const uint MsrLongStar = 0xc0000082;
    private const uint MsrCompatStar = 0xc0000083;
    private const uint MsrSyscallMask = 0xc0000084;

    /// <summary>Every flag but the always-one bit 1: the stub runs with nothing of the guest's left on.</summary>
    private const ulong SyscallMask = 0x257fd5;

    /// <summary>For code of the kernel's that goes back to its caller in ring 3, where IF cannot be set again: IF and ID are left on.</summary>
    private const ulong InterceptedSyscallMask = SyscallMask & ~0x200200UL;

    private const uint HypervisorLeaves = 0x40000000;
    private const uint XsaveLeaf = 0xd;

    /// <summary>XTILE_CFG and XTILE_DATA.</summary>
    private const ulong Amx = 3 << 17;

    /// <summary>Sets up a guest CPU.</summary>
    /// <param name="vcpu">The vCPU.</param>
    /// <param name="area">The machine's engine area.</param>
    /// <param name="index">The CPU's index.</param>
    /// <param name="edit">Changes CPUID before it is set; null for hardware's own.</param>
    public static void ForGuest(VcpuHandle vcpu, EngineArea area, int index, CpuidEdit? edit)
    {
        SetCpuid(vcpu, index, edit);
        KvmSregs sregs = CommonSregs(vcpu, area);
        sregs.Cs = Flat(EngineArea.Code64, SegmentKind.Code64);
        sregs.Ss = sregs.Ds = sregs.Es = Flat(EngineArea.Data, SegmentKind.Data);
        sregs.Fs = sregs.Gs = Flat(0, SegmentKind.Null);
        sregs.Gdt = new KvmTable { Base = area.Gdt(index), Limit = EngineArea.LocalTable + 15 };
        sregs.Idt = new KvmTable { Base = area.Idt, Limit = 0xfff };
        sregs.Tr = new KvmSegment { Base = area.TaskStateSegment(index), Limit = EngineArea.TaskStateLimit, Selector = EngineArea.TaskState, Type = 11, Present = 1 };
        vcpu.Call(KvmCalls.SetSregs, "KVM_SET_SREGS", ref sregs);
        SetXcr0(vcpu);
        SetMsrs(vcpu, area);
        SetSignalMask(vcpu);
        *vcpu.Sregs = sregs;
    }

    /// <summary>Sends `syscall` to a CPU's redirected entry.</summary>
    public static void RedirectSyscall(VcpuHandle vcpu, EngineArea area, int index)
    {
        KvmMsrs msrs = default;
        msrs.Count = 2;
        msrs.Entries[0] = new KvmMsrEntry { Index = MsrLongStar, Value = area.RedirectedEntry(index) };
        msrs.Entries[1] = new KvmMsrEntry { Index = MsrSyscallMask, Value = InterceptedSyscallMask };
        vcpu.Call(KvmCalls.SetMsrs, "KVM_SET_MSRS", ref msrs);
    }

    /// <summary>Sets up a CPU that only ever runs ring-0 stubs of the engine.</summary>
    public static void ForRing0(VcpuHandle vcpu, EngineArea area)
    {
        SetCpuid(vcpu, 0, null);
        KvmSregs sregs = CommonSregs(vcpu, area);
        sregs.Cs = Flat(EngineArea.Ring0Code, SegmentKind.Code64);
        sregs.Cs.Dpl = 0;
        sregs.Ss = sregs.Ds = sregs.Es = sregs.Fs = sregs.Gs = Flat(EngineArea.Ring0Code + 8, SegmentKind.Data);
        sregs.Ss.Dpl = 0;
        sregs.Tr = new KvmSegment { Base = area.TaskStateSegment(0), Limit = EngineArea.TaskStateLimit, Selector = EngineArea.TaskState, Type = 11, Present = 1 };
        vcpu.Call(KvmCalls.SetSregs, "KVM_SET_SREGS", ref sregs);
        *vcpu.Sregs = sregs;
    }

    /// <summary>A flat segment as the CPU caches it.</summary>
    public static KvmSegment Flat(ushort selector, SegmentKind kind) => kind switch
    {
        SegmentKind.Null => new KvmSegment { Selector = selector, Type = 3, Dpl = 3, S = 1, Unusable = 1 },
        SegmentKind.Data => new KvmSegment { Limit = uint.MaxValue, Selector = selector, Type = 3, Present = 1, Dpl = 3, Db = 1, S = 1, G = 1 },
        _ => new KvmSegment
        {
            Limit = uint.MaxValue,
            Selector = selector,
            Type = 11,
            Present = 1,
            Dpl = 3,
            Db = kind == SegmentKind.Code32 ? (byte)1 : (byte)0,
            S = 1,
            L = kind == SegmentKind.Code64 ? (byte)1 : (byte)0,
            G = 1,
        },
    };

    private static KvmSregs CommonSregs(VcpuHandle vcpu, EngineArea area)
    {
        KvmSregs sregs = default;
        vcpu.Call(KvmCalls.GetSregs, "KVM_GET_SREGS", ref sregs);
        sregs.Ldt = new KvmSegment { Type = 2, Unusable = 1 };
        sregs.Idt = default;
        sregs.Gdt = default;
        sregs.Cr0 = Cr0;
        sregs.Cr3 = EngineArea.RootTable.Address;
        sregs.Cr4 = Cr4Fixed
            | ((vcpu.Host.Leaf(1).Ecx & Leaf1EcxXsave) != 0 ? Cr4OsXsave : 0)
            | ((vcpu.Host.Leaf(7).Ebx & Leaf7EbxFsGsBase) != 0 ? Cr4FsGsBase : 0);
        sregs.Efer = Efer | (vcpu.Host.SyscallNeedsEnable ? EferSyscall : 0);
        return sregs;
    }

    private static void SetCpuid(VcpuHandle vcpu, int index, CpuidEdit? edit)
    {
        KvmCpuid cpuid = default;
        ReadOnlySpan<KvmCpuidEntry> supported = vcpu.Host.SupportedCpuid.Entries;
        foreach (KvmCpuidEntry leaf in supported[..(int)vcpu.Host.SupportedCpuid.Count])
        {
            if ((leaf.Function & 0xffffff00) == HypervisorLeaves)
                continue;
            KvmCpuidEntry entry = leaf;
            switch (entry.Function)
            {
                case 1:
                    // No nested VMX, x2APIC or TSC-deadline timer: the machine has no interrupt controller.
                    entry.Ecx &= ~((1u << 5) | (1u << 21) | (1u << 24));
                    entry.Ebx = (entry.Ebx & 0x00ffffff) | ((uint)index << 24);
                    break;
                case XsaveLeaf when entry.Index == 0 && Xcr0(vcpu.Host) is { } components:
                    (entry.Eax, entry.Edx) = ((uint)components, (uint)(components >> 32));
                    break;
                case 0xb or 0x1f:
                    entry.Edx = (uint)index;
                    break;
                case 0x80000001:
                    entry.Ecx &= ~(1u << 2);
                    break;
            }

            edit?.Invoke(ref entry);
            cpuid.Entries[(int)cpuid.Count++] = entry;
        }

        // "XenVMMXenVMM", version 4.17: user space of the guest finds out under what it runs, as on Xen.
        cpuid.Entries[(int)cpuid.Count++] = new KvmCpuidEntry { Function = HypervisorLeaves, Eax = HypervisorLeaves + 2, Ebx = 0x566e6558, Ecx = 0x65584d4d, Edx = 0x4d4d566e };
        cpuid.Entries[(int)cpuid.Count++] = new KvmCpuidEntry { Function = HypervisorLeaves + 1, Eax = (4 << 16) | 17 };
        cpuid.Entries[(int)cpuid.Count++] = new KvmCpuidEntry { Function = HypervisorLeaves + 2 };
        vcpu.Call(KvmCalls.SetCpuid2, "KVM_SET_CPUID2", ref cpuid);
    }

    /// <summary>XCR0 of guests: all that KVM can give them here; null where it is not there or cannot be set.</summary>
    public static ulong? Xcr0(KvmHost host)
    {
        if ((host.Leaf(1).Ecx & Leaf1EcxXsave) == 0 || host.Extension(KvmCalls.CapXcrs) == 0)
            return null;
        KvmCpuidEntry xsave = host.Leaf(XsaveLeaf);
        return Settable(((ulong)xsave.Edx << 32) | xsave.Eax);
    }

    /// <summary>What of the components that KVM names can be set: Linux 5.17 to 6.3 names AMX's configuration without its data, which a process must ask for, and takes only both or neither.</summary>
    public static ulong Settable(ulong components) => (components & Amx) == Amx ? components : components & ~Amx;

    private static void SetXcr0(VcpuHandle vcpu)
    {
        if (Xcr0(vcpu.Host) is not { } components)
            return;
        KvmXcrs xcrs = new() { Count = 1, Value = components };
        vcpu.Call(KvmCalls.SetXcrs, "KVM_SET_XCRS", ref xcrs);
    }

    private static void SetMsrs(VcpuHandle vcpu, EngineArea area)
    {
        KvmMsrs msrs = default;
        msrs.Count = 7;
        msrs.Entries[0] = new KvmMsrEntry { Index = MsrStar, Value = ((ulong)EngineArea.Code32 << 48) | ((ulong)EngineArea.Ring0Code << 32) };
        msrs.Entries[1] = new KvmMsrEntry { Index = MsrLongStar, Value = area.SyscallEntry };
        msrs.Entries[2] = new KvmMsrEntry { Index = MsrCompatStar, Value = area.CompatSyscallEntry };
        msrs.Entries[3] = new KvmMsrEntry { Index = MsrSyscallMask, Value = SyscallMask };
        // A null selector: `sysenter` raises #GP where the processor has it at all.
        msrs.Entries[4] = new KvmMsrEntry { Index = MsrSysenterCs, Value = 0 };
        msrs.Entries[5] = new KvmMsrEntry { Index = MsrSysenterEsp, Value = 0 };
        msrs.Entries[6] = new KvmMsrEntry { Index = MsrSysenterEip, Value = 0 };
        vcpu.Call(KvmCalls.SetMsrs, "KVM_SET_MSRS", ref msrs);
    }

    private static void SetSignalMask(VcpuHandle vcpu)
    {
        ulong open = ThreadCalls.CurrentMask() & ~ThreadCalls.Bit(ThreadCalls.PreemptionSignal());
        KvmSignalMask mask = new() { Length = 8, Signals = open };
        vcpu.Call(KvmCalls.SetSignalMask, "KVM_SET_SIGNAL_MASK", ref mask);
    }
}

/// <summary>Changes one CPUID entry before it is given to a vCPU.</summary>
internal delegate void CpuidEdit(ref KvmCpuidEntry entry);

/// <summary>Kinds of flat segments.</summary>
internal enum SegmentKind
{
    Null,
    Data,
    Code32,
    Code64,
}
