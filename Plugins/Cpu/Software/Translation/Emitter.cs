using Iced.Intel;

namespace Tessera.Plugins.Cpu.Software.Translation;

/// <summary>
/// Writes machine code: the translator's own sequences byte by byte, guest instructions through Iced's encoder. Registers are the
/// hardware's numbers. The code is written through one mapping and runs in another, <see cref="Distance"/> bytes further on.
/// </summary>
internal sealed unsafe class Emitter(nint distance) : CodeWriter
{
    // SAFETY: Position stays inside the arena's writable mapping; the translator makes room before each block.
    private const int StackPointer = 4;

    /// <summary>Where the next byte is written.</summary>
    public byte* Position { get; set; }

    /// <summary>From the writable mapping to the executable one.</summary>
    public nint Distance { get; } = distance;

    /// <summary>Where the next byte will run.</summary>
    public nint Here => (nint)Position + Distance;

    /// <inheritdoc/>
    public override void WriteByte(byte value) => *Position++ = value;

    public void Byte(int value) => *Position++ = (byte)value;

    public void Bytes(ReadOnlySpan<byte> values)
    {
        values.CopyTo(new Span<byte>(Position, values.Length));
        Position += values.Length;
    }

    public void Int32(int value)
    {
        *(int*)Position = value;
        Position += sizeof(int);
    }

    public void Int64(ulong value)
    {
        *(ulong*)Position = value;
        Position += sizeof(ulong);
    }

    /// <summary>How many bytes lie on the translated stack: how far the state block is from RSP.</summary>
    public int Depth { get; set; }

    /// <summary>`op register, [state + offset]`.</summary>
    public void State(bool wide, int operation, int register, int offset)
    {
        Prefix(wide, register, 0, StackPointer);
        Operation(operation);
        StateOperand(register, offset);
    }

    /// <summary>`op register, [state + index*8 + offset]`.</summary>
    public void StateIndexed(bool wide, int operation, int register, int index, int offset)
    {
        Prefix(wide, register, index, StackPointer);
        Operation(operation);
        Byte(0x80 | ((register & 7) << 3) | 4);
        Byte(0xc0 | ((index & 7) << 3) | StackPointer);
        Int32(offset + Depth);
    }

    /// <summary>The rest of an instruction whose operand is in the state block: its address by RSP.</summary>
    public void StateOperand(int register, int offset)
    {
        offset += Depth;
        bool isShort = offset is >= -128 and <= 127;
        Byte((isShort ? 0x40 : 0x80) | ((register & 7) << 3) | 4);
        Byte(0x24);
        if (isShort)
            Byte(offset);
        else
            Int32(offset);
    }

    public void LoadState(int register, int offset) => State(wide: true, 0x8b, register, offset);

    public void StoreState(int offset, int register) => State(wide: true, 0x89, register, offset);

    public void PushState(int offset)
    {
        State(wide: false, 0xff, 6, offset);
        Depth += sizeof(ulong);
    }

    /// <summary>`pop [state + offset]`: its address is computed after RSP has moved.</summary>
    public void PopState(int offset)
    {
        Depth -= sizeof(ulong);
        State(wide: false, 0x8f, 0, offset);
    }

    /// <summary>`mov dword [state + offset], value`.</summary>
    public void StoreState32(int offset, int value)
    {
        State(wide: false, 0xc7, 0, offset);
        Int32(value);
    }

    /// <summary>`mov qword [state + offset], value`, through a register when the value is long.</summary>
    public void StoreState64(int offset, ulong value, int scratch)
    {
        if ((long)value == (int)value)
        {
            State(wide: true, 0xc7, 0, offset);
            Int32((int)value);
            return;
        }

        MoveImmediate(scratch, value);
        StoreState(offset, scratch);
    }

    /// <summary>`op register, register`.</summary>
    public void Registers(bool wide, int operation, int register, int other)
    {
        Prefix(wide, register, 0, other);
        Operation(operation);
        Byte(0xc0 | ((register & 7) << 3) | (other & 7));
    }

    public void Move(int destination, int source) => Registers(wide: true, 0x8b, destination, source);

