using System.Numerics;
using Iced.Intel;

namespace Tessera.Plugins.Cpu.Software.Translation;

// Jumps, calls, the stack, and the few instructions with a sequence of their own.
internal sealed unsafe partial class Translator
{
    // SAFETY: only writes through the emitter.
    private const int NotEqual = 5;
    private const int ZeroFlagSet = 4;

    private (ulong Offset, nint Code) _blockStart;

    /// <summary>Writes one instruction.</summary>
    /// <param name="instruction">The instruction.</param>
    /// <param name="flagsWanted">Whether flags as they are before it may still be read.</param>
    /// <param name="count">How many instructions the block has up to here.</param>
    /// <param name="isLast">Whether the block ends with it.</param>
    private void Write(in Instruction instruction, bool flagsWanted, int count, bool isLast)
    {
        switch (_treatments.Of(instruction))
        {
            case Treatment.Nothing:
                return;
            case Treatment.Native or Treatment.Inlined:
                break;
            default:
                LeaveForHelp(instruction, count);
                return;
        }

        if (IsSwitchedOff(instruction, Mode))
        {
            LeaveForHelp(instruction, count);
            return;
        }

        byte* position = _emit.Position;
        int cold = _cold.Count;
        int held = _held;
        try
        {
            if (_treatments.Of(instruction) == Treatment.Inlined)
                WriteInlined(instruction, flagsWanted, count);
            else if (instruction.CodeSize == CodeSize.Code32)
                WriteCompat(instruction, flagsWanted, count, isLast);
            else
                WriteNative(instruction, flagsWanted, count, isLast);
            if (!_keeps[_before])
                _held = -1;
        }
        catch (InvalidOperationException)
        {
            // Never a wrong answer: where it is reached it is an invalid opcode, and named.
            _emit.Position = position;
            _emit.Depth = 0;
            _flagsAside = false;
            _held = held;
            _cold.RemoveRange(cold, _cold.Count - cold);
            LeaveForHelp(instruction, count);
        }
    }

    private void WriteNative(in Instruction instruction, bool flagsWanted, int count, bool isLast)
    {
        switch (instruction.Mnemonic == Mnemonic.Syscall ? FlowControl.Next : instruction.FlowControl)
        {
            case FlowControl.UnconditionalBranch:
                GoTo(instruction.NearBranchTarget, count, WantedAt(instruction.NearBranchTarget), looks: GoesBack(instruction));
                break;
            case FlowControl.ConditionalBranch:
                Conditional(instruction, count, isLast);
                break;
            case FlowControl.Call:
                Push(instruction, flagsWanted);
                GoTo(instruction.NearBranchTarget, count, WantedAt(instruction.NearBranchTarget), looks: _counts || GoesBack(instruction));
                break;
            case FlowControl.Return:
                Stack(instruction.IP, 0, write: false, flagsWanted);
                _emit.Memory(wide: true, 0x8b, Thunks.R11, Thunks.R11, _at);
                _emit.AddQuietly(Thunks.GuestRsp, sizeof(ulong) + (instruction.OpCount == 1 ? instruction.Immediate16 : 0));
                GoToR11(count);
                break;
            case FlowControl.IndirectBranch or FlowControl.IndirectCall:
                Indirect(instruction, flagsWanted, count);
                break;
            default:
                Straight(instruction, flagsWanted, count);
                break;
        }
    }

