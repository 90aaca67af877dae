using Iced.Intel;
using Tessera.Plugins.Cpu.Software.Memory;
using Tessera.Sdk.Cpu;

namespace Tessera.Plugins.Cpu.Software;

// String instructions with addresses of 32 or 16 bits: those of 32-bit code, and those with an address-size prefix.
internal sealed unsafe partial class SoftwareCpu
{
    // SAFETY: pointers come from Pointer for the page in hand, and runs end at its end.
    private Step CarryOutNarrowString(StringKind kind, in Instruction instruction, ref Trap trap)
    {
        int bytes = instruction.MemorySize.GetSize();
        bool repeats = instruction.HasRepPrefix || instruction.HasRepnePrefix;
        ulong mask = AddressMaskOf(instruction);
        long left = BytesAtOnce;
        while (!repeats || (_context.Register(Rcx) & mask) != 0)
        {
            if (left <= 0 || _struck != 0)
            {
                // Long ones are interruptible: the registers say how far it is.
                _context[StateBlock.Rip] = instruction.IP;
                if (_struck == 0)
                    _context[StateBlock.Budget] = 0;
                return Step.LookUp;
            }

            int done = repeats && !_watching && (_context[StateBlock.Flags] & DirectionFlag) == 0 && kind is StringKind.Store or StringKind.Move
                ? NarrowRun(kind, bytes, mask, instruction, ref trap) : 0;
            if (done < 0 || (done == 0 && !NarrowOne(kind, bytes, mask, instruction, ref trap)))
                return Step.Trap;
            left -= Math.Max(done, 1) * (long)bytes;
            if (!repeats)
                break;
            Advance(Rcx, (ulong)-Math.Max(done, 1), mask);
            if (kind is StringKind.Scan or StringKind.Compare && ((_context[StateBlock.Flags] & ZeroFlag) != 0) == instruction.HasRepnePrefix)
                break;
        }

        return Done(instruction);
    }

    private static ulong AddressMaskOf(in Instruction instruction)
    {
        for (int operand = 0; operand < instruction.OpCount; operand++)
        {
            if (instruction.GetOpKind(operand) is OpKind.MemorySegSI or OpKind.MemorySegDI or OpKind.MemoryESDI)
                return ushort.MaxValue;
        }

        return uint.MaxValue;
    }

    /// <summary>Adds to a register of the address's size: 32 bits clear those above, 16 leave them.</summary>
    private void Advance(int register, ulong by, ulong mask)
    {
        ref ulong whole = ref _context.Register(register);
        ulong value = (whole + by) & mask;
        whole = mask == ushort.MaxValue ? (whole & ~mask) | value : value;
    }

    private ulong NarrowSource(in Instruction instruction, ulong mask) =>
        Linear(instruction, (_context.Register(Rsi) & mask) + NarrowBase(instruction));

    private ulong NarrowBase(in Instruction instruction) => instruction.MemorySegment switch
    {
        Register.FS => _context[StateBlock.FsBase],
        Register.GS => _context[StateBlock.GsBase],
        _ => 0,
    };

    /// <summary>As many elements as lie whole in the pages in hand; 0 for none, -1 with the trap raised.</summary>
    private int NarrowRun(StringKind kind, int bytes, ulong mask, in Instruction instruction, ref Trap trap)
    {
        ulong target = _context.Register(Rdi) & mask;
        ulong source = NarrowSource(instruction, mask);
        long room = Math.Min(Bytes4K - (long)(target & (Bytes4K - 1)), (long)(mask - target) + 1);
        if (kind == StringKind.Move)
            room = Math.Min(room, Math.Min(Bytes4K - (long)(source & (Bytes4K - 1)), (long)(mask - (_context.Register(Rsi) & mask)) + 1));
        int count = (int)Math.Min((ulong)(room / bytes), _context.Register(Rcx) & mask);
        if (count == 0)
            return 0;
        byte* from = null;
        if (kind == StringKind.Move)
        {
            from = Pointer(source, Access.Read, instruction.IP, ref trap);
            if (from == null)
                return -1;
        }

        byte* to = Pointer(target, Access.Write, instruction.IP, ref trap);
        if (to == null)
            return -1;
        int length = count * bytes;
        if (kind == StringKind.Store)
            Fill(to, bytes, count, _context.Register(0));
        else if (to > from && to < from + length)
            Forwards(from, to, bytes, count);
        else
            Buffer.MemoryCopy(from, to, length, length);
        Advance(Rdi, (ulong)length, mask);
        if (kind == StringKind.Move)
            Advance(Rsi, (ulong)length, mask);
        return count;
    }

    private bool NarrowOne(StringKind kind, int bytes, ulong mask, in Instruction instruction, ref Trap trap)
    {
        ulong rip = instruction.IP;
        ulong step = (_context[StateBlock.Flags] & DirectionFlag) != 0 ? (ulong)-bytes : (ulong)bytes;
        ulong target = _context.Register(Rdi) & mask;
        ulong value = _context.Register(0);
        if (kind is StringKind.Move or StringKind.Load or StringKind.Compare && !ReadWord(NarrowSource(instruction, mask), bytes, out value, rip, ref trap))
            return false;
        switch (kind)
        {
            case StringKind.Load:
                SetRegister(bytes switch { 1 => Register.AL, 2 => Register.AX, 4 => Register.EAX, _ => Register.RAX }, value);
                break;
            case StringKind.Store or StringKind.Move:
                if (!WriteWord(target, bytes, value, rip, ref trap))
                    return false;
                break;
            default:
                if (!ReadWord(target, bytes, out ulong other, rip, ref trap))
                    return false;
                SetFlagsOfComparison(value, other, bytes);
                break;
        }

        if (kind is StringKind.Move or StringKind.Load or StringKind.Compare)
            Advance(Rsi, step, mask);
        if (kind != StringKind.Load)
            Advance(Rdi, step, mask);
        return true;
    }
}
