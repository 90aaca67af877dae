using System.Runtime.Intrinsics.X86;
using Tessera.Kernel.Time;

namespace Tessera.Kernel.Traps;

/// <summary>
/// CPUID as a PV guest's kernel sees it: the hardware's, less what a PV kernel must not use, plus Xen's own leaves. Built once a
/// machine; where user space sees the hardware's vector features whatever we say, the kernel is told of them too, or it would save
/// too little of its processes' state.
/// </summary>
/// <param name="clock">The machine's clock, for the counter's rate.</param>
/// <param name="nullSelectorClearsBase">Tried out on the processor, which may not be allowed to say so.</param>
/// <param name="faults">CPUID faults in user mode too, so that it is answered here and not by the hardware.</param>
/// <param name="vectorStates">The components of XCR0 that the engine gives guests; null for whatever the hardware has.</param>
internal sealed class CpuidPolicy(MachineClock clock, bool nullSelectorClearsBase, bool faults, ulong? vectorStates)
{
    private const uint XenBase = 0x4000_0000;
    private const uint XenVersion = (4 << 16) | 17;

    // Leaf 1 EDX: VME PSE MCE SEP? APIC MTRR PGE MCA PSE36 ACPI DS
    private const uint HiddenLeaf1Edx = (1u << 1) | (1u << 3) | (1u << 7) | (1u << 12) | (1u << 13) | (1u << 14) | (1u << 17) | (1u << 21) | (1u << 22);

    // Leaf 1 ECX: DTES64 MONITOR DS-CPL VMX SMX EST TM2 PDCM PCID DCA x2APIC TSC-deadline
    private const uint HiddenLeaf1Ecx =
        (1u << 2) | (1u << 3) | (1u << 4) | (1u << 5) | (1u << 6) | (1u << 7) | (1u << 8) | (1u << 15) | (1u << 17) | (1u << 18) | (1u << 21) | (1u << 24);

    // Leaf 7 EBX: FSGSBASE (a PV kernel then reads both bases by trapping RDMSR at every context switch) SMEP INVPCID PQM PQE SMAP PT; ECX: UMIP PKU OSPKE shadow stacks LA57 ENQCMD PKS bus-lock
    private const uint HiddenLeaf7Ebx = (1u << 0) | (1u << 7) | (1u << 10) | (1u << 12) | (1u << 15) | (1u << 20) | (1u << 25);
    private const uint HiddenLeaf7Ecx = (1u << 2) | (1u << 3) | (1u << 4) | (1u << 5) | (1u << 7) | (1u << 16) | (1u << 24) | (1u << 29) | (1u << 31);

    // 0x80000001 EDX: PSE PGE MTRR… mirrors and RDTSCP stays; ECX: SVM OSVW IBS SKINIT WDT LWP NodeId topology perf counters.
    private const uint HiddenExtendedEdx = (1u << 1) | (1u << 3) | (1u << 7) | (1u << 12) | (1u << 13) | (1u << 14) | (1u << 17) | (1u << 26);
    private const uint HiddenExtendedEcx = (1u << 2) | (1u << 9) | (1u << 10) | (1u << 12) | (1u << 13) | (1u << 15) | (1u << 19) | (1u << 22) | (1u << 23) | (1u << 24) | (1u << 28);
    private const uint Osxsave = 1u << 27;
    private const uint Xsave = 1u << 26;
    private const uint Hypervisor = 1u << 31;

    /// <summary>Xen's leaf 5: how wide machine addresses may be.</summary>
    private const uint MachineAddressBits = 47;

    private const uint NullSelectorClearsBase = 1u << 6;

    private const uint ExtendedLeaf = 0x8000_0000;
    private const uint KeptLeaves = 0x30;
    private const uint KeptSubleaves = 4;

    private readonly Registers?[] _kept = new Registers?[2 * KeptLeaves * KeptSubleaves];
    private readonly uint _nullSelectorClearsBase = nullSelectorClearsBase ? NullSelectorClearsBase : 0;

    /// <summary>Whether user mode's CPUID comes here.</summary>
    public bool AnswersUserMode { get; } = faults;

    /// <summary>One CPUID.</summary>
    public (uint Eax, uint Ebx, uint Ecx, uint Edx) Read(uint leaf, uint subleaf)
    {
        // Every process asks some thirty times when it starts, and on a host that is a virtual machine each costs an exit of its own.
        if ((leaf & ~ExtendedLeaf) >= KeptLeaves || subleaf >= KeptSubleaves)
            return Answer(leaf, subleaf);
        ref Registers? kept = ref _kept[(((leaf & ExtendedLeaf) != 0 ? KeptLeaves : 0) + (leaf & ~ExtendedLeaf)) * KeptSubleaves + subleaf];
        Registers registers = kept ??= new Registers(Answer(leaf, subleaf));
        return registers.Value;
    }

