using Tessera.Plugins.Cpu.Software.Memory;
using Tessera.Sdk.Cpu;

namespace Tessera.Plugins.Cpu.Software;

// Hardware breakpoints. A page that holds one to execute has no entry in the jump cache and runs instruction by instruction; a page that holds one to
// read or write has none in the TLB, so that each access to it comes here. With none armed nothing looks.
internal sealed unsafe partial class SoftwareCpu
{
    // SAFETY: the TLB's words by slots below their count.
    private const int Breakpoints = 4;
    private const ulong EnabledMask = 0xff;
    private const ulong ResumeFlag = 0x1_0000;
    private const ulong StatusFixed = 0xffff_0ff0;
    private const int OnExecute = 0;
    private const int OnWrite = 1;
    private const ulong Nowhere = ulong.MaxValue;

    private readonly ulong[] _watched = new ulong[Breakpoints];
    private ulong _control;

    /// <summary>Some breakpoint to execute, or to read or write, is armed.</summary>
    private bool _breaking;
    private bool _watching;

    /// <summary>What the instruction under way has struck, a bit each.</summary>
    private uint _struck;

    /// <summary>The instruction that RF lets pass.</summary>
    private ulong _resumed = Nowhere;

    /// <summary>Looks at the debug registers when the CPU is entered.</summary>
    private void Arm()
    {
        _struck = 0;
        _resumed = Nowhere;
        if (((_state.Dr7 | _control) & EnabledMask) == 0)
            return;
        if ((_state.Rflags & ResumeFlag) != 0)
            _resumed = _state.Rip;
        if (_state.Dr7 == _control && _state.Dr0 == _watched[0] && _state.Dr1 == _watched[1] && _state.Dr2 == _watched[2] && _state.Dr3 == _watched[3])
            return;
        _control = _state.Dr7;
        (_watched[0], _watched[1], _watched[2], _watched[3]) = (_state.Dr0, _state.Dr1, _state.Dr2, _state.Dr3);
        _breaking = _watching = false;
        for (int index = 0; index < Breakpoints; index++)
        {
            if (!IsArmed(index))
                continue;
            _breaking |= KindOf(index) == OnExecute;
            _watching |= KindOf(index) != OnExecute;
        }

        if (!_breaking && !_watching)
            return;
        foreach (RootContext context in _contexts)
            context.Flush();
    }

    private bool IsArmed(int index) => (_control >> (index * 2) & 3) != 0;

    private int KindOf(int index) => (int)(_control >> (16 + (index * 4))) & 3;

    private int LengthOf(int index) => ((int)(_control >> (18 + (index * 4))) & 3) switch { 0 => 1, 1 => 2, 2 => 8, _ => 4 };

    /// <summary>Whether code of a page must go instruction by instruction.</summary>
    private bool HasBreakpoint(ulong rip)
    {
        for (int index = 0; index < Breakpoints; index++)
        {
            if (IsArmed(index) && KindOf(index) == OnExecute && _watched[index] >> 12 == rip >> 12)
                return true;
        }

        return false;
    }

    /// <summary>A breakpoint at this instruction: a fault before it, unless RF lets it pass.</summary>
    private bool Strikes(ulong rip)
    {
        if (rip == _resumed)
            return false;
        for (int index = 0; index < Breakpoints; index++)
        {
            if (IsArmed(index) && KindOf(index) == OnExecute && _watched[index] == rip)
                _struck |= 1u << index;
        }

        return _struck != 0;
    }

    /// <summary>An access that may be watched.</summary>
    private void Note(ulong address, int bytes, bool isWrite)
    {
        if (!_watching)
            return;
        for (int index = 0; index < Breakpoints; index++)
        {
            if (!IsArmed(index) || KindOf(index) == OnExecute || (KindOf(index) == OnWrite && !isWrite))
                continue;
            ulong length = (ulong)LengthOf(index);
            ulong first = _watched[index] & ~(length - 1);
            if (address < first + length && first < address + (ulong)bytes)
                _struck |= 1u << index;
        }
    }

    /// <summary>Whether an access to an address comes by here each time.</summary>
    private bool IsWatched(ulong address, Access access)
    {
        if (!_watching)
            return false;
        for (int index = 0; index < Breakpoints; index++)
        {
            if (IsArmed(index) && KindOf(index) != OnExecute && _watched[index] >> 12 == address >> 12 && (access == Access.Write || KindOf(index) != OnWrite))
                return true;
        }

        return false;
    }

    /// <summary>Takes a watched page's tags out of the TLB again; where it lies stays, for who looks there himself.</summary>
    private void HideWatched(ulong address)
    {
        int slot = RootContext.SlotOf(address);
        if (IsWatched(address, Access.Read))
            _context[StateBlock.TlbRead + (slot * 8)] = StateBlock.NoPageIn(slot);
        if (IsWatched(address, Access.Write))
            _context[StateBlock.TlbWrite + (slot * 8)] = StateBlock.NoPageIn(slot);
    }

    /// <summary>The access of one instruction to a watched page, carried out alone.</summary>
    private Step WatchedAccess(ulong rip, ulong address, ref nint code, ref Trap trap)
    {
        if (!TryDecode(rip, out Iced.Intel.Instruction instruction, ref trap))
            return Step.Trap;
        if (HasStackEffect(instruction) || instruction.IsStringInstruction || _translator.TreatmentOf(instruction) == Translation.Treatment.Inlined)
        {
            Step step = HasStackEffect(instruction) ? CarryOutStack(instruction, ref trap) : Help(instruction, ref trap);
            return step == Step.LookUp ? AfterInstruction(ref trap, IsJump(instruction)) : step;
        }

        code = TranslateAlone(instruction, (nint)(_context[StateBlock.TlbDelta + (RootContext.SlotOf(address) * 8)] + address));
        return Step.Enter;
    }

    private Step RaiseStruck(ulong rip, ref Trap trap)
    {
        _state.Dr6 |= _struck | StatusFixed;
        _struck = 0;
        return Raise(Vectors.Debug, 0, rip, ref trap);
    }
}