    private void Straight(in Instruction instruction, bool flagsWanted, int count)
    {
        switch (instruction.Mnemonic)
        {
            case Mnemonic.Syscall:
                TakeOff(count);
                LoadGuestAddress(Thunks.GuestRcx, instruction.NextIP);
                _emit.StoreState(StateBlock.Rip, Thunks.GuestRcx);
                _emit.Jump(Thunks.Syscall);
                break;
            case Mnemonic.Push:
                PushOperand(instruction, flagsWanted);
                break;
            case Mnemonic.Pop:
                PopRegister(instruction, flagsWanted);
                break;
            case Mnemonic.Leave:
                Stack(instruction.IP, 0, write: false, flagsWanted, Thunks.Host(5));
                _emit.LoadAddress(wide: true, Thunks.GuestRsp, Thunks.Host(5), -1, 0, sizeof(ulong));
                _emit.Memory(wide: true, 0x8b, Thunks.Host(5), Thunks.R11, _at);
                break;
            case Mnemonic.Pushfq:
                PushFlagsOfGuest(instruction);
                break;
            case Mnemonic.Lea:
                LoadEffectiveAddress(instruction);
                break;
            case Mnemonic.Rdtscp:
                _emit.Bytes([0x0f, 0x01, 0xf9]);
                _emit.MoveImmediate(Thunks.GuestRcx, 0);
                break;
            case Mnemonic.Rdfsbase or Mnemonic.Rdgsbase:
                _emit.State(instruction.Op0Register.IsGPR64(), 0x8b, Thunks.R11, instruction.Mnemonic == Mnemonic.Rdfsbase ? StateBlock.FsBase : StateBlock.GsBase);
                StoreRegister(NumberOf(instruction.Op0Register), Thunks.R11);
                break;
            case Mnemonic.Rdpid:
                _emit.MoveImmediate(Thunks.R11, 0);
                StoreRegister(NumberOf(instruction.Op0Register), Thunks.R11);
                break;
            default:
                General(instruction, flagsWanted);
                break;
        }
    }

    private void Conditional(in Instruction instruction, int count, bool isLast)
    {
        ulong target = instruction.NearBranchTarget;
        if (!instruction.IsJccShortOrNear)
        {
            CountedJump(instruction, count);
            return;
        }

        int condition = ConditionOf(instruction.ConditionCode);
        bool looks = GoesBack(instruction);
        bool flagsLive = WantedAt(target);
        if (looks && _alone is null)
        {
            // The budget is looked at on the way back only.
            nint other = _emit.JumpIfLater(condition ^ 1);
            GoTo(target, count, flagsLive, looks: true);
            _emit.Patch(other, _emit.Here);
        }
        else if (!_counts && !looks && KnownBlock(target) is var known and not 0)
        {
            _emit.Patch(_emit.JumpIfLater(condition), known);
        }
        else
        {
            _emit.AlignForPatch(bytesBefore: 2);
            _cold.Add(new ColdCode
            {
                What = ColdCode.Kind.Branch,
                Place = _emit.JumpIfLater(condition),
                Target = target,
                Count = count,
                Looks = looks,
                FlagsLive = flagsLive,
            });
        }

        if (isLast && !_open)
            GoTo(instruction.NextIP, count, WantedAt(instruction.NextIP), looks: false);
    }

    /// <summary>`loop` and `jrcxz`, with their narrow forms; the flags stay.</summary>
    private void CountedJump(in Instruction instruction, int count)
    {
        bool isLoop = instruction.Mnemonic is Mnemonic.Loop or Mnemonic.Loope or Mnemonic.Loopne;
        bool is64Bit = instruction.Code is Code.Jrcxz_rel8_64 or Code.Loop_rel8_64_RCX or Code.Loope_rel8_64_RCX or Code.Loopne_rel8_64_RCX;
        if (isLoop)
            _emit.LoadAddress(is64Bit, Thunks.GuestRcx, Thunks.GuestRcx, -1, 0, -1);
        nint other = instruction.Mnemonic switch
        {
            Mnemonic.Loope => _emit.JumpIfLater(NotEqual),
            Mnemonic.Loopne => _emit.JumpIfLater(ZeroFlagSet),
            _ => 0,
        };
        _emit.Registers(is64Bit, 0x8b, Thunks.Rcx, Thunks.GuestRcx);
        nint place = _emit.JumpUnlessZeroLater();
        ulong whenNot0 = isLoop ? instruction.NearBranchTarget : instruction.NextIP;
        ulong when0 = isLoop ? instruction.NextIP : instruction.NearBranchTarget;
        _cold.Add(new ColdCode { What = ColdCode.Kind.Branch, Place = place, Target = whenNot0, Count = count, Looks = true, FlagsLive = true });
        if (other != 0)
            _cold.Add(new ColdCode { What = ColdCode.Kind.Branch, Place = other, Target = instruction.NextIP, Count = count, FlagsLive = true });
        GoTo(when0, count, flagsLive: true, looks: true);
    }

