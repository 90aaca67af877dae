using System.Runtime.Intrinsics.X86;
using Iced.Intel;
using Tessera.Sdk.Xen;
using static Iced.Intel.AssemblerRegisters;
using static Tessera.Kernel.Tests.Scripted.Script;
using static Tessera.Kernel.Tests.Scripted.Struct;

namespace Tessera.Kernel.Tests.Scripted;

/// <summary>
/// Privileged instructions, CPUID and model-specific registers: what Xen does for a guest whose kernel is not in ring 0. Ports and the
/// virtual I/O privilege have tests of their own.
/// </summary>
internal sealed class PrivilegedRows
{
    private const int Protection = 13;
    private const int InvalidOpcode = 6;
    private const uint Efer = 0xc000_0080, FsBase = 0xc000_0100, GsBase = 0xc000_0101, KernelGsBase = 0xc000_0102;
    private const ulong Junk = 0xdead_0000_0000_0000;

    private static readonly byte[] ForcedCpuid = [0x0f, 0x0b, (byte)'x', (byte)'e', (byte)'n', 0x0f, 0xa2];

    private static IEnumerable<TestCaseData> Instructions => Row.Cases(
        new("hlt", Gp(code => code.hlt()), Enters: Refused),
        new("cli without the privilege", Gp(code => code.cli()), Enters: Refused),
        new("sti without the privilege", Gp(code => code.sti()), Enters: Refused),
        new("cli with it leaves the event mask alone", Gp(code => code.cli()), Registers: [Next(1)],
            After: [Iopl(1), Stores(SharedInfoAt(VcpuInfo.UpcallMask), U8(0))]),
        new("sti with it leaves the event mask alone", Gp(code => code.sti()), Registers: [Next(1)], After: [Iopl(1)]),
        new("sti of a process without the privilege", Gp(code => code.sti()), Enters: Refused, After: [Iopl(2), .. ToUser()]),
        new("the 65th cli at one place becomes a nop", Gp(code => code.cli()), Registers: [Next(1)],
            Memory: [new(At(CodePage), new(U8(0x90)))], After: [Iopl(1), .. Enumerable.Repeat(Gp(code => code.cli()), 64)]),
        new("the 64th does not yet", Gp(code => code.cli()), Registers: [Next(1)],
            After: [Iopl(1), .. Enumerable.Repeat(Gp(code => code.cli()), 63)]),
        new("wbinvd", Gp(code => code.wbinvd()), Registers: [Next(2)]),
        new("invd", Gp(code => code.invd()), Registers: [Next(2)]),
        new("wbinvd of a process", Gp(code => code.wbinvd()), Enters: Refused, After: ToUser()),
        new("xsetbv", Gp(code => code.xsetbv(), (R.Rcx, 0), (R.Rax, 7), (R.Rdx, 0)), Registers: [Next(3)]),
        new("clts", Gp(code => code.clts()), Registers: [Next(2), (R.TaskSwitched, 0)], After: [Call(Hypercall.FpuTaskswitch, 1)]),
        new("an emulated instruction takes RF", Gp(code => code.wbinvd(), (R.Rflags, 0x1_0246)), Registers: [Next(2), (R.Rflags, 0x246)]),
        new("an instruction with an error code is the guest's", Faults(Protection, 0x28, Assemble(code => code.wbinvd())),
            Enters: new(Handler(13), Error: 0x28)),
        new("an instruction that cannot be read is the guest's", Raises(Protection, 0, (R.Rip, Nowhere)), Enters: Refused),
        new("an instruction that ends at the end of what is mapped", Raises(Protection, 0, (R.Rip, At(LastPage, 4094))),
            Registers: [(R.Rip, At(LastPage, 4096))], After: [Stores(At(LastPage, 4094), Raw(0x0f, 0x09))]),
        new("an instruction that goes on beyond it", Raises(Protection, 0, (R.Rip, At(LastPage, 4095))), Enters: Refused,
            After: [Stores(At(LastPage, 4095), Raw(0x0f))]),
        new("lgdt", Gp(code => code.lgdt(__[rax])), Enters: Refused),

        new("mov from CR0", Gp(code => code.mov(rbx, cr0)), Registers: [Next(3), (R.Rbx, 0x8005_0033)]),
        new("mov from CR0 with TS", Gp(code => code.mov(rbx, cr0)), Registers: [Next(3), (R.Rbx, 0x8005_003b)],
            After: [Call(Hypercall.FpuTaskswitch, 1)]),
        new("mov from CR2", Gp(code => code.mov(rbx, cr2)), Registers: [Next(3), (R.Rbx, 0)]),
        new("mov from CR3", Gp(code => code.mov(r12, cr3)), Registers: [Next(4), (R.R12, Table(4) * 4096)]),
        new("mov from CR4", Gp(code => code.mov(rbx, cr4)), Registers: [Next(3), (R.Rbx, 0x4_0660)]),
        new("mov from CR8", Gp(code => code.mov(rbx, cr8)), Enters: Refused),
        new("mov from a control register there is not", Faults(Protection, 0, [0x0f, 0x20, 0xcb]), Enters: Refused),
        new("mov to CR0 sets TS", Gp(code => code.mov(cr0, rbx), (R.Rbx, 0x8005_003b)), Registers: [Next(3), (R.TaskSwitched, 1)]),
        new("mov to CR0 clears TS", Gp(code => code.mov(cr0, rbx), (R.Rbx, 0x8005_0033)), Registers: [Next(3), (R.TaskSwitched, 0)],
            After: [Call(Hypercall.FpuTaskswitch, 1)]),
        new("mov to CR3", Gp(code => code.mov(cr3, rbx)), Enters: Refused),
        new("mov to CR4", Gp(code => code.mov(cr4, rbx)), Registers: [Next(3)]),
        new("mov from CR0 of a process", Gp(code => code.mov(rbx, cr0)), Enters: Refused, After: ToUser()));

