using System.Buffers.Binary;
using Iced.Intel;
using Tessera.Plugins.Cpu.Software.Memory;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Cpu.X64;

namespace Tessera.Plugins.Cpu.Software;

// Vector and x87 state as a whole, and the vector instructions that reach memory in many places.
internal sealed unsafe partial class SoftwareCpu
{
    // SAFETY: the vCPU's own area; guest memory only by Read and Write.
    private const int X87RegisterBytes = XsaveArea.XmmRegisters - XsaveArea.X87Registers;
    private const int MxcsrMaskPlace = XsaveArea.Mxcsr + sizeof(uint);

    private Step CarryOutState(in Instruction instruction, ref Trap trap)
    {
        switch (instruction.Mnemonic)
        {
            case Mnemonic.Xsave or Mnemonic.Xsave64 or Mnemonic.Xsaveopt or Mnemonic.Xsaveopt64:
                return SaveState(instruction, WantedComponents(), withHeader: true, ref trap);
            case Mnemonic.Fxsave or Mnemonic.Fxsave64:
                return SaveState(instruction, XsaveArea.X87 | XsaveArea.Sse, withHeader: false, ref trap);
            case Mnemonic.Xrstor or Mnemonic.Xrstor64:
                return RestoreState(instruction, WantedComponents(), withHeader: true, ref trap);
            case Mnemonic.Fxrstor or Mnemonic.Fxrstor64:
                return RestoreState(instruction, XsaveArea.X87 | XsaveArea.Sse, withHeader: false, ref trap);
            case Mnemonic.Fnstenv or Mnemonic.Fnsave:
                return StoreX87(instruction, ref trap);
            default:
                return NotKnown(instruction, ref trap);
        }
    }

    private ulong WantedComponents() => (uint)_context.Register(0) & _machine.Features.VectorStates;

    private Span<byte> X87 => new(_vectors.Start + VectorArea.X87, XsaveArea.Header);

    /// <summary>A vector register, which may be changed.</summary>
    private Span<byte> Vector(int register)
    {
        _vectors.Start[VectorArea.Wide] = 1;
        return new(_vectors.Start + VectorArea.Vectors + (register * 32), 32);
    }

    private Step SaveState(in Instruction instruction, ulong components, bool withHeader, ref Trap trap)
    {
        ulong address = AddressOf(instruction);
        if ((address & (withHeader ? 63UL : 15UL)) != 0)
            return Raise(Vectors.GeneralProtection, 0, instruction.IP, ref trap);
        Span<byte> area = stackalloc byte[XsaveArea.AvxEnd];
        area = area[..(!withHeader ? XsaveArea.Header : (components & XsaveArea.Avx) != 0 ? XsaveArea.AvxEnd : XsaveArea.UpperHalves)];
        // What is not asked for stays as it is in memory.
        if (!Read(address, area, instruction.IP, ref trap))
            return Step.Trap;
        if ((components & XsaveArea.X87) != 0)
        {
            HoldX87();
            X87[..XsaveArea.Mxcsr].CopyTo(area);
            X87.Slice(XsaveArea.X87Registers, X87RegisterBytes).CopyTo(area[XsaveArea.X87Registers..]);
        }

        for (int register = 0; register < VectorCount(instruction); register++)
        {
            if ((components & XsaveArea.Sse) != 0)
                Vector(register)[..16].CopyTo(area[(XsaveArea.XmmRegisters + (register * 16))..]);
            if ((components & XsaveArea.Avx) != 0)
                Vector(register)[16..].CopyTo(area[(XsaveArea.UpperHalves + (register * 16))..]);
        }

        if ((components & (XsaveArea.Sse | XsaveArea.Avx)) != 0)
        {
            BinaryPrimitives.WriteUInt32LittleEndian(area[XsaveArea.Mxcsr..], (uint)_context[StateBlock.Mxcsr]);
            BinaryPrimitives.WriteUInt32LittleEndian(area[MxcsrMaskPlace..], XsaveArea.MxcsrBits);
        }

        if (withHeader)
        {
            ulong present = BinaryPrimitives.ReadUInt64LittleEndian(area[XsaveArea.Header..]);
            BinaryPrimitives.WriteUInt64LittleEndian(area[XsaveArea.Header..], (present & ~components) | components);
        }

        return Write(address, area, instruction.IP, ref trap) ? Done(instruction) : Step.Trap;
    }