    private void Indirect(in Instruction instruction, bool flagsWanted, int count)
    {
        if (instruction.Op0Kind == OpKind.Memory)
        {
            Operand(instruction, sizeof(ulong), write: false, flagsWanted);
            _emit.Memory(wide: true, 0x8b, Thunks.R11, Thunks.R11, _at);
            _held = -1;
        }
        else
        {
            LoadRegister(Thunks.R11, NumberOf(instruction.Op0Register));
        }

        if (instruction.FlowControl == FlowControl.IndirectCall)
        {
            _emit.StoreState(StateBlock.Temporary, Thunks.R11);
            Push(instruction, flagsWanted);
            _emit.LoadState(Thunks.R11, StateBlock.Temporary);
        }

        GoToR11(count);
    }

    /// <summary>Pushes the address after a call.</summary>
    private void Push(in Instruction instruction, bool flagsWanted)
    {
        Stack(instruction.IP, -sizeof(ulong), write: true, flagsWanted);
        LoadGuestAddress(Thunks.Rcx, instruction.NextIP);
        _emit.Memory(wide: true, 0x89, Thunks.Rcx, Thunks.R11, _at);
        _emit.AddQuietly(Thunks.GuestRsp, -sizeof(ulong));
    }

    private void PushOperand(in Instruction instruction, bool flagsWanted)
    {
        switch (instruction.Op0Kind)
        {
            case OpKind.Register:
                Stack(instruction.IP, -sizeof(ulong), write: true, flagsWanted);
                int host = Thunks.Host(NumberOf(instruction.Op0Register));
                if (host < 0)
                    _emit.LoadState(host = Thunks.Rcx, StateBlock.Register(NumberOf(instruction.Op0Register)));
                _emit.Memory(wide: true, 0x89, host, Thunks.R11, _at);
                break;
            case OpKind.Memory:
                Operand(instruction, sizeof(ulong), write: false, flagsWanted);
                _emit.Memory(wide: true, 0x8b, Thunks.R11, Thunks.R11);
                _emit.StoreState(StateBlock.Temporary, Thunks.R11);
                Stack(instruction.IP, -sizeof(ulong), write: true, flagsWanted);
                _emit.LoadState(Thunks.Rcx, StateBlock.Temporary);
                _emit.Memory(wide: true, 0x89, Thunks.Rcx, Thunks.R11, _at);
                break;
            default:
                Stack(instruction.IP, -sizeof(ulong), write: true, flagsWanted);
                StoreImmediate((ulong)(int)instruction.GetImmediate(0));
                break;
        }

        _emit.AddQuietly(Thunks.GuestRsp, -sizeof(ulong));
    }

    private void PopRegister(in Instruction instruction, bool flagsWanted)
    {
        Stack(instruction.IP, 0, write: false, flagsWanted);
        int number = NumberOf(instruction.Op0Register);
        int host = Thunks.Host(number) < 0 ? Thunks.Rcx : Thunks.Host(number);
        _emit.Memory(wide: true, 0x8b, host, Thunks.R11, _at);
        if (host == Thunks.Rcx)
            _emit.StoreState(StateBlock.Register(number), host);
        // `pop rsp` takes the word; any other moves the pointer.
        if (host != Thunks.GuestRsp)
            _emit.AddQuietly(Thunks.GuestRsp, sizeof(ulong));
    }

    private void PushFlagsOfGuest(in Instruction instruction)
    {
        Stack(instruction.IP, -sizeof(ulong), write: true, flagsWanted: true);
        _emit.PushFlags();
        _emit.LoadState(Thunks.Rcx, -sizeof(ulong)); // what was pushed last
        _emit.State(wide: true, 0x0b, Thunks.Rcx, StateBlock.SoftFlags); // or rcx, soft flags
        _emit.PopFlags();
        _emit.Memory(wide: true, 0x89, Thunks.Rcx, Thunks.R11);
        _emit.AddQuietly(Thunks.GuestRsp, -sizeof(ulong));
    }

