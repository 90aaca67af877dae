using Iced.Intel;
using Tessera.Kernel.Domains;
using Tessera.Sdk;
using Tessera.Sdk.Cpu.X64;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Traps;

/// <summary>
/// A guest's control registers by `mov` in kernel mode: CR0 has one bit to change, TS; CR2 is vcpu_info's; CR3 is the kernel's page-table
/// root; CR4
/// is what it is. CR8 raises #GP, as with Xen.
/// </summary>
internal static class ControlRegisters
{
    private const ulong TaskSwitched = 8;
    private const ulong Cr0 = 0x8005_0033; // PG AM WP NE ET MP PE
    private const ulong Cr4 = 0x0004_0660; // OSXSAVE OSXMMEXCPT OSFXSR PAE MCE off

    /// <summary>Reads one; false raises #GP.</summary>
    public static bool TryRead(Vcpu vcpu, Register register, out ulong value)
    {
        value = register switch
        {
            Register.CR0 => Cr0 | (vcpu.Cpu.State.TaskSwitched ? TaskSwitched : 0),
            Register.CR2 => vcpu.Context.Info.FaultAddress,
            Register.CR3 => vcpu.Domain.Mmu.GuestRoot(vcpu.Index, userMode: false).Address,
            Register.CR4 => Cr4,
            _ => 0,
        };
        return register is Register.CR0 or Register.CR2 or Register.CR3 or Register.CR4;
    }

    /// <summary>Writes one; false raises #GP. What a guest may not change of CR4 stays as it is.</summary>
    public static bool TryWrite(Vcpu vcpu, Register register, ulong value)
    {
        switch (register)
        {
            case Register.CR0:
                if ((value & ~TaskSwitched) != Cr0)
                    return false;
                vcpu.Cpu.State.TaskSwitched = (value & TaskSwitched) != 0;
                return true;
            case Register.CR2:
                vcpu.Context.Info.FaultAddress = value;
                return true;
            case Register.CR3:
                // Another root may have to be validated first, which takes long: that is for MMUEXT_NEW_BASEPTR, which can stop and go on.
                return vcpu.Domain.Mmu.GuestRoot(vcpu.Index, userMode: false) == PageTableEntry.FrameOf(value);
            default:
                return register == Register.CR4;
        }
    }
}
