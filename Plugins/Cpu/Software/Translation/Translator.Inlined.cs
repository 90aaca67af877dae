using System.Numerics;
using Iced.Intel;

namespace Tessera.Plugins.Cpu.Software.Translation;

// Instructions that are carried out where they stand in the common case, and in C# in the others.
internal sealed unsafe partial class Translator
{
    // SAFETY: only writes through the emitter.
    private const int Rsi = 6;
    private const int Rdi = 7;
    private const int Below = 2;
    private const int Equal = 4;
    private const int BorrowedHost = StateBlock.Borrowed + 8;
    private const int BorrowedSource = StateBlock.Borrowed + 16;

    /// <summary>What a repeated instruction takes off the budget: it may write a page.</summary>
    private const int WorkOfString = 64;

    /// <summary>The guest's flags lie on the translated stack: checks may change the host's, and misses fetch them from there.</summary>
    private bool _flagsAside;

    private void WriteInlined(in Instruction instruction, bool flagsWanted, int count)
    {
        if (_alone is not null)
        {
            LeaveForHelp(instruction, count);
            return;
        }

        switch (instruction.Mnemonic)
        {
            case Mnemonic.Mov:
                StoreSelector(instruction, flagsWanted);
                break;
            case Mnemonic.Bt or Mnemonic.Bts or Mnemonic.Btr or Mnemonic.Btc:
                BitInMemory(instruction, flagsWanted);
                break;
            default:
                RepeatInPage(instruction, flagsWanted, count);
                break;
        }
    }

    /// <summary>`mov` from a segment register.</summary>
    private void StoreSelector(in Instruction instruction, bool flagsWanted)
    {
        int selector = StateBlock.Selector(instruction.Op1Register);
        if (instruction.Op0Kind == OpKind.Memory)
        {
            Operand(instruction, sizeof(ushort), write: true, flagsWanted);
            _emit.State(wide: false, 0x0fb7, Thunks.Rcx, selector); // movzx
            _emit.Byte(0x66);
            _emit.Memory(wide: false, 0x89, Thunks.Rcx, Thunks.R11);
            return;
        }

        _emit.State(wide: false, 0x0fb7, Thunks.R11, selector);
        int number = NumberOf(instruction.Op0Register);
        if (!instruction.Op0Register.IsGPR16())
        {
            StoreRegister(number, Thunks.R11);
            return;
        }

        // The register keeps its upper part.
        _emit.Byte(0x66);
        if (Thunks.Host(number) < 0)
            _emit.State(wide: false, 0x89, Thunks.R11, StateBlock.Register(number));
        else
            _emit.Registers(wide: false, 0x8b, Thunks.Host(number), Thunks.R11);
    }

    /// <summary>A bit of a string of any length: the word that has it is found first.</summary>
    private void BitInMemory(Instruction instruction, bool flagsWanted)
    {
        int bytes = instruction.MemorySize.GetSize();
        int number = NumberOf(instruction.Op1Register);
        nint retry = _emit.Here;
        PutFlagsAside(flagsWanted);
        Address(instruction, withSegment: true);
        LoadRegister(Thunks.Rcx, number);
        if (bytes == sizeof(uint))
            _emit.Registers(wide: true, 0x63, Thunks.Rcx, Thunks.Rcx); // movsxd
        _emit.ShiftRightSigned(Thunks.Rcx, BitOperations.Log2((uint)bytes) + 3);
        _emit.LoadAddress(wide: true, Thunks.R11, Thunks.R11, Thunks.Rcx, BitOperations.Log2((uint)bytes), 0);
        Check(instruction.IP, bytes, _groups.Writes(instruction), flagsWanted: false, retry);
        LoadRegister(Thunks.Rcx, number);
        _emit.Arithmetic(4, Thunks.Rcx, (bytes * 8) - 1, wide: false);
        FetchFlags(flagsWanted);
        instruction.SegmentPrefix = Register.None;
        PointTo(ref instruction, Register.R11, 0);
        instruction.Op1Register = bytes == sizeof(uint) ? Register.ECX : Register.RCX;
        Encode(instruction);
    }

