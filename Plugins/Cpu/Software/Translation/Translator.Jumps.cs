using Iced.Intel;

namespace Tessera.Plugins.Cpu.Software.Translation;

// Where translated code goes next, what it may still spend, and what is written behind a block because it seldom runs.
internal sealed unsafe partial class Translator
{
    // SAFETY: only writes through the emitter.
    private const int Negative = 8;

    /// <summary>The conditional jump whose other way is written.</summary>
    private nint _branch;

    /// <summary>Goes on at an address: to its block in this page, or by the jump cache.</summary>
    /// <param name="target">The address.</param>
    /// <param name="count">How many instructions of the block have been carried out.</param>
    /// <param name="flagsLive">Whether the flags must survive.</param>
    /// <param name="looks">Whether the budget is looked at. Where it is not, it is only taken off if every instruction is counted.</param>
    private void GoTo(ulong target, int count, bool flagsLive, bool looks)
    {
        if (_alone is not null)
        {
            LeaveAlone(target);
            return;
        }

        if (looks)
            Spend(count, flagsLive, target, isIndirect: false);
        else if (_counts)
            TakeOff(count);
        if (!IsInPage(target))
        {
            LoadGuestAddress(Thunks.R11, target);
            LookUp(flagsLive);
            return;
        }

        if (KnownBlock(target) is var known and not 0)
        {
            _emit.Jump(known);
            return;
        }

        _emit.AlignForPatch(bytesBefore: 1);
        nint place = _emit.JumpLater();
        _cold.Add(new ColdCode { What = ColdCode.Kind.Link, Place = place, Target = target, Branch = _branch });
    }

    /// <summary>
    /// Whether a jump goes to itself or back: such a one looks at the budget. Distances from the page are signed: what lies before it is negative. Of 32 bits, jumps that all go
    /// forward come round: there every one that leaves the page counts.
    /// </summary>
    private bool GoesBack(in Instruction instruction) => (Mode & CodeMode.Compat) != 0
        ? (int)instruction.NearBranchTarget <= (long)instruction.IP || (instruction.NearBranchTarget & ~4095UL) != _page
        : (long)instruction.NearBranchTarget <= (long)instruction.IP;

    /// <summary>Whether a jump can go there without the jump cache: to this page, and not to an instruction that may reach into the next.</summary>
    private bool IsInPage(ulong target) => (target & ~4095UL) == _page && (target & 4095) <= PageBytes - PageReader.LongestInstruction;

    /// <summary>Where jumps inside the page find the block that begins at an offset; 0 if there is none yet.</summary>
    private nint KnownBlock(ulong target)
    {
        if (_alone is not null || !IsInPage(target))
            return 0;
        nint code = target == _blockStart.Offset && !_isApart ? _blockStart.Code : _pageCode!.At(Mode, (int)target);
        return code is 0 or PageCode.Crossing ? 0 : code + ArrivalBytes;
    }

    private void GoToR11(int count)
    {
        if (_alone is not null)
        {
            _emit.StoreState(StateBlock.Rip, Thunks.R11);
            _emit.Jump(Thunks.Single);
            return;
        }

        Spend(count, flagsLive: true, 0, isIndirect: true);
        LookUp(flagsLive: true);
    }

    private void LeaveAlone(ulong target)
    {
        LoadGuestAddress(Thunks.Rcx, target);
        _emit.StoreState(StateBlock.Rip, Thunks.Rcx);
        _emit.Jump(Thunks.Single);
    }

    /// <summary>Jumps to R11 by the jump cache.</summary>
    private void LookUp(bool flagsLive)
    {
        if (!flagsLive)
        {
            JumpSlot();
            _emit.StateIndexed(wide: true, 0x3b, Thunks.R11, Thunks.Rcx, StateBlock.JumpTags);
            _emit.Patch(_emit.JumpIfLater(NotEqual), Thunks.Indirect);
            _emit.JumpIndexed(Thunks.Rcx, StateBlock.JumpTargets);
        }
        else if (_features.BitManipulation)
        {
            _emit.ExtractState(Thunks.Rcx, Thunks.R11, StateBlock.JumpMask);
            _emit.StateIndexed(wide: true, 0x8b, Thunks.Rcx, Thunks.Rcx, StateBlock.JumpNegatives);
            _emit.LoadAddress(wide: true, Thunks.Rcx, Thunks.Rcx, Thunks.R11, 0, 0);
            _emit.Patch(_emit.JumpUnlessZeroLater(), Thunks.Indirect);
            _emit.ExtractState(Thunks.Rcx, Thunks.R11, StateBlock.JumpMask);
            _emit.JumpIndexed(Thunks.Rcx, StateBlock.JumpTargets);
        }
        else
        {
            _emit.PushFlags();
            JumpSlot();
            _emit.PopFlags();
            // The comparison itself must not change them either.
            _emit.StoreState(StateBlock.Temporary, Thunks.Rcx);
            _emit.StateIndexed(wide: true, 0x8b, Thunks.Rcx, Thunks.Rcx, StateBlock.JumpNegatives);
            _emit.LoadAddress(wide: true, Thunks.Rcx, Thunks.Rcx, Thunks.R11, 0, 0);
            _emit.Patch(_emit.JumpUnlessZeroLater(), Thunks.Indirect);
            _emit.LoadState(Thunks.Rcx, StateBlock.Temporary);
            _emit.JumpIndexed(Thunks.Rcx, StateBlock.JumpTargets);
        }
    }