    private Step RestoreState(in Instruction instruction, ulong components, bool withHeader, ref Trap trap)
    {
        ulong address = AddressOf(instruction);
        if ((address & (withHeader ? 63UL : 15UL)) != 0)
            return Raise(Vectors.GeneralProtection, 0, instruction.IP, ref trap);
        Span<byte> area = stackalloc byte[XsaveArea.AvxEnd];
        area = area[..(!withHeader ? XsaveArea.Header : (components & XsaveArea.Avx) != 0 ? XsaveArea.AvxEnd : XsaveArea.UpperHalves)];
        if (!Read(address, area, instruction.IP, ref trap))
            return Step.Trap;
        ulong present = components;
        if (withHeader)
        {
            present = BinaryPrimitives.ReadUInt64LittleEndian(area[XsaveArea.Header..]);
            if ((present & ~_machine.Features.VectorStates) != 0 || area.Slice(XsaveArea.Header + 8, 16).ContainsAnyExcept((byte)0))
                return Raise(Vectors.GeneralProtection, 0, instruction.IP, ref trap);
        }

        uint mxcsr = BinaryPrimitives.ReadUInt32LittleEndian(area[XsaveArea.Mxcsr..]);
        if ((components & (XsaveArea.Sse | XsaveArea.Avx)) != 0 && (mxcsr & ~XsaveArea.MxcsrBits) != 0)
            return Raise(Vectors.GeneralProtection, 0, instruction.IP, ref trap);
        if ((components & XsaveArea.X87) != 0)
            RestoreX87(area, (present & XsaveArea.X87) != 0);
        for (int register = 0; register < VectorCount(instruction); register++)
        {
            if ((components & XsaveArea.Sse) != 0)
                Take(area, XsaveArea.XmmRegisters + (register * 16), (present & XsaveArea.Sse) != 0, Vector(register)[..16]);
            if ((components & XsaveArea.Avx) != 0)
                Take(area, XsaveArea.UpperHalves + (register * 16), (present & XsaveArea.Avx) != 0, Vector(register)[16..]);
        }

        if ((components & (XsaveArea.Sse | XsaveArea.Avx)) != 0)
            _context[StateBlock.Mxcsr] = (_context[StateBlock.Mxcsr] & ~(ulong)uint.MaxValue) | mxcsr;
        return Done(instruction);
    }

    private static void Take(ReadOnlySpan<byte> area, int place, bool present, Span<byte> to)
    {
        if (present)
            area.Slice(place, to.Length).CopyTo(to);
        else
            to.Clear();
    }

    /// <summary>The x87 registers are in memory, and loaded again when they are used next.</summary>
    private void HoldX87()
    {
        if (_context[StateBlock.X87Live] != 0)
            KeepX87();
    }

    private void RestoreX87(ReadOnlySpan<byte> area, bool present)
    {
        HoldX87();
        X87[..XsaveArea.Mxcsr].Clear();
        X87.Slice(XsaveArea.X87Registers, X87RegisterBytes).Clear();
        if (present)
        {
            area[..8].CopyTo(X87);
            area.Slice(XsaveArea.X87Registers, X87RegisterBytes).CopyTo(X87[XsaveArea.X87Registers..]);
        }
        else
        {
            BinaryPrimitives.WriteUInt16LittleEndian(X87, XsaveArea.InitialControlWord);
        }
    }

    /// <summary>`fnstenv` and `fnsave`, made from the image that FXSAVE wrote: natively they would show where the host's code lies.</summary>
    private Step StoreX87(in Instruction instruction, ref Trap trap)
    {
        const int EnvironmentBytes = 28;
        const int RegisterBytes = 10;
        const ushort AllMasked = 0x3f;
        bool isSave = instruction.Mnemonic == Mnemonic.Fnsave;
        int bytes = instruction.MemorySize.GetSize();
        if (bytes != (isSave ? EnvironmentBytes + (8 * RegisterBytes) : EnvironmentBytes))
            return NotKnown(instruction, ref trap);
        HoldX87();
        Span<byte> image = stackalloc byte[EnvironmentBytes + (8 * RegisterBytes)];
        image.Clear();
        ushort control = BinaryPrimitives.ReadUInt16LittleEndian(X87);
        ushort status = BinaryPrimitives.ReadUInt16LittleEndian(X87[2..]);
        BinaryPrimitives.WriteUInt32LittleEndian(image, 0xffff_0000u | control);
        BinaryPrimitives.WriteUInt32LittleEndian(image[4..], 0xffff_0000u | status);
        BinaryPrimitives.WriteUInt32LittleEndian(image[8..], 0xffff_0000u | FullTags(X87[4], (status >> 11) & 7));
        for (int register = 0; register < 8; register++)
            X87.Slice(XsaveArea.X87Registers + (register * 16), RegisterBytes).CopyTo(image[(EnvironmentBytes + (register * RegisterBytes))..]);
        if (!Write(AddressOf(instruction), image[..bytes], instruction.IP, ref trap))
            return Step.Trap;
        if (isSave)
            RestoreX87([], present: false);
        else
            BinaryPrimitives.WriteUInt16LittleEndian(X87, (ushort)(control | AllMasked));
        return Done(instruction);
    }