    /// <summary>`rep movs` and `rep stos`, forwards and inside one page of each side: by the host's own.</summary>
    private void RepeatInPage(in Instruction instruction, bool flagsWanted, int count)
    {
        int bytes = instruction.MemorySize.GetSize();
        bool copies = instruction.Mnemonic is Mnemonic.Movsb or Mnemonic.Movsw or Mnemonic.Movsd or Mnemonic.Movsq;
        int helper = Helpers.Add(instruction);
        nint retry = _emit.Here;
        PutFlagsAside(flagsWanted: true);
        _emit.Bytes([0xf6, 0x44, 0x24, 0x01, 0x04]); // test byte [rsp + 1], 4: DF
        HelpIf(NotEqual, helper, count);
        _emit.Registers(wide: true, 0x85, Thunks.GuestRcx, Thunks.GuestRcx);
        nint nothing = _emit.JumpIfLater(Equal);
        if (copies)
        {
            _emit.Move(Thunks.R11, Rsi);
            Check(instruction.IP, bytes, write: false, flagsWanted: false, retry);
            HelpUnlessInPage(bytes, helper, count);
            _emit.StoreState(BorrowedHost, Thunks.R11);
        }

        _emit.Move(Thunks.R11, Rdi);
        Check(instruction.IP, bytes, write: true, flagsWanted: false, copies ? 0 : retry);
        HelpUnlessInPage(bytes, helper, count);
        _emit.StoreState(StateBlock.Borrowed, Rdi);
        _emit.Move(Rdi, Thunks.R11);
        if (copies)
        {
            _emit.StoreState(BorrowedSource, Rsi);
            _emit.LoadState(Rsi, BorrowedHost);
        }

        _emit.Move(Thunks.Rcx, Thunks.GuestRcx);
        Encode(instruction);
        // What the host's registers have moved by is what the guest's move by.
        _emit.Registers(wide: true, 0x2b, Rdi, Thunks.R11);
        if (copies)
        {
            _emit.LoadState(Rsi, BorrowedSource);
            _emit.Registers(wide: true, 0x03, Rsi, Rdi);
        }

        _emit.State(wide: true, 0x03, Rdi, StateBlock.Borrowed);
        _emit.Registers(wide: false, 0x33, Thunks.GuestRcx, Thunks.GuestRcx);
        _emit.SubtractState(StateBlock.Budget, WorkOfString);
        _emit.Patch(nothing, _emit.Here);
        _flagsAside = false;
        if (flagsWanted)
            _emit.PopFlags();
        else
            _emit.DropPushed();
    }

    private void PutFlagsAside(bool flagsWanted)
    {
        if (!flagsWanted)
            return;
        _emit.PushFlags();
        _flagsAside = true;
    }

    private void FetchFlags(bool flagsWanted)
    {
        if (!flagsWanted)
            return;
        _emit.PopFlags();
        _flagsAside = false;
    }

    private void HelpIf(int condition, int helper, int count) =>
        _cold.Add(new ColdCode { What = ColdCode.Kind.Help, Place = _emit.JumpIfLater(condition), Number = helper, Count = count, FlagsPushed = true });

    /// <summary>Leaves unless all elements lie between the host address in R11 and the end of its page.</summary>
    private void HelpUnlessInPage(int bytes, int helper, int count)
    {
        _emit.Registers(wide: false, 0x8b, Thunks.Rcx, Thunks.R11);
        _emit.Arithmetic(1, Thunks.Rcx, -PageBytes, wide: false);
        _emit.Negate(Thunks.Rcx);
        if (bytes > 1)
            _emit.ShiftRight(Thunks.Rcx, BitOperations.Log2((uint)bytes));
        _emit.Registers(wide: true, 0x3b, Thunks.Rcx, Thunks.GuestRcx);
        HelpIf(Below, helper, count);
    }
}
