using Iced.Intel;
using Tessera.Plugins.Cpu.Software.Memory;
using Tessera.Plugins.Cpu.Software.Native;
using Tessera.Plugins.Cpu.Software.Translation;
using Tessera.Sdk.Cpu;

namespace Tessera.Plugins.Cpu.Software;

// Guest memory: TLB misses, accesses across pages, writes into translated code, and what C# reads and writes itself.
internal sealed unsafe partial class SoftwareCpu
{
    // SAFETY: pointers come from the walker for one page each; copies stay inside those pages and the bounce buffer.
    private bool _bouncing;
    private bool _bounceWrites;
    private byte* _bounceFirst;
    private byte* _bounceSecond;
    private int _bounceFirstBytes;
    private int _bounceSecondBytes;

    /// <summary>An access that missed the TLB: the page is entered and the access tried again, or the fault raised.</summary>
    private Step Miss(in Site site, ref nint code, ref Trap trap)
    {
        ulong rip = RipAt(site.Offset);
        ulong address = _context[StateBlock.Address];
        ulong last = address + (ulong)site.Bytes - 1;
        Access access = site.IsWrite ? Access.Write : Access.Read;
        bool isCanonical = PageWalker.IsCanonical(address) && PageWalker.IsCanonical(last) && !(_state.Is32Bit && last > uint.MaxValue);
        if (isCanonical)
            Note(address, site.Bytes, site.IsWrite);
        bool wasCode = false;
        bool isFilled = isCanonical && (address ^ last) >> 12 == 0 && TryFill(address, access, rip, out wasCode, ref trap);
        if (isFilled && !wasCode && site.Retry != 0 && !IsWatched(address, access))
        {
            code = site.Retry;
            return Step.Enter;
        }

        // The block is left here.
        Charge(site.Before);
        if (!isCanonical)
            return site.IsSpecial && GoesAnotherWay(rip, address, ref trap, out Step step) ? step : Raise(site.IsStack ? Vectors.StackFault : Vectors.GeneralProtection, 0, rip, ref trap);
        if ((address ^ last) >> 12 != 0)
            return Across(site, rip, address, access, ref code, ref trap);
        if (!isFilled)
            return site.IsSpecial && GoesAnotherWay(rip, address, ref trap, out Step other) ? other : Step.Trap;
        if (IsWatched(address, access))
            return WatchedAccess(rip, address, ref code, ref trap);
        // Perhaps the very block that runs, or a copy whose two pages may have the same place in the TLB: this one instruction, then what is there now.
        if (!TryDecode(rip, out Instruction instruction, ref trap))
            return Step.Trap;
        if (_translator.TreatmentOf(instruction) == Treatment.Inlined)
            return Helped(instruction, ref trap);
        code = TranslateAlone(instruction, 0);
        return Step.Enter;
    }

    /// <summary>Walks to a page, enters it into the TLB, and forgets code that a write is about to change.</summary>
    private bool TryFill(ulong address, Access access, ulong rip, out bool wasCode, ref Trap trap)
    {
        wasCode = false;
        if (!_machine.Walker.Walk(_context.Root, address, access, out Walked at))
        {
            _ = at.IsOutside ? Outside(address, at.Address, rip, ref trap) : RaisePageFault(at.ErrorCode, address, rip, ref trap);
            return false;
        }

        bool holdsCode = _machine.Frames.HoldsCode(at.Address);
        if (holdsCode && access == Access.Write)
        {
            _machine.InvalidateCode(at.Address);
            FollowCode();
            (wasCode, holdsCode) = (true, false);
        }

        bool writable = at.IsWritable && !holdsCode && (access == Access.Write || !_machine.HasLog);
        if (writable)
            _machine.Frames.MarkWritten(at.Address);
        _context.Fill(address, at.Host - (address & (Bytes4K - 1)), writable, at.Origin);
        HideWatched(address);
        return true;
    }

