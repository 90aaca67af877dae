using Iced.Intel;

namespace Tessera.Plugins.Cpu.Software.Translation;

/// <summary>
/// Finds accesses of a block that lie near each other whatever the registers hold: through one base (and index) that is not changed between them, or
/// changed by constants only, as a stack pointer is. One check of the whole reach stands for all of them.
/// </summary>
internal sealed class CheckGroups
{
    /// <summary>From the first byte of a group to the one behind its last: more would lie across two pages too often.</summary>
    public const int Reach = 512;

    private const int Gprs = 16;
    private const int Rsp = 4;
    private const int Rbp = 5;
    private const int NoValue = -1;
    private const int PageValue = -2;
    private const int Word = 8;
    private const int MostDisplacement = int.MaxValue - 4096;

    private readonly InstructionInfoFactory _infos = new();
    private readonly (int Value, long Offset)[] _registers = new (int, long)[Gprs];
    private readonly Group[] _groups;
    private readonly Member[] _operands;
    private readonly Member[] _stacks;
    private int _values;
    private int _index;

    /// <param name="instructions">The most that a block can have.</param>
    public CheckGroups(int instructions)
    {
        _groups = new Group[instructions * 2];
        _operands = new Member[instructions];
        _stacks = new Member[instructions];
    }

    /// <summary>How many groups the block has, those of one access included.</summary>
    public int Count { get; private set; }

    /// <summary>A group.</summary>
    public ref Group this[int number] => ref _groups[number];

    /// <summary>Where the memory operand of an instruction lies in its group; none if it is alone.</summary>
    public Member Operand(int index) => Shared(_operands[index]);

    /// <summary>The same of the word on the stack that it pushes or pops.</summary>
    public Member Stack(int index) => Shared(_stacks[index]);

    /// <summary>Looks at a block.</summary>
    public void Find(ReadOnlySpan<Instruction> block, Treatments treatments)
    {
        Forget(block.Length);
        _values = 0;
        for (int register = 0; register < Gprs; register++)
            _registers[register] = (_values++, 0);
        for (_index = 0; _index < block.Length; _index++)
        {
            ref readonly Instruction instruction = ref block[_index];
            switch (treatments.Of(instruction))
            {
                case Treatment.Native when instruction.CodeSize == CodeSize.Code64:
                    Look(instruction);
                    break;
                case Treatment.Nothing:
                    break;
                default:
                    ForgetRegisters();
                    break;
            }
        }
    }

    /// <summary>No access shares anything.</summary>
    public void Forget(int count)
    {
        Count = 0;
        for (int index = 0; index < count; index++)
            _operands[index] = _stacks[index] = Member.None;
    }

    /// <summary>Whether an instruction's operands read a general register, or leave a part of it as it was, and whether they write it.</summary>
    public (bool IsRead, bool IsWritten) UseOf(in Instruction instruction, int register)
    {
        InstructionInfo info = _infos.GetInfo(instruction, InstructionInfoOptions.NoMemoryUsage | InstructionInfoOptions.NoRegisterUsage);
        bool isRead = false;
        bool isWritten = false;
        for (int operand = 0; operand < instruction.OpCount; operand++)
        {
            Register used = instruction.GetOpKind(operand) == OpKind.Register ? instruction.GetOpRegister(operand) : Register.None;
            if (!used.IsGPR() || Number(used) != register)
                continue;
            OpAccess access = info.GetOpAccess(operand);
            isRead |= access != OpAccess.Write || !(used.IsGPR32() || used.IsGPR64());
            isWritten |= access is not (OpAccess.Read or OpAccess.CondRead or OpAccess.None);
        }

        return (isRead, isWritten);
    }

    private Member Shared(Member member) => member.Group >= 0 && _groups[member.Group].Members > 1 ? member : Member.None;

