using System.Runtime.InteropServices;
using Iced.Intel;
using Tessera.Plugins.Cpu.Software.Memory;
using Tessera.Sdk.Cpu;

namespace Tessera.Plugins.Cpu.Software;

// String instructions, as much at once as lies in one page of each side.
internal sealed unsafe partial class SoftwareCpu
{
    // SAFETY: pointers come from Pointer for the page in hand, and runs end at its end.

    /// <summary>A repeated instruction comes back to be looked at after so many bytes, with RIP still on it.</summary>
    private const long BytesAtOnce = 64 << 10;

    /// <summary>Bytes that `rep movs` and `rep stos` copy or fill in the time of an instruction.</summary>
    private const int BytesPerWork = 32;
    private const int Rcx = 1;
    private const int Rsi = 6;
    private const int Rdi = 7;

    private enum StringKind
    {
        Store,
        Move,
        Load,
        Scan,
        Compare,
    }

    private Step CarryOutString(in Instruction instruction, ref Trap trap)
    {
        StringKind kind = instruction.Mnemonic switch
        {
            Mnemonic.Stosb or Mnemonic.Stosw or Mnemonic.Stosd or Mnemonic.Stosq => StringKind.Store,
            Mnemonic.Movsb or Mnemonic.Movsw or Mnemonic.Movsd or Mnemonic.Movsq => StringKind.Move,
            Mnemonic.Lodsb or Mnemonic.Lodsw or Mnemonic.Lodsd or Mnemonic.Lodsq => StringKind.Load,
            Mnemonic.Scasb or Mnemonic.Scasw or Mnemonic.Scasd or Mnemonic.Scasq => StringKind.Scan,
            _ => StringKind.Compare,
        };
        if (IsNarrow(instruction))
            return CarryOutNarrowString(kind, instruction, ref trap);
        int bytes = instruction.MemorySize.GetSize();
        bool repeats = instruction.HasRepPrefix || instruction.HasRepnePrefix;
        long left = BytesAtOnce;
        while (!repeats || _context.Register(Rcx) != 0)
        {
            if (left <= 0 || _struck != 0)
            {
                // Long ones are interruptible: the registers say how far it is.
                _context[StateBlock.Rip] = instruction.IP;
                return _struck == 0 ? Step.Look : Step.LookUp;
            }

            int run = repeats && !_watching && (_context[StateBlock.Flags] & DirectionFlag) == 0 && kind is StringKind.Store or StringKind.Move ? RunLength(kind, bytes, SegmentBase(instruction)) : 0;
            if (run > 0 ? !Run(kind, bytes, run, instruction, ref trap) : !One(kind, bytes, instruction, ref trap))
                return Step.Trap;
            left -= Math.Max(run, 1) * (long)bytes;
            if (!repeats)
                break;
            ulong before = _context.Register(Rcx);
            _context.Register(Rcx) -= (ulong)Math.Max(run, 1);
            Charge(WorkOf(kind, before, bytes) - WorkOf(kind, _context.Register(Rcx), bytes));
            if (kind is StringKind.Scan or StringKind.Compare && ((_context[StateBlock.Flags] & ZeroFlag) != 0) == instruction.HasRepnePrefix)
                break;
        }

        return Done(instruction);
    }

    /// <summary>What so many elements count, so that the parts of a repeated instruction add up to the same however it is cut: comparisons one each, copies by the vector.</summary>
    private static long WorkOf(StringKind kind, ulong elements, int bytes) =>
        (long)(kind is StringKind.Store or StringKind.Move ? elements / (ulong)(BytesPerWork / bytes) : elements);

    private static bool IsNarrow(in Instruction instruction)
    {
        for (int operand = 0; operand < instruction.OpCount; operand++)
        {
            if (instruction.GetOpKind(operand) is OpKind.MemorySegESI or OpKind.MemoryESEDI or OpKind.MemorySegSI or OpKind.MemoryESDI or OpKind.MemorySegEDI or OpKind.MemorySegDI)
                return true;
        }

        return false;
    }

    /// <summary>How many elements lie whole in the pages in hand.</summary>
    private int RunLength(StringKind kind, int bytes, ulong segment)
    {
        long room = Bytes4K - (long)(_context.Register(Rdi) & (Bytes4K - 1));
        if (kind == StringKind.Move)
            room = Math.Min(room, Bytes4K - (long)((_context.Register(Rsi) + segment) & (Bytes4K - 1)));
        return (int)Math.Min((ulong)(room / bytes), _context.Register(Rcx));
    }

