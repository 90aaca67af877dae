using Iced.Intel;
using Tessera.Plugins.Cpu.Software.Memory;

namespace Tessera.Plugins.Cpu.Software.Translation;

// How guest memory is reached: the address into R11, then the TLB's check, which leaves a host address in R11.
internal sealed unsafe partial class Translator
{
    // SAFETY: only writes through the emitter.
    private const int Above = 7;
    private const int PageBytes = 4096;

    private static int NumberOf(Register register) => register.GetFullRegister() - Register.RAX;

    /// <summary>A guest address, given by its distance from the start of the page, into a register. Leaves the flags alone.</summary>
    private void LoadGuestAddress(int register, ulong distance, bool isNarrow)
    {
        _emit.LoadState(register, StateBlock.PageBase);
        long left = isNarrow ? (int)distance : (long)distance;
        while (left != 0 || isNarrow)
        {
            // A displacement of the instruction plus its place in the page may be more than 32 bits.
            int part = (int)Math.Clamp(left, int.MinValue, int.MaxValue);
            _emit.LoadAddress(!isNarrow, register, register, -1, 0, part);
            left -= part;
            if (left == 0)
                break;
        }
    }

    private void LoadGuestAddress(int register, ulong distance) => LoadGuestAddress(register, distance, isNarrow: (Mode & CodeMode.Compat) != 0);

    /// <summary>The operand's address into R11; uses RCX, leaves the flags alone.</summary>
    private void Address(in Instruction instruction, bool withSegment)
    {
        if (instruction.CodeSize == CodeSize.Code32)
        {
            AddressCompat(instruction, withSegment);
            return;
        }

        if (instruction.IsIPRelativeMemoryOperand)
        {
            LoadGuestAddress(Thunks.R11, instruction.MemoryDisplacement64, isNarrow: instruction.MemoryBase == Register.EIP);
        }
        else
        {
            int @base = instruction.MemoryBase == Register.None ? -1 : Thunks.Host(NumberOf(instruction.MemoryBase));
            int index = instruction.MemoryIndex == Register.None ? -1 : Thunks.Host(NumberOf(instruction.MemoryIndex));
            int scale = System.Numerics.BitOperations.Log2((uint)instruction.MemoryIndexScale);
            if (instruction.MemoryIndex != Register.None && index < 0)
                _emit.LoadState(index = Thunks.Rcx, StateBlock.Register(NumberOf(instruction.MemoryIndex)));
            if (instruction.MemoryBase != Register.None && @base < 0)
                _emit.LoadState(@base = Thunks.R11, StateBlock.Register(NumberOf(instruction.MemoryBase)));
            bool is32Bit = instruction.MemoryBase.IsGPR32() || instruction.MemoryIndex.IsGPR32();
            if (@base < 0 && index < 0)
                _emit.MoveImmediate(Thunks.R11, instruction.MemoryDisplacement64);
            else
                _emit.LoadAddress(!is32Bit, Thunks.R11, @base, index, scale, (int)instruction.MemoryDisplacement64);
        }

        if (withSegment && instruction.SegmentPrefix is Register.FS or Register.GS)
        {
            _emit.LoadState(Thunks.Rcx, instruction.SegmentPrefix == Register.FS ? StateBlock.FsBase : StateBlock.GsBase);
            _emit.LoadAddress(wide: true, Thunks.R11, Thunks.R11, Thunks.Rcx, 0, 0);
        }
    }

    /// <summary>
    /// Turns the guest address in R11 into a host address, or leaves for <see cref="ExitReason.Miss"/>. Uses RCX. The flags survive if they are
    /// wanted.
    /// </summary>
    /// <param name="rip">The instruction.</param>
    /// <param name="bytes">How many are reached.</param>
    /// <param name="write">Whether they are written.</param>
    /// <param name="flagsWanted">Whether the flags must survive.</param>
    /// <param name="retry">Code that computes the address again.</param>
    /// <param name="isStack">Whether the address is the stack pointer's.</param>
    /// <param name="isSpecial">Whether the instruction looks at its alignment before it faults, or at a mask.</param>
    private void Check(ulong rip, int bytes, bool write, bool flagsWanted, nint retry, bool isStack = false, bool isSpecial = false)
    {
        (_held, _at) = (-1, 0);
        if (_operand != 0)
        {
            _emit.MoveImmediate(Thunks.R11, (ulong)_operand);
            return;
        }

        bytes = Math.Max(bytes, 1);
        Site place = new((int)rip, retry, bytes, write, isStack, _before, isSpecial);
        int site = _alone is null ? Sites.Add(place) : _alone.Add(place);
        ColdCode miss = new() { What = ColdCode.Kind.Miss, Number = site };
        CheckReach(bytes, write, flagsWanted, ref miss);
    }

