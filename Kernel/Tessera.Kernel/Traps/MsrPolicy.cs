using Tessera.Kernel.Domains;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Cpu.X64;

namespace Tessera.Kernel.Traps;

/// <summary>The model-specific registers that a PV guest's kernel may read and write; others raise #GP, as on hardware without them.</summary>
internal static class MsrPolicy
{
    private const uint TimeStampCounter = 0x10;
    private const uint ApicBase = 0x1B;
    private const uint MicrocodeRevision = 0x8B;
    private const uint PlatformInformation = 0xCE;
    private const uint MaximumPerformance = 0xE7;
    private const uint ActualPerformance = 0xE8;
    private const uint MiscFeatures = 0x140;
    private const uint MachineCheckCapability = 0x179;
    private const uint MachineCheckControl = 0x17B;
    private const uint MiscEnable = 0x1A0;
    private const uint PageAttributes = 0x277;
    private const uint PerformanceCapabilities = 0x345;
    private const uint BankControl = 0x400;
    private const uint Banks = 2;
    private const uint RegistersOfABank = 4;
    private const uint HypercallPage = 0x4000_0000;
    private const uint Efer = 0xC000_0080;
    private const uint FsBase = 0xC000_0100;
    private const uint GsBase = 0xC000_0101;
    private const uint KernelGsBase = 0xC000_0102;
    private const uint TscAux = 0xC000_0103;
    private const uint HardwareConfiguration = 0xC001_0015;
    private const uint EventSelect = 0xC001_0000;
    private const uint CoreCounters = 8;
    private const uint NorthbridgeConfiguration = 0xC001_001F;
    private const uint PerformanceState = 0xC001_0061;
    private const uint PerformanceStates = 11;
    private const uint ExtendedEventSelect = 0xC001_0200;
    private const uint ExtendedCounters = 12;
    private const uint DecodeConfiguration = 0xC001_1029;
    private const ulong LfenceSerializes = 2;
    private const ulong ApicBaseValue = 0xFEE0_0900; // enabled, of the first CPU
    private const ulong EferValue = 0xD01; // NXE LMA LME SCE
    private const ulong PageAttributesValue = 0x0000_0501_0007_0406; // Xen's: WB WT UC- UC WC WP

    /// <summary>RDMSR.</summary>
    public static bool TryRead(Vcpu vcpu, uint register, out ulong value)
    {
        ref GuestCpuState state = ref vcpu.Cpu.State;
        switch (register)
        {
            case Efer:
                value = EferValue;
                return true;
            case FsBase:
                value = state.FsBase;
                return true;
            case GsBase:
                value = state.GsBase;
                return true;
            case KernelGsBase:
                value = vcpu.Context.GsBaseUser;
                return true;
            case PageAttributes:
                value = PageAttributesValue;
                return true;
            case TimeStampCounter:
                value = vcpu.Domain.Host.Clock.Counter + (ulong)vcpu.CounterShift;
                return true;
            case ApicBase:
                value = ApicBaseValue;
                return true;
            case MicrocodeRevision or MiscEnable or TscAux or HardwareConfiguration:
                value = 0;
                return true;
            default:
                value = HardwareValue(register);
                return IsHardware(register);
        }
    }

    /// <summary>Guests see the host's vendor: "Genu", "ineI", "ntel".</summary>
    private static readonly bool IsIntel = System.Runtime.Intrinsics.X86.X86Base.CpuId(0, 0).Ebx == 0x756E_6547;

    /// <summary>WRMSR.</summary>
    public static bool TryWrite(Vcpu vcpu, uint register, ulong value)
    {
        ref GuestCpuState state = ref vcpu.Cpu.State;
        bool canonical = (ulong)((long)(value << 16) >> 16) == value;
        switch (register)
        {
            case FsBase when canonical:
                state.FsBase = value;
                return true;
            case GsBase when canonical:
                state.GsBase = value;
                return true;
            case KernelGsBase when canonical:
                vcpu.Context.GsBaseUser = value;
                return true;
            case Efer:
                return value == EferValue;
            case TscAux:
                return value <= uint.MaxValue;
            // Intel has kernels write 0 before they read it.
            case MicrocodeRevision:
                return value == 0 && IsIntel;
            case MiscFeatures:
                return value == 0;
            // A bank has one register that takes what it is given; its status and addresses take zeros.
            case >= BankControl and < BankControl + (Banks * RegistersOfABank):
                return (register - BankControl) % RegistersOfABank == 0 || value == 0;
            case MiscEnable or HardwareConfiguration or ActualPerformance or MaximumPerformance or (>= MachineCheckCapability and <= MachineCheckControl)
                or (>= EventSelect and < EventSelect + CoreCounters) or (>= PerformanceState and < PerformanceState + PerformanceStates)
                or (>= ExtendedEventSelect and < ExtendedEventSelect + ExtendedCounters) or NorthbridgeConfiguration or DecodeConfiguration:
                return true;
            default:
                return false;
        }
    }

    // Registers of performance and of machine checks that Xen shows a guest on a processor of AMD's: there, and still.
    private static bool IsHardware(uint register) => register is 0 or 1 or PlatformInformation or MiscFeatures or PerformanceCapabilities or HypercallPage
        or (>= MachineCheckCapability and <= MachineCheckControl) or (>= BankControl and < BankControl + (Banks * RegistersOfABank))
        or (>= EventSelect and < EventSelect + CoreCounters) or (>= PerformanceState and < PerformanceState + PerformanceStates)
        or (>= ExtendedEventSelect and < ExtendedEventSelect + ExtendedCounters) or NorthbridgeConfiguration or DecodeConfiguration;

    private static ulong HardwareValue(uint register) => register switch
    {
        MachineCheckCapability => Banks,
        DecodeConfiguration => LfenceSerializes,
        >= BankControl and < BankControl + (Banks * RegistersOfABank) when (register - BankControl) % RegistersOfABank == 0 => ulong.MaxValue,
        _ => 0,
    };
}
