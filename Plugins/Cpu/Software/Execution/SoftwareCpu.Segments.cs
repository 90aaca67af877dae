using Iced.Intel;
using Tessera.Plugins.Cpu.Software.Memory;
using Tessera.Sdk;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Cpu.X64;

namespace Tessera.Plugins.Cpu.Software;

// Selectors and descriptors: the guest's own tables, and the flat segments at 0xe000 and up, which have Xen's values.
internal sealed unsafe partial class SoftwareCpu
{
    // SAFETY: descriptors are read where GuestFrames says a frame of the tables is, eight bytes at an index below 512.
    private const int DescriptorsPerFrame = 512;
    private const int MostGlobalFrames = 14;
    private const int MostLocalFrames = 16;
    private const ushort FirstFlatSelector = 0xe000;
    private const ushort FlatCode32 = 0xe023;
    private const uint ControlRegister0 = 0x8005_0033;
    private const ushort TableLimit = 0xefff;

    /// <summary>Present, ring 3, and data (writable) or code (readable), with base 0 and limit 4 GiB.</summary>
    private const ulong FlatDataDescriptor = 0x00cf_f300_0000_ffff;
    private const ulong FlatCode32Descriptor = 0x00cf_fb00_0000_ffff;
    private const ulong FlatCode64Descriptor = 0x00af_fb00_0000_ffff;

    private Mfn[] _globalFrames = [];
    private Mfn[] _localFrames = [];
    private int _globalEntries;
    private int _localEntries;

    /// <inheritdoc/>
    public void SetDescriptorTables(in GuestDescriptorTables tables)
    {
        ThrowUnlessHeld(tables.GdtFrames, tables.GdtEntries, MostGlobalFrames, nameof(tables.GdtEntries));
        ThrowUnlessHeld(tables.LdtFrames, tables.LdtEntries, MostLocalFrames, nameof(tables.LdtEntries));
        (_globalFrames, _globalEntries) = (tables.GdtFrames.ToArray(), tables.GdtEntries);
        (_localFrames, _localEntries) = (tables.LdtFrames.ToArray(), tables.LdtEntries);
    }