    private void LoadEffectiveAddress(in Instruction instruction)
    {
        int number = NumberOf(instruction.Op0Register);
        int host = Thunks.Host(number);
        if (IsDirect(instruction))
        {
            int to = host < 0 ? Thunks.Rcx : host;
            bool isWide = instruction.Op0Register.IsGPR64();
            if (instruction.IsIPRelativeMemoryOperand)
                LoadGuestAddress(to, instruction.MemoryDisplacement64);
            else
                _emit.LoadAddress(isWide, to, HostOf(instruction.MemoryBase), HostOf(instruction.MemoryIndex), BitOperations.Log2((uint)instruction.MemoryIndexScale), (int)instruction.MemoryDisplacement64);
            if (!isWide && instruction.IsIPRelativeMemoryOperand)
                _emit.Registers(wide: false, 0x8b, to, to);
            if (host < 0)
                _emit.StoreState(StateBlock.Register(number), to);
            return;
        }

        Address(instruction, withSegment: false);
        if (instruction.Op0Register.IsGPR16())
        {
            if (host < 0)
                _emit.LoadState(host = Thunks.Rcx, StateBlock.Register(number));
            _emit.Byte(0x66);
            _emit.Registers(wide: false, 0x8b, host, Thunks.R11);
            StoreRegister(number, host);
            return;
        }

        if (instruction.Op0Register.IsGPR32())
            _emit.Registers(wide: false, 0x8b, Thunks.R11, Thunks.R11);
        StoreRegister(number, Thunks.R11);
    }

    /// <summary>`mov qword [r11 + at], value`.</summary>
    private void StoreImmediate(ulong value)
    {
        if ((long)value == (int)value)
        {
            _emit.Memory(wide: true, 0xc7, 0, Thunks.R11, _at);
            _emit.Int32((int)value);
            return;
        }

        _emit.MoveImmediate(Thunks.Rcx, value);
        _emit.Memory(wide: true, 0x89, Thunks.Rcx, Thunks.R11, _at);
    }

    private void LoadRegister(int host, int guest)
    {
        if (Thunks.Host(guest) < 0)
            _emit.LoadState(host, StateBlock.Register(guest));
        else if (Thunks.Host(guest) != host)
            _emit.Move(host, Thunks.Host(guest));
    }

    private void StoreRegister(int guest, int host)
    {
        if (Thunks.Host(guest) < 0)
            _emit.StoreState(StateBlock.Register(guest), host);
        else if (Thunks.Host(guest) != host)
            _emit.Move(Thunks.Host(guest), host);
    }

    private void LeaveForHelp(in Instruction instruction, int count)
    {
        // The instruction itself counts when it has been carried out.
        if (!_counts || count > 1)
            TakeOff(_counts ? count - 1 : count);
        if (_alone is null)
            _emit.StoreState32(StateBlock.Argument, Helpers.Add(instruction));
        else
        {
            _alone.Helper = instruction;
            _emit.StoreState32(StateBlock.Argument, -1);
        }

        _emit.Jump(Thunks.Helper);
    }

    private static int ConditionOf(ConditionCode condition) => condition switch
    {
        ConditionCode.o => 0,
        ConditionCode.no => 1,
        ConditionCode.b => 2,
        ConditionCode.ae => 3,
        ConditionCode.e => 4,
        ConditionCode.ne => 5,
        ConditionCode.be => 6,
        ConditionCode.a => 7,
        ConditionCode.s => 8,
        ConditionCode.ns => 9,
        ConditionCode.p => 10,
        ConditionCode.np => 11,
        ConditionCode.l => 12,
        ConditionCode.ge => 13,
        ConditionCode.le => 14,
        _ => 15,
    };
}
