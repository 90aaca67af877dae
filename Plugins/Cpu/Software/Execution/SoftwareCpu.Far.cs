using Iced.Intel;
using Tessera.Sdk.Cpu;

namespace Tessera.Plugins.Cpu.Software;

// Between code segments: far jumps, calls and returns, and `iret`, to 64-bit and to 32-bit code of ring 3.
internal sealed unsafe partial class SoftwareCpu
{
    // SAFETY: guest memory only by Read and Write.
    private const int MostFrameWords = 5;
    private const ulong LongBit = 1UL << 53;
    private const ulong WideBit = 1UL << 54;

    private ulong StackPointer => _state.Is32Bit ? (uint)_context.Register(StackRegister) : _context.Register(StackRegister);

    private void SetStackPointer(ulong value) => _context.Register(StackRegister) = _state.Is32Bit ? (uint)value : value;

    private Step GoFar(in Instruction instruction, ref Trap trap)
    {
        ulong rip = instruction.IP;
        int bytes;
        ulong selector;
        ulong offset;
        if (instruction.Op0Kind == OpKind.Memory)
        {
            bytes = instruction.Code switch
            {
                Code.Call_m1616 or Code.Jmp_m1616 => sizeof(ushort),
                Code.Call_m1632 or Code.Jmp_m1632 => sizeof(uint),
                _ => sizeof(ulong),
            };
            ulong address = AddressOf(instruction);
            if (!ReadWord(address, bytes, out offset, rip, ref trap) || !ReadWord(Linear(instruction, address + (ulong)bytes), sizeof(ushort), out selector, rip, ref trap))
                return Step.Trap;
        }
        else
        {
            selector = instruction.FarBranchSelector;
            (bytes, offset) = instruction.Op0Kind == OpKind.FarBranch16 ? (sizeof(ushort), instruction.FarBranch16) : (sizeof(uint), instruction.FarBranch32);
        }

        if (!TryCodeSegment((ushort)selector, offset, rip, out bool is32Bit, ref trap))
            return Step.Trap;
        if (instruction.Mnemonic == Mnemonic.Call)
        {
            Span<ulong> frame = [instruction.NextIP, _state.Cs];
            ulong to = StackPointer - (ulong)(2 * bytes);
            if (_state.Is32Bit)
                to = (uint)to;
            if (!WriteFrame(to, frame, bytes, rip, ref trap))
                return Step.Trap;
            SetStackPointer(to);
        }

        EnterSegment((ushort)selector, is32Bit);
        return GoNear(offset);
    }

    /// <summary>A far return: RIP and CS.</summary>
    private Step ReturnFar(in Instruction instruction, ref Trap trap)
    {
        int bytes = instruction.Code switch
        {
            Code.Retfw or Code.Retfw_imm16 => sizeof(ushort),
            Code.Retfd or Code.Retfd_imm16 => sizeof(uint),
            _ => sizeof(ulong),
        };
        Span<ulong> frame = stackalloc ulong[2];
        ulong at = StackPointer;
        if (!ReadFrame(at, frame, bytes, instruction.IP, ref trap) || !TryReturnTo((ushort)frame[1], frame[0], instruction.IP, out bool is32Bit, ref trap))
            return Step.Trap;
        SetStackPointer(at + (ulong)(2 * bytes) + (instruction.OpCount == 1 ? instruction.Immediate16 : 0UL));
        EnterSegment((ushort)frame[1], is32Bit);
        return GoNear(frame[0]);
    }

