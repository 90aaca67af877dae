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
    private const uint SysenterCs = 0x174;
    private const uint SysenterEip = 0x176;
    private const uint MiscEnable = 0x1A0;
    private const uint PageAttributes = 0x277;
    private const uint Efer = 0xC000_0080;
    private const uint SystemCallTarget = 0xC000_0081;
    private const uint SystemCallMask = 0xC000_0084;
    private const uint FsBase = 0xC000_0100;
    private const uint GsBase = 0xC000_0101;
    private const uint KernelGsBase = 0xC000_0102;
    private const uint TscAux = 0xC000_0103;
    private const uint HardwareConfiguration = 0xC001_0015;
    private const ulong EferValue = 0xD01; // NXE LMA LME SCE
    private const ulong PageAttributesValue = 0x0007_0406_0007_0406;

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
            case ApicBase or MicrocodeRevision or MiscEnable or TscAux or HardwareConfiguration
                or (>= SysenterCs and <= SysenterEip) or (>= SystemCallTarget and <= SystemCallMask):
                value = 0;
                return true;
            default:
                value = 0;
                return false;
        }
    }

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
            // The kernel's own entry points and attributes are Xen's business: accepted and without effect, as Xen does.
            case Efer or PageAttributes or ApicBase or MicrocodeRevision or MiscEnable or TscAux
                or (>= SysenterCs and <= SysenterEip) or (>= SystemCallTarget and <= SystemCallMask):
                return true;
            default:
                return false;
        }
    }
}