    /// <summary>Two bits a register, where FXSAVE keeps one: valid, zero, special, empty.</summary>
    private uint FullTags(byte used, int top)
    {
        uint tags = 0;
        for (int physical = 0; physical < 8; physical++)
        {
            uint tag = 3;
            if ((used >> physical & 1) != 0)
            {
                ReadOnlySpan<byte> value = X87.Slice(XsaveArea.X87Registers + (((physical - top) & 7) * 16), 10);
                ulong significand = BinaryPrimitives.ReadUInt64LittleEndian(value);
                int exponent = BinaryPrimitives.ReadUInt16LittleEndian(value[8..]) & 0x7fff;
                tag = exponent == 0 && significand == 0 ? 1u : exponent is 0 or 0x7fff || (long)significand >= 0 ? 2u : 0u;
            }

            tags |= tag << (physical * 2);
        }

        return tags;
    }

    /// <summary>AVX2's gathers: each element whose mask has its top bit set; the mask's elements are cleared as they come.</summary>
    private Step CarryOutGather(in Instruction instruction, ref Trap trap)
    {
        bool wideIndex = instruction.Mnemonic is Mnemonic.Vpgatherqd or Mnemonic.Vpgatherqq or Mnemonic.Vgatherqps or Mnemonic.Vgatherqpd;
        bool wideElement = instruction.Mnemonic is Mnemonic.Vpgatherdq or Mnemonic.Vpgatherqq or Mnemonic.Vgatherdpd or Mnemonic.Vgatherqpd;
        int elementBytes = wideElement ? 8 : 4;
        int destination = VectorNumber(instruction.Op0Register);
        int mask = VectorNumber(instruction.Op2Register);
        int index = VectorNumber(instruction.MemoryIndex);
        int indexRegisterBytes = instruction.MemoryIndex.IsYMM() ? 32 : 16;
        int destinationBytes = instruction.Op0Register.IsYMM() ? 32 : 16;
        int count = Math.Min(destinationBytes / elementBytes, indexRegisterBytes / (wideIndex ? 8 : 4));
        if (destination == mask || destination == index || mask == index)
            return Raise(Vectors.InvalidOpcode, 0, instruction.IP, ref trap);
        ulong start = AddressOf(instruction);
        for (int element = 0; element < count; element++)
        {
            Span<byte> wanted = Vector(mask).Slice(element * elementBytes, elementBytes);
            if ((wanted[^1] & 0x80) == 0)
            {
                wanted.Clear();
                continue;
            }

            long offset = wideIndex
                ? BinaryPrimitives.ReadInt64LittleEndian(Vector(index)[(element * 8)..])
                : BinaryPrimitives.ReadInt32LittleEndian(Vector(index)[(element * 4)..]);
            ulong address = Linear(instruction, start + (ulong)(offset * instruction.MemoryIndexScale));
            if (!Read(address, Vector(destination).Slice(element * elementBytes, elementBytes), instruction.IP, ref trap))
                return Step.Trap;
            wanted.Clear();
        }

        Vector(mask).Clear();
        Vector(destination)[(count * elementBytes)..].Clear();
        return Done(instruction);
    }

    private static int VectorNumber(Register register) => register.IsYMM() ? register - Register.YMM0 : register - Register.XMM0;

    /// <summary>Stores the bytes whose mask has its top bit set at RDI.</summary>
    private Step CarryOutMaskedMove(in Instruction instruction, ref Trap trap)
    {
        int dataOperand = instruction.OpCount - 2;
        bool isMmx = instruction.Mnemonic == Mnemonic.Maskmovq;
        if (isMmx)
            HoldX87();
        Register data = instruction.GetOpRegister(dataOperand);
        Register mask = instruction.GetOpRegister(dataOperand + 1);
        ReadOnlySpan<byte> values = isMmx ? X87.Slice(XsaveArea.X87Registers + ((data - Register.MM0) * 16), 8) : Vector(VectorNumber(data))[..16];
        ReadOnlySpan<byte> wanted = isMmx ? X87.Slice(XsaveArea.X87Registers + ((mask - Register.MM0) * 16), 8) : Vector(VectorNumber(mask))[..16];
        ulong address = (instruction.Op0Kind == OpKind.MemorySegEDI ? (uint)_context.Register(Rdi) : _context.Register(Rdi)) + SegmentBase(instruction);
        address = Linear(instruction, address);
        for (int index = 0; index < values.Length; index++)
        {
            if ((wanted[index] & 0x80) == 0 || Write(address + (ulong)index, values.Slice(index, 1), instruction.IP, ref trap))
                continue;
            // Processors name the operand, or where it comes into the page, not the first byte that is written.
            if (trap.Vector == Vectors.PageFault)
                trap.FaultAddress = Math.Max(address, trap.FaultAddress & ~(ulong)(Bytes4K - 1));
            return Step.Trap;
        }

        return Done(instruction);
    }
}