    private bool Run(StringKind kind, int bytes, int count, in Instruction instruction, ref Trap trap)
    {
        byte* from = null;
        if (kind == StringKind.Move)
        {
            from = Pointer(_context.Register(Rsi) + SegmentBase(instruction), Access.Read, instruction.IP, ref trap);
            if (from == null)
                return false;
        }

        byte* to = Pointer(_context.Register(Rdi), Access.Write, instruction.IP, ref trap);
        if (to == null)
            return false;
        int length = count * bytes;
        if (kind == StringKind.Store)
            Fill(to, bytes, count, _context.Register(0));
        else if (to > from && to < from + length)
            Forwards(from, to, bytes, count);
        else
            Buffer.MemoryCopy(from, to, length, length);
        _context.Register(Rdi) += (ulong)length;
        if (kind == StringKind.Move)
            _context.Register(Rsi) += (ulong)length;
        return true;
    }

    private static void Fill(byte* to, int bytes, int count, ulong value)
    {
        switch (bytes)
        {
            case 1:
                new Span<byte>(to, count).Fill((byte)value);
                break;
            case 2:
                new Span<ushort>(to, count).Fill((ushort)value);
                break;
            case 4:
                new Span<uint>(to, count).Fill((uint)value);
                break;
            default:
                new Span<ulong>(to, count).Fill(value);
                break;
        }
    }

    /// <summary>Element by element: where the two overlap, what was written is read again.</summary>
    private static void Forwards(byte* from, byte* to, int bytes, int count)
    {
        for (int element = 0; element < count; element++, from += bytes, to += bytes)
        {
            switch (bytes)
            {
                case 1:
                    *to = *from;
                    break;
                case 2:
                    *(ushort*)to = *(ushort*)from;
                    break;
                case 4:
                    *(uint*)to = *(uint*)from;
                    break;
                default:
                    *(ulong*)to = *(ulong*)from;
                    break;
            }
        }
    }

    private bool One(StringKind kind, int bytes, in Instruction instruction, ref Trap trap)
    {
        ulong rip = instruction.IP;
        ulong step = (_context[StateBlock.Flags] & DirectionFlag) != 0 ? (ulong)-bytes : (ulong)bytes;
        ulong source = _context.Register(Rsi) + SegmentBase(instruction);
        ulong value = _context.Register(0);
        if (kind is StringKind.Move or StringKind.Load or StringKind.Compare && !ReadWord(source, bytes, out value, rip, ref trap))
            return false;
        switch (kind)
        {
            case StringKind.Load:
                SetRegister(bytes switch { 1 => Register.AL, 2 => Register.AX, 4 => Register.EAX, _ => Register.RAX }, value);
                break;
            case StringKind.Store or StringKind.Move:
                if (!WriteWord(_context.Register(Rdi), bytes, value, rip, ref trap))
                    return false;
                break;
            default:
                if (!ReadWord(_context.Register(Rdi), bytes, out ulong other, rip, ref trap))
                    return false;
                SetFlagsOfComparison(value, other, bytes);
                break;
        }

        if (kind is StringKind.Move or StringKind.Load or StringKind.Compare)
            _context.Register(Rsi) += step;
        if (kind != StringKind.Load)
            _context.Register(Rdi) += step;
        return true;
    }

    private void SetFlagsOfComparison(ulong left, ulong right, int bytes)
    {
        int top = (bytes * 8) - 1;
        ulong mask = bytes == sizeof(ulong) ? ulong.MaxValue : (1UL << (bytes * 8)) - 1;
        left &= mask;
        right &= mask;
        ulong result = (left - right) & mask;
        ulong flags = _context[StateBlock.Flags] & ~ArithmeticFlags;
        flags |= left < right ? CarryFlag : 0;
        flags |= (System.Numerics.BitOperations.PopCount(result & 0xff) & 1) == 0 ? 4UL : 0;
        flags |= (left & 15) < (right & 15) ? 0x10UL : 0;
        flags |= result == 0 ? ZeroFlag : 0;
        flags |= (result >> top & 1) != 0 ? 0x80UL : 0;
        flags |= (((left ^ right) & (left ^ result)) >> top & 1) != 0 ? 0x800UL : 0;
        _context[StateBlock.Flags] = flags;
    }
}
