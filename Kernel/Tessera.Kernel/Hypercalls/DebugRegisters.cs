using Tessera.Sdk;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Cpu.X64;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Hypercalls;

/// <summary>A guest's debug registers, by hypercall and by `mov` in kernel mode: DR0 to DR3, DR6 and DR7; 4 and 5 are other names of 6 and 7.</summary>
internal static class DebugRegisters
{
    private const ulong Dr6Fixed = 0xFFFF_0FF0;
    private const ulong Dr7Fixed = 0x400;
    private const ulong Dr7Reserved = 0xFFFF_FFFF_0000_D800;
    private const ulong Dr7GeneralDetect = 1 << 13;

    /// <summary>Writes one. EPERM for breakpoints on the VMM's addresses and on ports, EINVAL for bits above the lower 32 of DR6 and DR7, ENODEV for a number there is not.</summary>
    public static XenErrno Set(ref GuestCpuState state, ulong number, ulong value)
    {
        switch (number)
        {
            case <= 3 when !new VirtualAddress(value).IsCanonical || value is >= HypervisorRange.Start and < HypervisorRange.End:
                return XenErrno.EPERM;
            case 0:
                state.Dr0 = value;
                return XenErrno.Success;
            case 1:
                state.Dr1 = value;
                return XenErrno.Success;
            case 2:
                state.Dr2 = value;
                return XenErrno.Success;
            case 3:
                state.Dr3 = value;
                return XenErrno.Success;
            case <= 7 when value > uint.MaxValue:
                return XenErrno.EINVAL;
            case 4 or 6:
                state.Dr6 = (value & 0xE00F) | Dr6Fixed;
                return XenErrno.Success;
            case 5 or 7:
                if ((value & Dr7GeneralDetect) != 0 || HasPortBreakpoint(value))
                    return XenErrno.EPERM;
                state.Dr7 = (value & ~Dr7Reserved) | Dr7Fixed;
                return XenErrno.Success;
            default:
                return XenErrno.ENODEV;
        }
    }

    /// <summary>Reads one; false for a number there is not.</summary>
    public static bool TryGet(in GuestCpuState state, ulong number, out ulong value)
    {
        value = number switch
        {
            0 => state.Dr0,
            1 => state.Dr1,
            2 => state.Dr2,
            3 => state.Dr3,
            4 or 6 => state.Dr6,
            5 or 7 => state.Dr7,
            _ => 0,
        };
        return number <= 7;
    }

    /// <summary>Whether an enabled breakpoint is of the kind "port" (R/W = 2).</summary>
    private static bool HasPortBreakpoint(ulong control)
    {
        for (int index = 0; index < 4; index++)
        {
            if (((control >> (2 * index)) & 3) != 0 && ((control >> (16 + (4 * index))) & 3) == 2)
                return true;
        }

        return false;
    }
}