    private (uint Eax, uint Ebx, uint Ecx, uint Edx) Answer(uint leaf, uint subleaf)
    {
        (uint eax, uint ebx, uint ecx, uint edx) = ReadHardware(leaf, subleaf);
        return vectorStates is ulong states ? VectorPolicy.Limit(leaf, subleaf, states, eax, ebx, ecx, edx) : (eax, ebx, ecx, edx);
    }

    private (uint Eax, uint Ebx, uint Ecx, uint Edx) ReadHardware(uint leaf, uint subleaf)
    {
        if (leaf is >= XenBase and < XenBase + 0x100)
            return XenLeaf(leaf, subleaf);
        if (leaf is > XenBase and < 0x8000_0000)
            return default;
        (int a, int b, int c, int d) = X86Base.CpuId((int)leaf, (int)subleaf);
        (uint eax, uint ebx, uint ecx, uint edx) = ((uint)a, (uint)b, (uint)c, (uint)d);
        switch (leaf)
        {
            case 0:
                eax = Math.Max(eax, 0x16);
                break;
            case 1:
                ebx &= 0x0000_FFFF;
                ebx |= 1u << 16;
                ecx = (ecx & ~HiddenLeaf1Ecx) | Hypervisor;
                if ((ecx & Xsave) != 0)
                    ecx |= Osxsave;
                edx &= ~(HiddenLeaf1Edx | (1u << 28));
                break;
            case 4 or 0xB or 0x1F or 0x8000_001D or 0x8000_001E or 0x8000_0026:
                return default;
            case 5 or 6 or 9 or 0xA or 0xF or 0x10 or 0x12 or 0x14 or 0x1B or 0x1C:
                return default;
            case 7:
                if (subleaf == 0)
                {
                    eax = Math.Min(eax, 1);
                    ebx &= ~HiddenLeaf7Ebx;
                    ecx &= ~HiddenLeaf7Ecx;
                    edx = 0;
                }
                else
                {
                    (ebx, ecx, edx) = (0, 0, 0);
                    eax &= (1u << 4) | (1u << 5);
                }

                break;
            case 0xD:
                if (subleaf == 1)
                    (eax, ebx, ecx, edx) = (eax & 5, 0, 0, 0);
                break;
            case 0x15:
                return default;
            case 0x16:
                uint megahertz = (uint)(clock.TicksPerSecond / 1e6);
                return (megahertz, megahertz, 0, 0);
            case 0x8000_0001:
                ecx &= ~HiddenExtendedEcx;
                edx &= ~HiddenExtendedEdx;
                break;
            case 0x8000_0007:
                (eax, ebx, ecx, edx) = (0, 0, 0, edx & (1u << 8));
                break;
            case 0x8000_0008:
                (ebx, ecx) = (0, 0);
                break;
            case 0x8000_0021:
                // LFENCE serialises; a null selector clears its base (or kernels load every segment twice, by hypercall).
                (eax, ebx, ecx, edx) = ((eax & ((1u << 2) | NullSelectorClearsBase)) | _nullSelectorClearsBase, 0, 0, 0);
                break;
            case 0x8000_000A or 0x8000_001B or 0x8000_001C or 0x8000_001F or 0x8000_0020 or 0x8000_0022:
                return default;
            default:
                break;
        }

        return (eax, ebx, ecx, edx);
    }

    private (uint Eax, uint Ebx, uint Ecx, uint Edx) XenLeaf(uint leaf, uint subleaf) => (leaf - XenBase) switch
    {
        0 => (XenBase + 5, 0x566e_6558, 0x6558_4d4d, 0x4d4d_566e), // "XenVMMXenVMM"
        1 => (XenVersion, 0, 0, 0),
        2 => (0, 0, 1, 0), // no MSR page of hypercalls: a PV guest has its own; MMU_PT_UPDATE_PRESERVE_AD
        3 when subleaf == 0 => (0, 0, (uint)(clock.TicksPerSecond / 1000), 0), // the counter is the hardware's, in the default mode; kHz
        5 => (0, MachineAddressBits, 0, 0),
        _ => default,
    };

    /// <summary>An answer; whole or not there, whoever reads it meanwhile.</summary>
    private sealed record Registers((uint Eax, uint Ebx, uint Ecx, uint Edx) Value);
}