    private void Look(in Instruction instruction)
    {
        if (instruction.Mnemonic != Mnemonic.Lea && HasOperand(instruction))
            AddOperand(instruction);
        switch (instruction.Mnemonic)
        {
            case Mnemonic.Push:
                AddStack(Rsp, -Word, write: true);
                _registers[Rsp].Offset -= Word;
                return;
            case Mnemonic.Pop:
                AddStack(Rsp, 0, write: false);
                _registers[Rsp].Offset += Word;
                Change(instruction.Op0Register);
                return;
            case Mnemonic.Leave:
                AddStack(Rbp, 0, write: false);
                _registers[Rsp] = (_registers[Rbp].Value, _registers[Rbp].Offset + Word);
                Change(Register.RBP);
                return;
            case Mnemonic.Call when instruction.IsCallNear:
                AddStack(Rsp, -Word, write: true);
                return;
            case Mnemonic.Ret:
                AddStack(Rsp, 0, write: false);
                return;
            case Mnemonic.Mov when instruction.Op0Kind == OpKind.Register && instruction.Op1Kind == OpKind.Register && instruction.Op0Register.IsGPR64() && instruction.Op1Register.IsGPR64():
                _registers[Number(instruction.Op0Register)] = _registers[Number(instruction.Op1Register)];
                return;
            case Mnemonic.Lea when instruction.Op0Register.IsGPR64() && instruction.MemoryBase.IsGPR64() && instruction.MemoryIndex == Register.None:
                (int value, long offset) = _registers[Number(instruction.MemoryBase)];
                _registers[Number(instruction.Op0Register)] = (value, offset + (int)instruction.MemoryDisplacement64);
                return;
            case Mnemonic.Add or Mnemonic.Sub when instruction.Op0Kind == OpKind.Register && instruction.Op0Register.IsGPR64() && instruction.Op1Kind != OpKind.Register && instruction.Op1Kind != OpKind.Memory:
                long by = (long)instruction.GetImmediate(1);
                _registers[Number(instruction.Op0Register)].Offset += instruction.Mnemonic == Mnemonic.Add ? by : -by;
                return;
            case Mnemonic.Cmp or Mnemonic.Test:
                return;
            case Mnemonic.Mov or Mnemonic.Movzx or Mnemonic.Movsx or Mnemonic.Movsxd or Mnemonic.Lea or Mnemonic.Add or Mnemonic.Sub or Mnemonic.And or Mnemonic.Or or Mnemonic.Xor:
                if (instruction.Op0Kind == OpKind.Register)
                    Change(instruction.Op0Register);
                return;
            default:
                if (instruction.FlowControl == FlowControl.Next)
                    ChangeAll(instruction);
                return;
        }
    }

    private void ChangeAll(in Instruction instruction)
    {
        foreach (UsedRegister used in _infos.GetInfo(instruction, InstructionInfoOptions.NoMemoryUsage).GetUsedRegisters())
        {
            if (used.Access is not (OpAccess.Read or OpAccess.CondRead or OpAccess.NoMemAccess or OpAccess.None))
                Change(used.Register);
        }
    }

    private static bool HasOperand(in Instruction instruction)
    {
        for (int operand = 0; operand < instruction.OpCount; operand++)
        {
            if (instruction.GetOpKind(operand) == OpKind.Memory)
                return true;
        }

        return false;
    }

    private void AddOperand(in Instruction instruction)
    {
        // What is pushed is fetched into the register that would hold the address.
        if (instruction.Mnemonic == Mnemonic.Push || !IsOf64Bits(instruction.MemoryBase) || !(instruction.MemoryIndex == Register.None || instruction.MemoryIndex.IsGPR64()))
            return;
        long displacement = (long)instruction.MemoryDisplacement64;
        int scale = instruction.MemoryIndexScale;
        bool isInPage = instruction.IsIPRelativeMemoryOperand;
        if (Math.Abs(displacement) > MostDisplacement)
            return;
        (int @base, long offset) = isInPage ? (PageValue, 0) : ValueOf(instruction.MemoryBase);
        (int index, long indexOffset) = ValueOf(instruction.MemoryIndex);
        Register segment = instruction.SegmentPrefix is Register.FS or Register.GS ? instruction.SegmentPrefix : Register.None;
        long place = displacement + offset + (scale * indexOffset);
        _operands[_index] = Add(new Key(segment, @base, index, index == NoValue ? 0 : scale), place, Math.Max(instruction.MemorySize.GetSize(), 1), Writes(instruction));
    }