    private static IEnumerable<TestCaseData> ModelSpecific => Row.Cases(
        Reads("EFER", Efer, 0xd01),
        Reads("PAT, which is Xen's", 0x277, 0x0501_0007_0406),
        Reads("GS_BASE", GsBase, KernelGs),
        Reads("the APIC's base", 0x1b, 0xfee0_0900),
        Reads("the microcode's revision", 0x8b, 0),
        new("rdmsr of SYSENTER_CS", Read(0x174), Enters: Refused),
        new("rdmsr of SYSENTER_EIP", Read(0x176), Enters: Refused),
        Reads("MCG_CAP", 0x179, 2),
        Reads("a bank's control", 0x404, ulong.MaxValue),
        Reads("a bank's status", 0x405, 0),
        new("rdmsr of a third bank", Read(0x408), Enters: Refused),
        Reads("the first counter's events", 0xc001_0000, 0),
        Reads("DE_CFG", 0xc001_1029, 2),
        Reads("MISC_ENABLE", 0x1a0, 0),
        new("rdmsr of STAR", Read(0xc000_0081), Enters: Refused),
        new("rdmsr of SYSCALL_MASK", Read(0xc000_0084), Enters: Refused),
        Reads("TSC_AUX", 0xc000_0103, 0),
        Reads("HWCR", 0xc001_0015, 0),
        Reads("FS_BASE after it was set", FsBase, 0xffff_8765_4321_0000,
            Call(Hypercall.SetSegmentBase, SegmentBase.Fs, 0xffff_8765_4321_0000)),
        Reads("KERNEL_GS_BASE, which is the user's", KernelGsBase, 0x5678_0000,
            Call(Hypercall.SetSegmentBase, SegmentBase.GsUser, 0x5678_0000)),
        Reads("KERNEL_GS_BASE after it was written", KernelGsBase, 0x7000_1234_5000, Writes(KernelGsBase, 0x7000_1234_5000)),
        new("rdmsr of a register there is not", Read(0x3a), Enters: Refused),
        new("rdmsr of the one before STAR's", Read(0xc000_007f), Enters: Refused),
        new("rdmsr of the one after SYSCALL_MASK", Read(0xc000_0085), Enters: Refused),
        new("rdmsr of a process", Read(Efer), Enters: Refused, After: ToUser()),
        new("wrmsr of FS_BASE", Writes(FsBase, 0x7000_1234_5000), Registers: [Next(2), (R.FsBase, 0x7000_1234_5000)]),
        new("wrmsr of GS_BASE", Writes(GsBase, 0xffff_8765_4321_0000), Registers: [Next(2), (R.GsBase, 0xffff_8765_4321_0000)]),
        new("wrmsr of FS_BASE to an address that is not canonical", Writes(FsBase, NotCanonical), Enters: Refused),
        new("wrmsr of GS_BASE to an address that is not canonical", Writes(GsBase, NotCanonical), Enters: Refused),
        new("wrmsr of KERNEL_GS_BASE to an address that is not canonical", Writes(KernelGsBase, NotCanonical), Enters: Refused),
        new("wrmsr of EFER", Writes(Efer, 0xd01), Registers: [Next(2)]),
        new("wrmsr of EFER without long mode", Writes(Efer, 1), Enters: Refused),
        new("wrmsr of LSTAR", Writes(0xc000_0082, At(CodePage)), Enters: Refused),
        new("wrmsr of PAT", Writes(0x277, 0x0501_0007_0406), Enters: Refused),
        new("wrmsr of the APIC's base", Writes(0x1b, 0xfee0_0900), Enters: Refused),
        new("wrmsr of TSC_AUX", Writes(0xc000_0103, uint.MaxValue), Registers: [Next(2)]),
        new("wrmsr of TSC_AUX with more than 32 bits", Writes(0xc000_0103, 1UL << 32), Enters: Refused),
        new("wrmsr of a bank's control", Writes(0x400, 5), Registers: [Next(2)]),
        new("wrmsr of a bank's status", Writes(0x401, 5), Enters: Refused),
        new("wrmsr of a bank's status to 0", Writes(0x401, 0), Registers: [Next(2)]),
        new("wrmsr of the time-stamp counter", Writes(0x10, 0), Enters: Refused),
        new("wrmsr of a register there is not", Writes(0x3a, 0), Enters: Refused));

