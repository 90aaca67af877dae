using Tessera.Plugins.Cpu.Kvm.Native;

namespace Tessera.Plugins.Cpu.Kvm;

/// <summary>Says in words why a guest cannot go on.</summary>
internal static unsafe class ExitDiagnosis
{
    // SAFETY: reads the exit's detail in the live run area of the vCPU.
    public static string Describe(VcpuHandle vcpu)
    {
        string where = $"at rip 0x{vcpu.Regs->Rip:x}, ring {vcpu.Sregs->Cs.Selector & 3}, rsp 0x{vcpu.Regs->Rsp:x}, cr2 0x{vcpu.Sregs->Cr2:x}, cr3 0x{vcpu.Sregs->Cr3:x}";
        return vcpu.ExitReason switch
        {
            ExitReason.Mmio => $"{(vcpu.Mmio->IsWrite != 0 ? "write to" : "read of")} machine address 0x{vcpu.Mmio->PhysicalAddress:x}, "
                + $"which the machine {(vcpu.Mmio->IsWrite != 0 ? "may not write" : "does not have")}, {where}",
            ExitReason.Shutdown => $"triple fault {where}",
            ExitReason.FailEntry => $"the CPU refused to enter the guest (hardware reason 0x{vcpu.Detail(0):x}) {where}",
            ExitReason.InternalError => $"KVM could not emulate an instruction (suberror {(uint)vcpu.Detail(0)}) {where}",
            uint reason => $"unexpected KVM exit {reason} {where}",
        };
    }
}