    /// <summary>A host address for one page's part of an access of C#'s own; null with the trap raised.</summary>
    private byte* Pointer(ulong address, Access access, ulong rip, ref Trap trap)
    {
        if (!PageWalker.IsCanonical(address))
        {
            _isNotCanonical = true;
            _ = Raise(Vectors.GeneralProtection, 0, rip, ref trap);
            return null;
        }

        int slot = RootContext.SlotOf(address) * 8;
        int tags = access == Access.Write ? StateBlock.TlbWrite : StateBlock.TlbRead;
        if (_context[tags + slot] != 0 - (address & ~(ulong)(Bytes4K - 1)) && !TryFill(address, access, rip, out _, ref trap))
            return null;
        return (byte*)(_context[StateBlock.TlbDelta + slot] + address);
    }

    /// <summary>Whether an access does not reach into addresses that are not canonical; that is found before whatever is wrong with its first page.</summary>
    private bool EndsCanonical(ulong address, int bytes, ulong rip, ref Trap trap)
    {
        if (PageWalker.IsCanonical(address + (ulong)bytes - 1))
            return true;
        _isNotCanonical = true;
        _ = Raise(Vectors.GeneralProtection, 0, rip, ref trap);
        return false;
    }

    /// <summary>Reads guest memory; false with the trap raised.</summary>
    private bool Read(ulong address, Span<byte> to, ulong rip, ref Trap trap)
    {
        int first = Math.Min(to.Length, Bytes4K - (int)(address & (Bytes4K - 1)));
        if (first < to.Length && !EndsCanonical(address, to.Length, rip, ref trap))
            return false;
        byte* at = Pointer(address, Access.Read, rip, ref trap);
        if (at == null)
            return false;
        Note(address, first, isWrite: false);
        new ReadOnlySpan<byte>(at, first).CopyTo(to);
        return first == to.Length || Read(address + (ulong)first, to[first..], rip, ref trap);
    }

    /// <summary>Writes guest memory, all or nothing; false with the trap raised.</summary>
    private bool Write(ulong address, ReadOnlySpan<byte> from, ulong rip, ref Trap trap)
    {
        int first = Math.Min(from.Length, Bytes4K - (int)(address & (Bytes4K - 1)));
        if (first < from.Length && !EndsCanonical(address, from.Length, rip, ref trap))
            return false;
        byte* at = Pointer(address, Access.Write, rip, ref trap);
        if (at == null)
            return false;
        byte* next = null;
        if (first < from.Length)
        {
            next = Pointer(address + (ulong)first, Access.Write, rip, ref trap);
            if (next == null)
                return false;
        }

        Note(address, from.Length, isWrite: true);
        from[..first].CopyTo(new Span<byte>(at, first));
        if (next != null)
            from[first..].CopyTo(new Span<byte>(next, from.Length - first));
        return true;
    }

    /// <summary>Whether memory may be written; false with the trap raised.</summary>
    private bool MayWrite(ulong address, int bytes, ulong rip, ref Trap trap)
    {
        ulong last = address + (ulong)bytes - 1;
        return EndsCanonical(address, bytes, rip, ref trap) && Pointer(address, Access.Write, rip, ref trap) != null
            && ((address ^ last) < Bytes4K || Pointer(last & ~(ulong)(Bytes4K - 1), Access.Write, rip, ref trap) != null);
    }

    private bool ReadWord(ulong address, int bytes, out ulong value, ulong rip, ref Trap trap)
    {
        value = 0;
        fixed (ulong* pointer = &value)
            return Read(address, new Span<byte>(pointer, bytes), rip, ref trap);
    }

    private bool WriteWord(ulong address, int bytes, ulong value, ulong rip, ref Trap trap) =>
        Write(address, new ReadOnlySpan<byte>(&value, bytes), rip, ref trap);

    /// <summary>Carries an instruction out in C#, whole.</summary>
    private Step Helped(in Instruction instruction, ref Trap trap)
    {
        Step step = Help(instruction, ref trap);
        return step == Step.LookUp ? AfterInstruction(ref trap, IsJump(instruction)) : step;
    }

    private static bool IsJump(in Instruction instruction) => instruction.FlowControl != FlowControl.Next;