    /// <summary>`op register, [@base + displacement]`.</summary>
    public void Memory(bool wide, int operation, int register, int @base, int displacement = 0)
    {
        Prefix(wide, register, 0, @base);
        Operation(operation);
        Operand(register, @base, displacement);
    }

    /// <summary>`lea destination, [@base + index * 2^scale + displacement]`; -1 is no register. Leaves the flags alone.</summary>
    public void LoadAddress(bool wide, int destination, int @base, int index, int scale, int displacement)
    {
        if (index < 0 && @base >= 0)
        {
            if (wide && displacement == 0)
                Move(destination, @base);
            else
                Memory(wide, 0x8d, destination, @base, displacement);
            return;
        }

        Prefix(wide, destination, Math.Max(index, 0), Math.Max(@base, 0));
        Byte(0x8d);
        int sib = (scale << 6) | ((index < 0 ? 4 : index & 7) << 3) | (@base < 0 ? 5 : @base & 7);
        bool isShort = displacement is >= -128 and <= 127;
        int mode = @base < 0 || (displacement == 0 && (@base & 7) != 5) ? 0 : isShort ? 1 : 2;
        Byte((mode << 6) | ((destination & 7) << 3) | 4);
        Byte(sib);
        if (@base < 0 || mode == 2)
            Int32(displacement);
        else if (mode == 1)
            Byte(displacement);
    }

    /// <summary>`lea destination, [@base + displacement]` with a displacement of 32 bits whatever its value: seven bytes.</summary>
    public void LoadAddressLong(int destination, int @base, int displacement)
    {
        Prefix(wide: true, destination, 0, @base);
        Byte(0x8d);
        Byte(0x80 | ((destination & 7) << 3) | (@base & 7));
        Int32(displacement);
    }

    /// <summary>Skips to where the four bytes after some others can be changed at once while another thread executes them.</summary>
    public void AlignForPatch(int bytesBefore)
    {
        int at = (int)((nint)Position + bytesBefore) & 15;
        int pad = at > 12 ? 16 - at : 0;
        Bytes(pad switch
        {
            1 => [0x90],
            2 => [0x66, 0x90],
            3 => [0x0f, 0x1f, 0x00],
            _ => [],
        });
    }

    /// <summary>`lea register, [register + value]`: an addition that leaves the flags alone.</summary>
    public void AddQuietly(int register, int value) => LoadAddress(wide: true, register, register, -1, 0, value);

    public void MoveImmediate(int register, ulong value)
    {
        if (value <= uint.MaxValue)
        {
            Prefix(wide: false, 0, 0, register);
            Byte(0xb8 | (register & 7));
            Int32((int)value);
        }
        else if ((long)value == (int)value)
        {
            Prefix(wide: true, 0, 0, register);
            Byte(0xc7);
            Byte(0xc0 | (register & 7));
            Int32((int)value);
        }
        else
        {
            Prefix(wide: true, 0, 0, register);
            Byte(0xb8 | (register & 7));
            Int64(value);
        }
    }

    /// <summary>An arithmetic operation with an immediate: /0 add, /1 or, /4 and, /5 sub, /7 cmp.</summary>
    public void Arithmetic(int extension, int register, int value, bool wide)
    {
        Prefix(wide, 0, 0, register);
        bool isShort = value is >= -128 and <= 127;
        Byte(isShort ? 0x83 : 0x81);
        Byte(0xc0 | (extension << 3) | (register & 7));
        if (isShort)
            Byte(value);
        else
            Int32(value);
    }

    /// <summary>`sub qword [state + offset], value`.</summary>
    public void SubtractState(int offset, int value)
    {
        bool isShort = value is >= -128 and <= 127;
        State(wide: true, isShort ? 0x83 : 0x81, 5, offset);
        if (isShort)
            Byte(value);
        else
            Int32(value);
    }

    /// <summary>`rorx destination, source, count` (BMI2).</summary>
    public void RotateQuietly(int destination, int source, int count)
    {
        Byte(0xc4);
        Byte((destination < 8 ? 0x80 : 0) | 0x40 | (source < 8 ? 0x20 : 0) | 3);
        Byte(0xfb);
        Byte(0xf0);
        Byte(0xc0 | ((destination & 7) << 3) | (source & 7));
        Byte(count);
    }