    private static IEnumerable<TestCaseData> Cpuid => Row.Cases(
        Answers("Xen's first leaf", 0x4000_0000, 0, 0x4000_0005, 0x566e_6558, 0x6558_4d4d, 0x4d4d_566e),
        Answers("Xen's version", 0x4000_0001, 0, (4 << 16) | 17, 0, 0, 0),
        Answers("Xen's features", 0x4000_0002, 0, 0, 0, 1, 0),
        Answers("the counter's rate in kHz", 0x4000_0003, 0, 0, 0, 1_000_000, 0),
        Answers("nothing more of the counter", 0x4000_0003, 1, 0, 0, 0, 0),
        Answers("the width of machine addresses", 0x4000_0005, 0, 0, 47, 0, 0),
        Answers("a leaf of other hypervisors", 0x4000_0100, 0, 0, 0, 0, 0),
        Answers("no cache topology", 4, 0, 0, 0, 0, 0),
        Answers("no MONITOR", 5, 0, 0, 0, 0, 0),
        Answers("no performance counters", 0xa, 0, 0, 0, 0, 0),
        Answers("no processor topology", 0xb, 0, 0, 0, 0, 0),
        Answers("no clock of the core", 0x15, 0, 0, 0, 0, 0),
        Answers("the counter's rate in MHz", 0x16, 0, 1000, 1000, 0, 0),
        Answers("nothing but the stable counter of power management", 0x8000_0007, 0, 0, 0, 0, Hardware(0x8000_0007, 3) & (1 << 8)),
        Answers("no encrypted memory", 0x8000_001f, 0, 0, 0, 0, 0),
        Answers("the maker", 0, 0, Math.Max(Hardware(0, 0), 0x16), Hardware(0, 1), Hardware(0, 2), Hardware(0, 3)),
        Answers("features: a hypervisor, XSAVE, and none of what a PV kernel must not use", 1, 0, Hardware(1, 0),
            (Hardware(1, 1) & 0xffff) | 0x1_0000, (Hardware(1, 2) & ~0x0126_81fcu) | 0x8000_0000 | ((Hardware(1, 2) & (1 << 26)) << 1),
            Hardware(1, 3) & ~0x1062_708au),
        new("CPUID of the kernel where it faults", Gp(code => code.cpuid(), (R.Rax, 0x4000_0001), (R.Rcx, 0)), Rax: (4 << 16) | 17,
            Registers: [Next(2), (R.Rbx, 0), (R.Rcx, 0), (R.Rdx, 0)]),
        new("CPUID of a process where it faults", Gp(code => code.cpuid(), (R.Rax, 0x4000_0001), (R.Rcx, 0)), Rax: (4 << 16) | 17,
            Registers: [Next(2), (R.Rbx, 0), (R.Rcx, 0), (R.Rdx, 0)], After: ToUser()),
        new("the forced CPUID of a process", Faults(InvalidOpcode, 0, ForcedCpuid, (R.Rax, 0x4000_0001), (R.Rcx, 0)), Rax: (4 << 16) | 17,
            Registers: [Next(7), (R.Rbx, 0), (R.Rcx, 0), (R.Rdx, 0)], After: ToUser()),
        new("ud2 and something else", Faults(InvalidOpcode, 0, [.. ForcedCpuid[..6], 0xa3]), Enters: new(Handler(6))),
        new("the forced CPUID cut off by the end of what is mapped", Raises(InvalidOpcode, 0, (R.Rip, At(LastPage, 4090))),
            Enters: new(Handler(6)), After: [Stores(At(LastPage, 4090), Raw(ForcedCpuid[..6]))]));