    /// <summary>`iret`: RIP, CS and RFLAGS, and of 64-bit code RSP and SS too.</summary>
    private Step ReturnFromInterrupt(in Instruction instruction, ref Trap trap)
    {
        int bytes = instruction.Mnemonic switch { Mnemonic.Iret => sizeof(ushort), Mnemonic.Iretd => sizeof(uint), _ => sizeof(ulong) };
        bool isLong = !_state.Is32Bit;
        Span<ulong> frame = stackalloc ulong[MostFrameWords];
        frame = frame[..(isLong ? MostFrameWords : 3)];
        ulong at = StackPointer;
        if (!ReadFrame(at, frame, bytes, instruction.IP, ref trap) || !TryReturnTo((ushort)frame[1], frame[0], instruction.IP, out bool is32Bit, ref trap))
            return Step.Trap;
        if (isLong)
        {
            ushort stack = (ushort)frame[4];
            if (!IsUsable(stack))
                return Raise(Vectors.GeneralProtection, (uint)(stack & ~3), instruction.IP, ref trap);
            _state.Ss = stack;
            _context.Register(StackRegister) = frame[3];
        }
        else
        {
            SetStackPointer(at + (ulong)(3 * bytes));
        }

        SetFlags(bytes == sizeof(ushort) ? (Flags() & ~0xffffUL) | frame[2] : frame[2]);
        EnterSegment((ushort)frame[1], is32Bit);
        return GoNear(frame[0]);
    }

    private bool ReadFrame(ulong at, Span<ulong> frame, int bytes, ulong rip, ref Trap trap)
    {
        for (int word = 0; word < frame.Length; word++)
        {
            ulong address = at + (ulong)(word * bytes);
            if (!ReadWord(_state.Is32Bit ? (uint)address : address, bytes, out frame[word], rip, ref trap))
                return false;
        }

        return true;
    }

    private bool WriteFrame(ulong at, ReadOnlySpan<ulong> frame, int bytes, ulong rip, ref Trap trap)
    {
        Span<byte> image = stackalloc byte[MostFrameWords * sizeof(ulong)];
        for (int word = 0; word < frame.Length; word++)
            System.Runtime.InteropServices.MemoryMarshal.AsBytes(frame.Slice(word, 1))[..bytes].CopyTo(image[(word * bytes)..]);
        return Write(at, image[..(frame.Length * bytes)], rip, ref trap);
    }

    private bool TryReturnTo(ushort selector, ulong offset, ulong rip, out bool is32Bit, ref Trap trap)
    {
        // A return to a more privileged ring is none.
        if ((selector & 3) == 3)
            return TryCodeSegment(selector, offset, rip, out is32Bit, ref trap);
        is32Bit = false;
        _ = Raise(Vectors.GeneralProtection, (uint)(selector & ~3), rip, ref trap);
        return false;
    }

    /// <summary>Whether a selector leads to code of ring 3, and which; false with the fault raised.</summary>
    private bool TryCodeSegment(ushort selector, ulong offset, ulong rip, out bool is32Bit, ref Trap trap)
    {
        const ulong SegmentOfRing3 = (1UL << 44) | CodeBit | (3UL << 45);
        uint errorCode = (uint)(selector & ~3);
        is32Bit = false;
        if (errorCode == 0 || !TryDescriptor(selector, out ulong descriptor) || (descriptor & SegmentOfRing3) != SegmentOfRing3
            || (descriptor & (LongBit | WideBit)) == (LongBit | WideBit))
        {
            _ = Raise(Vectors.GeneralProtection, errorCode, rip, ref trap);
            return false;
        }

        if ((descriptor >> 47 & 1) == 0)
        {
            _ = Raise(Vectors.SegmentNotPresent, errorCode, rip, ref trap);
            return false;
        }

        is32Bit = (descriptor & LongBit) == 0;
        if (is32Bit ? offset <= LimitOf(descriptor) : Memory.PageWalker.IsCanonical(offset))
            return true;
        _ = Raise(Vectors.GeneralProtection, 0, rip, ref trap);
        return false;
    }

    private void EnterSegment(ushort selector, bool is32Bit)
    {
        _modeIsStale |= is32Bit || _state.Is32Bit;
        (_state.Cs, _state.Is32Bit) = ((ushort)(selector | 3), is32Bit);
    }
}
