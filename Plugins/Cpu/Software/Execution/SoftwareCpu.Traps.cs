using Iced.Intel;
using Tessera.Plugins.Cpu.Software.Native;
using Tessera.Sdk.Cpu;

namespace Tessera.Plugins.Cpu.Software;

// How guest code's faults become traps.
internal sealed unsafe partial class SoftwareCpu
{
    // SAFETY: reads the state block only.
    private Step Raise(byte vector, uint errorCode, ulong rip, ref Trap trap)
    {
        _struck = 0;
        Save(rip);
        // A fault of the instruction that RF lets pass comes back to it.
        if (rip == _resumed)
            _state.Rflags |= ResumeFlag;
        trap = new Trap { Kind = TrapKind.Exception, Vector = vector, ErrorCode = errorCode, IsInterruptible = true };
        return Step.Trap;
    }

    private Step RaisePageFault(uint errorCode, ulong address, ulong rip, ref Trap trap)
    {
        _ = Raise(Vectors.PageFault, errorCode, rip, ref trap);
        trap.FaultAddress = address;
        return Step.Trap;
    }

    private Step Outside(ulong address, ulong machineAddress, ulong rip, ref Trap trap) =>
        Fatal($"page tables lead from 0x{address:x} to 0x{machineAddress:x}, memory that the machine does not have, at rip 0x{rip:x}", rip, ref trap);

    private Step Fatal(string diagnosis, ulong rip, ref Trap trap)
    {
        Save(rip);
        trap = new Trap { Kind = TrapKind.Fatal, IsInterruptible = true, Diagnosis = diagnosis };
        return Step.Trap;
    }

    /// <summary>The host's processor faulted: what it would have been in the guest.</summary>
    private Step HostFault(ref Trap trap)
    {
        _bouncing = false;
        (int offset, int before) = _translator.PlaceOf(_context[StateBlock.FaultInstruction], _alone);
        ulong rip = RipAt(offset);
        Charge(before);
        switch ((int)_context[StateBlock.FaultSignal])
        {
            case NativeCalls.ArithmeticFault:
                if (!TryDecode(rip, out Instruction instruction, ref trap))
                    return Step.Trap;
                byte vector = instruction.Mnemonic is Mnemonic.Div or Mnemonic.Idiv ? Vectors.DivideError
                    : Translation.CodeFacts.CpuidFeaturesAreX87(instruction.Code) ? Vectors.X87Error : Vectors.VectorError;
                return Raise(vector, 0, rip, ref trap);
            case NativeCalls.IllegalInstruction:
                return Raise(Vectors.InvalidOpcode, 0, rip, ref trap);
            default:
                // Every address was checked: what is left are operands that are not aligned as their instruction wants, faults without an address. One
                // with an address is an access that passed the checks and should not have; its domain does not go on from there.
                if (_context[StateBlock.FaultAddress] is not 0 and var reached)
                    return Fatal($"translated code reached 0x{reached:x} of the host at rip 0x{rip:x}; please report this", rip, ref trap);
                return Raise(Vectors.GeneralProtection, 0, rip, ref trap);
        }
    }
}