    private void ThrowUnlessHeld(ReadOnlySpan<Mfn> frames, int entries, int most, string name)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(entries, name);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(entries, Math.Min(frames.Length, most) * DescriptorsPerFrame, name);
        foreach (Mfn frame in frames)
        {
            if (_machine.Frames.At(frame.Address) == null)
                throw new ArgumentOutOfRangeException(name, $"frame {frame.Value} is not the machine's");
        }
    }

    private static bool HasSegmentOperand(in Instruction instruction) => instruction.Mnemonic == Mnemonic.Mov
        && ((instruction.Op0Kind == OpKind.Register && instruction.Op0Register.IsSegmentRegister())
            || (instruction.Op1Kind == OpKind.Register && instruction.Op1Register.IsSegmentRegister()));

    private static bool IsDescriptorInstruction(Mnemonic mnemonic) => mnemonic is Mnemonic.Lar or Mnemonic.Lsl or Mnemonic.Verr or Mnemonic.Verw
        or Mnemonic.Lss or Mnemonic.Lfs or Mnemonic.Lgs or Mnemonic.Lds or Mnemonic.Les;

    private Step CarryOutSegment(in Instruction instruction, ref Trap trap)
    {
        ulong rip = instruction.IP;
        switch (instruction.Mnemonic)
        {
            case Mnemonic.Mov when instruction.Op0Kind == OpKind.Register && instruction.Op0Register.IsSegmentRegister():
                if (instruction.Op0Register == Register.CS)
                    return Raise(Vectors.InvalidOpcode, 0, rip, ref trap);
                ulong selector = instruction.Op1Kind == OpKind.Register ? GetRegister(instruction.Op1Register) : 0;
                if (instruction.Op1Kind == OpKind.Memory && !ReadWord(AddressOf(instruction), sizeof(ushort), out selector, rip, ref trap))
                    return Step.Trap;
                return TryLoadSelector(instruction.Op0Register, (ushort)selector, rip, ref trap) ? Done(instruction) : Step.Trap;
            case Mnemonic.Mov:
                return StoreValue(instruction, SelectorOf(instruction.Op1Register), sizeof(ushort), ref trap);
            case Mnemonic.Lss or Mnemonic.Lfs or Mnemonic.Lgs or Mnemonic.Lds or Mnemonic.Les:
                return LoadFarPointer(instruction, ref trap);
            default:
                return AskDescriptor(instruction, ref trap);
        }
    }

    /// <summary>A value into a register, zero-extended, or so many bytes of it into memory.</summary>
    private Step StoreValue(in Instruction instruction, ulong value, int bytes, ref Trap trap)
    {
        if (instruction.Op0Kind == OpKind.Memory)
            return WriteWord(AddressOf(instruction), bytes, value, instruction.IP, ref trap) ? Done(instruction) : Step.Trap;
        SetRegister(instruction.Op0Register, value);
        return Done(instruction);
    }

    private Step LoadFarPointer(in Instruction instruction, ref Trap trap)
    {
        int bytes = instruction.Op0Register.GetSize();
        ulong address = AddressOf(instruction);
        if (!ReadWord(address, bytes, out ulong offset, instruction.IP, ref trap)
            || !ReadWord(Linear(instruction, address + (ulong)bytes), sizeof(ushort), out ulong selector, instruction.IP, ref trap))
        {
            return Step.Trap;
        }

        Register segment = instruction.Mnemonic switch
        {
            Mnemonic.Lss => Register.SS,
            Mnemonic.Lds => Register.DS,
            Mnemonic.Les => Register.ES,
            Mnemonic.Lfs => Register.FS,
            _ => Register.GS,
        };
        if (!TryLoadSelector(segment, (ushort)selector, instruction.IP, ref trap))
            return Step.Trap;
        SetRegister(instruction.Op0Register, offset);
        return Done(instruction);
    }

    /// <summary>`lar`, `lsl`, `verr`, `verw`: ZF says whether ring 3 may use the segment.</summary>
    private Step AskDescriptor(in Instruction instruction, ref Trap trap)
    {
        int source = instruction.OpCount - 1;
        ulong selector = 0;
        if (instruction.GetOpKind(source) == OpKind.Register)
            selector = GetRegister(instruction.GetOpRegister(source));
        else if (!ReadWord(AddressOf(instruction), sizeof(ushort), out selector, instruction.IP, ref trap))
            return Step.Trap;
        bool found = TryDescriptor((ushort)selector, out ulong descriptor) && IsSegment(descriptor) && ((int)(descriptor >> 45) & 3) == 3;
        bool isCode = (descriptor >> 43 & 1) != 0;
        bool readOrWrite = (descriptor >> 41 & 1) != 0;
        found &= instruction.Mnemonic switch
        {
            Mnemonic.Verr => !isCode || readOrWrite,
            Mnemonic.Verw => !isCode && readOrWrite,
            _ => true,
        };
        SetFlag(ZeroFlag, found);
        if (found && instruction.Mnemonic == Mnemonic.Lar)
            SetRegister(instruction.Op0Register, (descriptor >> 32) & 0x00f0_ff00);
        else if (found && instruction.Mnemonic == Mnemonic.Lsl)
            SetRegister(instruction.Op0Register, LimitOf(descriptor));
        return Done(instruction);
    }

    private Step CarryOutStore(in Instruction instruction, ref Trap trap)
    {
        switch (instruction.Mnemonic)
        {
            case Mnemonic.Smsw:
                return StoreValue(instruction, ControlRegister0 | (_state.TaskSwitched ? 8u : 0), sizeof(ushort), ref trap);
            case Mnemonic.Sldt or Mnemonic.Str:
                return StoreValue(instruction, 0, sizeof(ushort), ref trap);
            default:
                // A limit and no address: where the VMM has its tables is not the guest's to know.
                Span<byte> table = stackalloc byte[10];
                table.Clear();
                System.Buffers.Binary.BinaryPrimitives.WriteUInt16LittleEndian(table, TableLimit);
                return Write(AddressOf(instruction), instruction.CodeSize == CodeSize.Code32 ? table[..6] : table, instruction.IP, ref trap) ? Done(instruction) : Step.Trap;
        }
    }

    private ushort SelectorOf(Register register) => register switch
    {
        Register.CS => _state.Cs,
        Register.SS => _state.Ss,
        Register.DS => _state.Ds,
        Register.ES => _state.Es,
        Register.FS => _state.Fs,
        _ => _state.Gs,
    };

    private bool TryLoadSelector(Register register, ushort selector, ulong rip, ref Trap trap)
    {
        uint errorCode = (uint)(selector & ~3);
        ulong descriptor = 0;
        if (errorCode == 0)
        {
            if (register == Register.SS)
            {
                _ = Raise(Vectors.GeneralProtection, 0, rip, ref trap);
                return false;
            }
        }
        else
        {
            bool isStack = register == Register.SS;
            if (!TryDescriptor(selector, out descriptor) || !(isStack ? IsStackSegment(descriptor) && (selector & 3) == 3 : IsReadable(descriptor)))
            {
                _ = Raise(Vectors.GeneralProtection, errorCode, rip, ref trap);
                return false;
            }

            if ((descriptor >> 47 & 1) == 0)
            {
                _ = Raise(isStack ? Vectors.StackFault : Vectors.SegmentNotPresent, errorCode, rip, ref trap);
                return false;
            }
        }

        _modeIsStale |= _state.Is32Bit;
        ulong @base = ((descriptor >> 16) & 0xff_ffff) | ((descriptor >> 32) & 0xff00_0000);
        switch (register)
        {
            case Register.SS:
                _state.Ss = selector;
                break;
            case Register.DS:
                _state.Ds = selector;
                break;
            case Register.ES:
                _state.Es = selector;
                break;
            case Register.FS:
                _state.Fs = selector;
                _context[StateBlock.FsBase] = @base;
                break;
            default:
                _state.Gs = selector;
                _context[StateBlock.GsBase] = @base;
                break;
        }

        return true;
    }

    private bool IsUsable(ushort stack) => (stack & ~3) == 0 || (TryDescriptor(stack, out ulong descriptor) && IsStackSegment(descriptor));

    private static bool IsSegment(ulong descriptor) => (descriptor >> 44 & 1) != 0;

    private static bool IsReadable(ulong descriptor) => IsSegment(descriptor) && ((descriptor >> 43 & 1) == 0 || (descriptor >> 41 & 1) != 0) && ((descriptor >> 45) & 3) == 3;

    private static bool IsStackSegment(ulong descriptor) => IsSegment(descriptor) && (descriptor >> 43 & 1) == 0 && (descriptor >> 41 & 1) != 0 && ((descriptor >> 45) & 3) == 3;

    private static ulong LimitOf(ulong descriptor)
    {
        ulong limit = (descriptor & 0xffff) | ((descriptor >> 32) & 0xf_0000);
        return (descriptor >> 55 & 1) != 0 ? (limit << 12) | 0xfff : limit;
    }

    private bool TryDescriptor(ushort selector, out ulong descriptor)
    {
        descriptor = 0;
        if (selector >= FirstFlatSelector && (selector & 4) == 0)
        {
            descriptor = (selector | 3) switch
            {
                FlatCode32 => FlatCode32Descriptor,
                FlatData => FlatDataDescriptor,
                FlatCode64 => FlatCode64Descriptor,
                _ => 0,
            };
            return descriptor != 0;
        }

        bool isLocal = (selector & 4) != 0;
        int index = selector >> 3;
        if (index >= (isLocal ? _localEntries : _globalEntries) || (index == 0 && !isLocal))
            return false;
        byte* frame = _machine.Frames.At((isLocal ? _localFrames : _globalFrames)[index / DescriptorsPerFrame].Address);
        if (frame == null)
            return false;
        descriptor = ((ulong*)frame)[index % DescriptorsPerFrame];
        return true;
    }
}