    /// <summary>`shr register, count`.</summary>
    public void ShiftRight(int register, int count)
    {
        Prefix(wide: true, 0, 0, register);
        Byte(0xc1);
        Byte(0xe8 | (register & 7));
        Byte(count);
    }

    /// <summary>`sar register, count`.</summary>
    public void ShiftRightSigned(int register, int count)
    {
        Prefix(wide: true, 0, 0, register);
        Byte(0xc1);
        Byte(0xf8 | (register & 7));
        Byte(count);
    }

    /// <summary>`neg register`, 32 bits.</summary>
    public void Negate(int register)
    {
        Prefix(wide: false, 0, 0, register);
        Byte(0xf7);
        Byte(0xd8 | (register & 7));
    }

    /// <summary>`pext destination, source, [state + offset]` (BMI2).</summary>
    public void ExtractState(int destination, int source, int offset)
    {
        Byte(0xc4);
        Byte((destination < 8 ? 0x80 : 0) | 0x40 | 0x20 | 2);
        Byte(0x80 | ((~source & 15) << 3) | 2);
        Byte(0xf5);
        StateOperand(destination, offset);
    }

    public void PushFlags()
    {
        Byte(0x9c);
        Depth += sizeof(ulong);
    }

    public void PopFlags()
    {
        Byte(0x9d);
        Depth -= sizeof(ulong);
    }

    /// <summary>Takes flags that were pushed off the stack unread.</summary>
    public void DropPushed()
    {
        Bytes([0x48, 0x8d, 0x64, 0x24, 0x08]); // lea rsp, [rsp + 8]
        Depth -= sizeof(ulong);
    }

    /// <summary>`jmp target`.</summary>
    public nint Jump(nint target)
    {
        nint place = JumpLater();
        Patch(place, target);
        return place;
    }

    /// <summary>`jmp` to what is patched in later; answers where.</summary>
    public nint JumpLater()
    {
        Byte(0xe9);
        Int32(0);
        return (nint)Position - sizeof(int);
    }

    /// <summary>A conditional jump to what is patched in later; answers where.</summary>
    public nint JumpIfLater(int condition)
    {
        Byte(0x0f);
        Byte(0x80 | condition);
        Int32(0);
        return (nint)Position - sizeof(int);
    }

    /// <summary>`jrcxz` over the jump that follows: goes on after it when RCX is 0, and where it is patched to else; answers where.</summary>
    public nint JumpUnlessZeroLater()
    {
        Byte(0xe3);
        Byte(5);
        return JumpLater();
    }

    /// <summary>Lets a jump go to a place in the executable mapping.</summary>
    /// <param name="place">Where its displacement lies in the writable mapping.</param>
    /// <param name="target">Where it goes, in the executable mapping.</param>
    public void Patch(nint place, nint target) => *(int*)place = (int)(target - (place + Distance + sizeof(int)));

    /// <summary>`jmp qword [state + index*8 + offset]`.</summary>
    public void JumpIndexed(int index, int offset) => StateIndexed(wide: false, 0xff, 4, index, offset);

    private void Prefix(bool wide, int register, int index, int @base)
    {
        int prefix = 0x40 | (wide ? 8 : 0) | ((register >> 3) << 2) | ((index >> 3) << 1) | (@base >> 3);
        if (prefix != 0x40)
            Byte(prefix);
    }

    private void Operation(int operation)
    {
        if (operation > 0xff)
            Byte(operation >> 8);
        Byte(operation);
    }

    /// <summary>The rest of an instruction whose operand is at `[@base + displacement]`.</summary>
    public void Operand(int register, int @base, int displacement)
    {
        bool isShort = displacement is >= -128 and <= 127;
        int mode = displacement == 0 && (@base & 7) != 5 ? 0 : isShort ? 1 : 2;
        Byte((mode << 6) | ((register & 7) << 3) | (@base & 7));
        if ((@base & 7) == 4)
            Byte(0x24);
        if (mode == 1)
            Byte(displacement);
        else if (mode == 2)
            Int32(displacement);
    }
}
