using System.Buffers.Binary;
using Iced.Intel;
using Tessera.Plugins.Cpu.Software.Translation;
using Tessera.Sdk.Cpu;

namespace Tessera.Plugins.Cpu.Software;

// Accesses that would fault, or lie across two pages: some instructions look at their alignment first, some reach only elements that a mask names.
internal sealed unsafe partial class SoftwareCpu
{
    // SAFETY: guest memory only by Read and Write; vector registers by the vCPU's own area.

    /// <summary>MXCSR.MM of AMD's processors: operands need no alignment.</summary>
    private const ulong MisalignedMode = 1UL << 17;
    private const int MostElements = 8;

    /// <summary>An address was not canonical, while an instruction was carried out here.</summary>
    private bool _isNotCanonical;

    /// <summary>Of an address that is not canonical the fault is the stack's where the stack's segment is used.</summary>
    private void MayBeStackFault(in Instruction instruction, ref Trap trap)
    {
        bool hasMemory = instruction.MemorySize != MemorySize.Unknown && instruction.MemorySegment != Register.None && !instruction.IsStringInstruction;
        if (_isNotCanonical && trap is { Kind: TrapKind.Exception, Vector: Vectors.GeneralProtection } && (hasMemory ? instruction.MemorySegment == Register.SS : HasStackEffect(instruction)))
            trap.Vector = Vectors.StackFault;
    }

    /// <summary>Whether the instruction of an access that is to fault does something else; answers the step then.</summary>
    private bool GoesAnotherWay(ulong rip, ulong address, ref Trap trap, out Step step)
    {
        step = Step.Trap;
        return !TryDecode(rip, out Instruction instruction, ref trap) || GoesAnotherWay(instruction, address, ref trap, out step);
    }

    private bool GoesAnotherWay(in Instruction instruction, ulong address, ref Trap trap, out Step step)
    {
        if (instruction.Mnemonic is Mnemonic.Vmaskmovps or Mnemonic.Vmaskmovpd or Mnemonic.Vpmaskmovd or Mnemonic.Vpmaskmovq)
        {
            _isNotCanonical = false;
            step = CarryOutMaskedElements(instruction, address, ref trap);
            if (step == Step.LookUp)
                step = AfterInstruction(ref trap);
            else
                MayBeStackFault(instruction, ref trap);
            return true;
        }

        int alignment = instruction.Code.AlignmentOf(instruction.MemorySize.GetSize());
        bool misaligned = (address & (ulong)(alignment - 1)) != 0 && (_context[StateBlock.Mxcsr] & MisalignedMode) == 0;
        step = misaligned ? Raise(Vectors.GeneralProtection, 0, instruction.IP, ref trap) : default;
        return misaligned;
    }

    /// <summary>AVX's masked moves: an element whose mask has its top bit clear is not reached at all.</summary>
    private Step CarryOutMaskedElements(in Instruction instruction, ulong address, ref Trap trap)
    {
        _struck = 0;
        bool stores = instruction.Op0Kind == OpKind.Memory;
        Register register = instruction.GetOpRegister(stores ? 2 : 0);
        Span<byte> mask = Vector(VectorNumber(instruction.Op1Register));
        Span<byte> value = Vector(VectorNumber(register));
        int bytes = register.IsYMM() ? 32 : 16;
        int element = instruction.Mnemonic is Mnemonic.Vmaskmovps or Mnemonic.Vpmaskmovd ? 4 : 8;
        Span<byte> loaded = stackalloc byte[MostElements * sizeof(uint)];
        loaded.Clear();
        for (int place = 0; place < bytes; place += element)
        {
            bool wanted = element == sizeof(uint) ? BinaryPrimitives.ReadInt32LittleEndian(mask[place..]) < 0 : BinaryPrimitives.ReadInt64LittleEndian(mask[place..]) < 0;
            if (!wanted)
                continue;
            ulong at = Linear(instruction, address + (ulong)place);
            if (stores ? !Write(at, value.Slice(place, element), instruction.IP, ref trap) : !Read(at, loaded.Slice(place, element), instruction.IP, ref trap))
                return Step.Trap;
        }

        if (!stores)
            loaded.CopyTo(value);
        return Done(instruction);
    }
}