    private void AddStack(int register, int distance, bool write)
    {
        (int value, long offset) = _registers[register];
        _stacks[_index] = Add(new Key(Register.None, value, NoValue, 0), offset + distance, Word, write);
    }

    private Member Add(Key key, long place, int bytes, bool write)
    {
        for (int number = Count - 1; number >= 0; number--)
        {
            ref Group group = ref _groups[number];
            if (group.Key != key)
                continue;
            long low = Math.Min(group.Low, place);
            long high = Math.Max(group.High, place + bytes);
            if (high - low > Reach)
                break;
            (group.Low, group.High) = (low, high);
            group.Writes |= write;
            group.Members++;
            group.Last = _index;
            return new Member(number, place);
        }

        _groups[Count] = new Group { Key = key, Low = place, High = place + bytes, Writes = write, Members = 1, Last = _index };
        return new Member(Count++, place);
    }

    /// <summary>Whether an instruction writes its memory operand.</summary>
    public bool Writes(in Instruction instruction) => instruction.Op0Kind != OpKind.Memory ? instruction.Mnemonic == Mnemonic.Xchg : instruction.Mnemonic switch
    {
        Mnemonic.Mov => true,
        Mnemonic.Cmp or Mnemonic.Test => false,
        _ => _infos.GetInfo(instruction, InstructionInfoOptions.NoRegisterUsage).Op0Access is OpAccess.Write or OpAccess.ReadWrite or OpAccess.CondWrite or OpAccess.ReadCondWrite,
    };

    private static bool IsOf64Bits(Register register) => register is Register.None or Register.RIP || register.IsGPR64();

    private (int Value, long Offset) ValueOf(Register register) => register == Register.None ? (NoValue, 0) : _registers[Number(register)];

    private void Change(Register register)
    {
        if (register.IsGPR())
            _registers[Number(register)] = (_values++, 0);
    }

    private void ForgetRegisters()
    {
        for (int register = 0; register < Gprs; register++)
            _registers[register] = (_values++, 0);
    }

    private static int Number(Register register) => register.GetFullRegister() - Register.RAX;

    /// <summary>What an address is computed from.</summary>
    /// <param name="Segment">FS or GS, if its base is added.</param>
    /// <param name="Base">The value that the base has.</param>
    /// <param name="Index">The value that the index has.</param>
    /// <param name="Scale">By what it is multiplied.</param>
    internal readonly record struct Key(Register Segment, int Base, int Index, int Scale);

    /// <summary>An access of a group.</summary>
    /// <param name="Group">Its number; -1 for none.</param>
    /// <param name="Place">Where it lies, in the group's own reckoning.</param>
    internal readonly record struct Member(int Group, long Place)
    {
        /// <summary>Shares nothing.</summary>
        public static Member None => new(-1, 0);
    }

    /// <summary>Accesses that share a check.</summary>
    internal struct Group
    {
        public Key Key;

        /// <summary>The first byte of all of them.</summary>
        public long Low;

        /// <summary>The one behind the last.</summary>
        public long High;

        /// <summary>Whether one of them writes.</summary>
        public bool Writes;
        public int Members;

        /// <summary>The instruction of the last one.</summary>
        public int Last;

        /// <summary>Where in the state block the host address of <see cref="Low"/> is kept, for those that do not find it in R11; 0 for nowhere.</summary>
        public int Kept;
    }
}