    [TestCaseSource(nameof(Instructions))]
    public void A_privileged_instruction(Row row) => row.Check();

    [TestCaseSource(nameof(ModelSpecific))]
    public void A_model_specific_register(Row row) => row.Check();

    [TestCaseSource(nameof(Cpuid))]
    public void A_CPUID_leaf(Row row) => row.Check();

    /// <summary>The guest gets #GP where the instruction stands.</summary>
    private static Bounce Refused => new(Handler(Protection), Error: 0);

    private static (R, Value) Next(int bytes) => (R.Rip, At(CodePage, bytes));

    private static Step Gp(Action<Assembler> instruction, params (R, Value)[] registers) => Faults(Protection, instruction, registers);

    private static Step Iopl(int level) => Call(Hypercall.PhysdevOp, PhysdevOp.SetIopl, new Struct(U32(level)));

    private static Step Read(uint register) => Gp(code => code.rdmsr(), (R.Rcx, Junk | register), (R.Rax, Junk), (R.Rdx, Junk));

    private static Step Writes(uint register, ulong value) =>
        Gp(code => code.wrmsr(), (R.Rcx, Junk | register), (R.Rax, Junk | (uint)value), (R.Rdx, value >> 32));

    private static Row Reads(string what, uint register, ulong value, params Step[] after) =>
        new($"rdmsr of {what}", Read(register), Rax: (uint)value, Registers: [Next(2), (R.Rdx, value >> 32)], After: after);

    /// <summary>By the sequence that a PV guest uses; the upper halves of the registers are lost, as the instruction loses them.</summary>
    private static Row Answers(string what, uint leaf, uint subleaf, uint eax, uint ebx, uint ecx, uint edx) =>
        new(what, Faults(InvalidOpcode, 0, ForcedCpuid, (R.Rax, Junk | leaf), (R.Rbx, Junk), (R.Rcx, Junk | subleaf), (R.Rdx, Junk)),
            Rax: eax, Registers: [Next(7), (R.Rbx, ebx), (R.Rcx, ecx), (R.Rdx, edx)]);

    private static uint Hardware(uint leaf, int register)
    {
        (int eax, int ebx, int ecx, int edx) = X86Base.CpuId((int)leaf, 0);
        return (uint)(register switch { 0 => eax, 1 => ebx, 2 => ecx, _ => edx });
    }
}