    private void JumpSlot()
    {
        if (_features.BitManipulation)
        {
            _emit.RotateQuietly(Thunks.Rcx, Thunks.R11, StateBlock.JumpShift);
        }
        else
        {
            _emit.Move(Thunks.Rcx, Thunks.R11);
            _emit.ShiftRight(Thunks.Rcx, StateBlock.JumpShift);
        }

        _emit.Arithmetic(4, Thunks.Rcx, StateBlock.JumpEntries - 1, wide: false);
    }

    /// <summary>Takes instructions off the budget without looking at what is left.</summary>
    private void TakeOff(int count)
    {
        _emit.LoadState(Thunks.Rcx, StateBlock.Budget);
        _emit.AddQuietly(Thunks.Rcx, -count);
        _emit.StoreState(StateBlock.Budget, Thunks.Rcx);
    }

    /// <summary>Takes instructions off the budget and leaves when none is left.</summary>
    /// <param name="count">How many.</param>
    /// <param name="flagsLive">Whether the flags must survive.</param>
    /// <param name="target">Where to go on.</param>
    /// <param name="isIndirect">R11 says where instead.</param>
    private void Spend(int count, bool flagsLive, ulong target, bool isIndirect)
    {
        ColdCode late = new() { What = isIndirect ? ColdCode.Kind.DeadlineAtR11 : ColdCode.Kind.Deadline, Target = target, FlagsLive = flagsLive };
        if (!flagsLive)
        {
            _emit.SubtractState(StateBlock.Budget, count);
            late.Place = _emit.JumpIfLater(Negative);
        }
        else if (_features.BitManipulation)
        {
            TakeOff(count);
            _emit.ExtractState(Thunks.Rcx, Thunks.Rcx, StateBlock.SignMask);
            late.Place = _emit.JumpUnlessZeroLater();
        }
        else
        {
            _emit.PushFlags();
            _emit.SubtractState(StateBlock.Budget, count);
            late.Place = _emit.JumpIfLater(Negative);
            late.FlagsPushed = true;
            _emit.PopFlags();
        }

        _cold.Add(late);
    }

    /// <summary>Flags that nobody reads as if nothing had been in them: what is there comes from host addresses and from the budget, and an exception's frame shows it.</summary>
    private void ForgetFlags() => _emit.Bytes([0x31, 0xc9]); // xor ecx, ecx

    private void WriteCold()
    {
        for (int index = 0; index < _cold.Count; index++)
        {
            ColdCode cold = _cold[index];
            _emit.Patch(cold.Place, _emit.Here);
            _emit.Depth = cold.FlagsPushed ? sizeof(ulong) : 0;
            switch (cold.What)
            {
                case ColdCode.Kind.Miss:
                    if (cold.Argument != 0)
                        _emit.StateIndexed(wide: true, 0x2b, Thunks.R11, Thunks.Rcx, cold.Argument);
                    if (cold.FlagsPushed)
                        _emit.PopFlags();
                    else if (cold.Argument != 0)
                        ForgetFlags();
                    _emit.StoreState(StateBlock.Address, Thunks.R11);
                    _emit.StoreState32(StateBlock.Argument, cold.Number);
                    _emit.Jump(Thunks.Miss);
                    break;
                case ColdCode.Kind.Deadline:
                case ColdCode.Kind.DeadlineAtR11:
                    if (cold.FlagsPushed)
                        _emit.PopFlags();
                    else if (!cold.FlagsLive)
                        ForgetFlags();
                    if (cold.What == ColdCode.Kind.Deadline)
                        LoadGuestAddress(Thunks.R11, cold.Target);
                    _emit.StoreState(StateBlock.Rip, Thunks.R11);
                    _emit.Jump(Thunks.Deadline);
                    break;
                case ColdCode.Kind.Help:
                    _emit.PopFlags();
                    TakeOff(cold.Count);
                    _emit.StoreState32(StateBlock.Argument, cold.Number);
                    _emit.Jump(Thunks.Helper);
                    break;
                case ColdCode.Kind.Branch:
                    // Where nothing is done on the way, the branch itself is linked.
                    _branch = cold.Looks || _counts ? 0 : cold.Place;
                    GoTo(cold.Target, cold.Count, cold.FlagsLive, cold.Looks);
                    _branch = 0;
                    break;
                case ColdCode.Kind.Apart:
                    if (cold.FlagsPushed)
                        _emit.PopFlags();
                    else if (cold.Argument != 0)
                        ForgetFlags();
                    if (_counts && cold.Count > 0)
                        TakeOff(cold.Count);
                    _emit.AlignForPatch(bytesBefore: 1);
                    nint jump = _emit.JumpLater();
                    _emit.Patch(jump, _emit.Here);
                    _emit.StoreState32(StateBlock.Argument, Links.Add(new Link(_pageCode!, (int)cold.Target, jump, 0, IsApart: true)));
                    _emit.Jump(Thunks.Link);
                    break;
                case ColdCode.Kind.Link:
                    _emit.StoreState32(StateBlock.Argument, Links.Add(new Link(_pageCode!, (int)cold.Target, cold.Place, cold.Branch)));
                    _emit.Jump(Thunks.Link);
                    break;
                default:
                    _emit.Byte(0xe8);
                    _emit.Int32(0);
                    _emit.Patch((nint)_emit.Position - sizeof(int), Thunks.LoadX87);
                    _emit.Jump(cold.Back);
                    break;
            }
        }
    }
}