    /// <summary>The check itself.</summary>
    /// <param name="bytes">How many are reached.</param>
    /// <param name="write">Whether they are written.</param>
    /// <param name="flagsWanted">Whether the flags must survive.</param>
    /// <param name="miss">Where it leads when it fails.</param>
    private void CheckReach(int bytes, bool write, bool flagsWanted, ref ColdCode miss)
    {
        int tags = write ? StateBlock.TlbWrite : StateBlock.TlbRead;
        if (flagsWanted && _features.BitManipulation)
        {
            _emit.ExtractState(Thunks.Rcx, Thunks.R11, StateBlock.TlbMask);
            _emit.StateIndexed(wide: true, 0x8b, Thunks.Rcx, Thunks.Rcx, tags);
            _emit.LoadAddress(wide: true, Thunks.Rcx, Thunks.Rcx, Thunks.R11, 0, bytes - 1);
            _emit.ExtractState(Thunks.Rcx, Thunks.Rcx, StateBlock.OffsetMask);
            miss.Place = _emit.JumpUnlessZeroLater();
            _emit.ExtractState(Thunks.Rcx, Thunks.R11, StateBlock.TlbMask);
            _emit.StateIndexed(wide: true, 0x8b, Thunks.Rcx, Thunks.Rcx, StateBlock.TlbDelta);
            _emit.LoadAddress(wide: true, Thunks.R11, Thunks.R11, Thunks.Rcx, 0, 0);
        }
        else
        {
            miss.FlagsPushed = flagsWanted || _flagsAside;
            miss.Argument = tags;
            if (flagsWanted)
                _emit.PushFlags();
            TlbSlot();
            _emit.StateIndexed(wide: true, 0x03, Thunks.R11, Thunks.Rcx, tags);
            _emit.Arithmetic(7, Thunks.R11, PageBytes - bytes, wide: true);
            miss.Place = _emit.JumpIfLater(Above);
            _emit.StateIndexed(wide: true, 0x03, Thunks.R11, Thunks.Rcx, StateBlock.TlbHost);
            if (flagsWanted)
                _emit.PopFlags();
        }

        _cold.Add(miss);
    }

    private void TlbSlot()
    {
        if (_features.BitManipulation)
        {
            _emit.RotateQuietly(Thunks.Rcx, Thunks.R11, 12);
        }
        else
        {
            _emit.Move(Thunks.Rcx, Thunks.R11);
            _emit.ShiftRight(Thunks.Rcx, 12);
        }

        _emit.Arithmetic(4, Thunks.Rcx, StateBlock.TlbEntries - 1, wide: false);
    }

    /// <summary>The stack's word at a distance from a register that points into it: reached by R11, <see cref="_at"/> behind it.</summary>
    private void Stack(ulong rip, int distance, bool write, bool flagsWanted, int pointer = Thunks.GuestRsp)
    {
        if (_alone is null && _groups.Stack(_before) is { Group: >= 0 } member)
        {
            if (!TryHold(member))
            {
                _emit.LoadAddress(wide: true, Thunks.R11, pointer, -1, 0, distance - _at);
                CheckGroup(member.Group, flagsWanted);
            }

            return;
        }

        nint retry = _emit.Here;
        _emit.LoadAddress(wide: true, Thunks.R11, pointer, -1, 0, distance);
        Check(rip, sizeof(ulong), write, flagsWanted, retry, isStack: true);
    }

    /// <summary>The memory operand: reached by R11, <see cref="_at"/> behind it.</summary>
    private void Operand(in Instruction instruction, int bytes, bool write, bool flagsWanted)
    {
        if (_alone is null && _groups.Operand(_before) is { Group: >= 0 } member)
        {
            if (!TryHold(member))
            {
                Instruction first = instruction;
                first.MemoryDisplacement64 -= (ulong)_at;
                Address(first, withSegment: true);
                CheckGroup(member.Group, flagsWanted);
            }

            return;
        }

        nint retry = _emit.Here;
        Address(instruction, withSegment: true);
        bool isSpecial = instruction.Code.AlignmentOf(bytes) > 1 || instruction.Mnemonic is Mnemonic.Vmaskmovps or Mnemonic.Vmaskmovpd or Mnemonic.Vpmaskmovd or Mnemonic.Vpmaskmovq;
        Check(instruction.IP, bytes, write, flagsWanted, retry, instruction.MemoryBase is Register.RSP or Register.RBP, isSpecial);
    }
}