    /// <summary>An access across two pages: the instruction works on a copy, which goes back in two parts.</summary>
    private Step Across(in Site site, ulong rip, ulong address, Access access, ref nint code, ref Trap trap)
    {
        if (!TryDecode(rip, out Instruction instruction, ref trap))
            return Step.Trap;
        if (_translator.TreatmentOf(instruction) == Treatment.Inlined)
            return Helped(instruction, ref trap);
        if (GoesAnotherWay(instruction, address, ref trap, out Step other))
            return other;
        if (site.Bytes > StateBlock.BounceBytes)
            return Fatal($"an access of {site.Bytes} bytes across two pages, by {instruction} at 0x{rip:x}", rip, ref trap);
        if (HasStackEffect(instruction))
        {
            Step step = CarryOutStack(instruction, ref trap);
            return step == Step.LookUp ? AfterInstruction(ref trap, IsJump(instruction)) : step;
        }

        _bounceFirst = Pointer(address, access, rip, ref trap);
        if (_bounceFirst == null)
            return Step.Trap;
        _bounceSecond = Pointer((address | (Bytes4K - 1)) + 1, access, rip, ref trap);
        if (_bounceSecond == null)
            return Step.Trap;
        _bounceFirstBytes = Bytes4K - (int)(address & (Bytes4K - 1));
        _bounceSecondBytes = site.Bytes - _bounceFirstBytes;
        byte* copy = _context.Block + StateBlock.Bounce;
        Buffer.MemoryCopy(_bounceFirst, copy, StateBlock.BounceBytes, _bounceFirstBytes);
        Buffer.MemoryCopy(_bounceSecond, copy + _bounceFirstBytes, StateBlock.BounceBytes - _bounceFirstBytes, _bounceSecondBytes);
        (_bouncing, _bounceWrites) = (true, site.IsWrite);
        code = TranslateAlone(instruction, (nint)copy);
        return Step.Enter;
    }

    private void FinishBounce()
    {
        if (!_bouncing)
            return;
        _bouncing = false;
        if (!_bounceWrites)
            return;
        byte* copy = _context.Block + StateBlock.Bounce;
        Buffer.MemoryCopy(copy, _bounceFirst, _bounceFirstBytes, _bounceFirstBytes);
        Buffer.MemoryCopy(copy + _bounceFirstBytes, _bounceSecond, _bounceSecondBytes, _bounceSecondBytes);
    }

    /// <summary>The address of a memory operand.</summary>
    private ulong AddressOf(in Instruction instruction)
    {
        if (instruction.IsIPRelativeMemoryOperand)
            return instruction.IPRelativeMemoryAddress + SegmentBase(instruction);
        ulong address = instruction.MemoryDisplacement64;
        if (instruction.MemoryBase != Register.None)
            address += GetRegister(instruction.MemoryBase);
        if (instruction.MemoryIndex != Register.None && !instruction.MemoryIndex.IsVectorRegister())
            address += GetRegister(instruction.MemoryIndex) * (ulong)instruction.MemoryIndexScale;
        if (instruction.MemoryBase.IsGPR32() || instruction.MemoryIndex.IsGPR32())
            address = (uint)address;
        else if (instruction.MemoryBase.IsGPR16() || instruction.MemoryIndex.IsGPR16())
            address = (ushort)address;
        return Linear(instruction, address + SegmentBase(instruction));
    }

    private ulong SegmentBase(in Instruction instruction) => instruction.SegmentPrefix switch
    {
        Register.FS => _context[StateBlock.FsBase],
        Register.GS => _context[StateBlock.GsBase],
        _ => 0,
    };

    private ulong GetRegister(Register register)
    {
        ulong whole = _context.Register(register.GetFullRegister() - Register.RAX);
        return register.IsGPR64() ? whole
            : register.IsGPR32() ? (uint)whole
            : register.IsGPR16() ? (ushort)whole
            : register is Register.AH or Register.BH or Register.CH or Register.DH ? (byte)(whole >> 8) : (byte)whole;
    }

    private void SetRegister(Register register, ulong value)
    {
        ref ulong whole = ref _context.Register(register.GetFullRegister() - Register.RAX);
        whole = register.IsGPR64() ? value
            : register.IsGPR32() ? (uint)value
            : register.IsGPR16() ? (whole & ~0xffffUL) | (ushort)value
            : register is Register.AH or Register.BH or Register.CH or Register.DH ? (whole & ~0xff00UL) | ((ulong)(byte)value << 8)
            : (whole & ~0xffUL) | (byte)value;
    }
}
