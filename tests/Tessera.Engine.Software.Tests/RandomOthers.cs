using Iced.Intel;
using Tessera.Plugins.Cpu.Software.Translation;

namespace Tessera.Engine.Software.Tests;

/// <summary>Instructions beside <see cref="RandomInstructions"/> that the oracle knows: the stack, strings, bit strings, absolute addresses, tables, gathers, and jumps to what comes behind.</summary>
internal static class RandomOthers
{
    private static readonly Code[] Stack = [.. Where(code => code.IsStackInstruction() && code.FlowControl() == FlowControl.Next
        && code.Mnemonic() is Mnemonic.Push or Mnemonic.Pop or Mnemonic.Pushfq or Mnemonic.Pushf or Mnemonic.Leave or Mnemonic.Enter)];

    private static readonly Code[] Bits = [.. Where(code => code.Mnemonic() is Mnemonic.Bt or Mnemonic.Bts or Mnemonic.Btr or Mnemonic.Btc && code.ToOpCode().Op1Kind is not OpCodeOperandKind.imm8)];

    private static readonly Code[] Gathers = [.. Where(code => code.Encoding() == EncodingKind.VEX && code.CpuidFeatures().Contains(CpuidFeature.AVX2) && code.ToOpCode().Op1Kind is OpCodeOperandKind.mem_vsib32x or OpCodeOperandKind.mem_vsib64x
        or OpCodeOperandKind.mem_vsib32y or OpCodeOperandKind.mem_vsib64y)];

    private static readonly Code[] Jumps = [.. Where(code => code.ToOpCode().OpCount == 1 && code.ToOpCode().Op0Kind is OpCodeOperandKind.br64_1 or OpCodeOperandKind.br64_4
        && code.FlowControl() is FlowControl.ConditionalBranch or FlowControl.UnconditionalBranch or FlowControl.Call)];

    private static readonly Code[] Absolute = [Code.Mov_AL_moffs8, Code.Mov_AX_moffs16, Code.Mov_EAX_moffs32, Code.Mov_RAX_moffs64, Code.Mov_moffs8_AL, Code.Mov_moffs16_AX, Code.Mov_moffs32_EAX, Code.Mov_moffs64_RAX];

    private static readonly Func<RepPrefixKind, int, Instruction>[] Strings =
    [
        (rep, size) => Instruction.CreateMovsb(size, Register.None, Plain(rep)), (rep, size) => Instruction.CreateMovsw(size, Register.None, Plain(rep)),
        (rep, size) => Instruction.CreateMovsd(size, Register.None, Plain(rep)), (rep, size) => Instruction.CreateMovsq(size, Register.None, Plain(rep)),
        (rep, size) => Instruction.CreateStosb(size, Plain(rep)), (rep, size) => Instruction.CreateStosw(size, Plain(rep)), (rep, size) => Instruction.CreateStosd(size, Plain(rep)),
        (rep, size) => Instruction.CreateStosq(size, Plain(rep)),
        (rep, size) => Instruction.CreateLodsb(size, Register.None, Plain(rep)), (rep, size) => Instruction.CreateLodsw(size, Register.None, Plain(rep)),
        (rep, size) => Instruction.CreateLodsd(size, Register.None, Plain(rep)), (rep, size) => Instruction.CreateLodsq(size, Register.None, Plain(rep)),
        (rep, size) => Instruction.CreateScasb(size, rep), (rep, size) => Instruction.CreateScasw(size, rep), (rep, size) => Instruction.CreateScasd(size, rep), (rep, size) => Instruction.CreateScasq(size, rep),
        (rep, size) => Instruction.CreateCmpsb(size, Register.None, rep), (rep, size) => Instruction.CreateCmpsw(size, Register.None, rep), (rep, size) => Instruction.CreateCmpsd(size, Register.None, rep),
        (rep, size) => Instruction.CreateCmpsq(size, Register.None, rep),
    ];

    private static readonly Treatments Treatments = new();

    /// <summary>What does nothing that a program could see, whatever its operand.</summary>
    private static readonly Code[] Nothing = [.. Where(code => Treatments.Of(new Instruction { Code = code }) == Treatment.Nothing)];

    private static readonly Code[] Last = [Code.Xlat_m8, Code.Maskmovdqu_rDI_xmm_xmm, Code.VEX_Vmaskmovdqu_rDI_xmm_xmm];

    /// <summary>How many kinds there are.</summary>
    public static int Count => Stack.Length + Bits.Length + Gathers.Length + Jumps.Length + Absolute.Length + Strings.Length + Nothing.Length + Last.Length;

    /// <summary>All of them.</summary>
    public static IEnumerable<Code> All => [.. Stack, .. Bits, .. Gathers, .. Jumps, .. Absolute, .. Strings.Select(make => make(RepPrefixKind.None, 64).Code), .. Nothing, .. Last];

    /// <summary>One by number.</summary>
    /// <param name="number">Which.</param>
    /// <param name="random">For its operands.</param>
    /// <param name="place">Its place in the program.</param>
    /// <param name="length">How many instructions that has.</param>
    /// <param name="instruction">The instruction.</param>
    /// <param name="wishes">What it wants of its operands.</param>
    /// <returns>False where these operands have no encoding, or it does not belong there.</returns>
    public static bool TryCreate(int number, Random random, int place, int length, out Instruction instruction, out Wishes wishes)
    {
        wishes = Wishes.None;
        if (Take(ref number, Stack.Length))
        {
            wishes = Wishes.Frame;
            return TryStack(Stack[number], random, out instruction);
        }

        if (Take(ref number, Bits.Length))
            return RandomInstructions.TryCreateAny(Bits[number], random, out instruction) && instruction.Op0Kind == OpKind.Memory;
        if (Take(ref number, Gathers.Length))
        {
            // First, as its indices must be what they were made.
            wishes = Wishes.Indices;
            instruction = default;
            return place == 0 && TryGather(Gathers[number], random, out instruction);
        }

        if (Take(ref number, Jumps.Length))
        {
            instruction = Instruction.CreateBranch(Jumps[number], (ulong)random.Next(place + 1, length + 1));
            return true;
        }

        if (Take(ref number, Absolute.Length))
            return TryAbsolute(Absolute[number], random, out instruction);
        if (Take(ref number, Strings.Length))
        {
            wishes = Wishes.Strings;
            instruction = Strings[number]((RepPrefixKind)random.Next(3), random.Next(4) == 0 ? 32 : 64);
            return true;
        }

        if (Take(ref number, Nothing.Length))
        {
            // With a register, prefetches are no opcode on some processors.
            return RandomInstructions.TryCreateAny(Nothing[number], random, out instruction)
                && (instruction.Op0Kind == OpKind.Memory || Nothing[number] is not (Code.Reservednop_rm16_r16_0F0D or Code.Reservednop_rm32_r32_0F0D or Code.Reservednop_rm64_r64_0F0D));
        }

        // Whether a masked move of nothing faults is the processor's own: it comes first, and its memory is there.
        wishes = Wishes.Strings | Wishes.Near;
        Register[] vectors = [Register.XMM0 + random.Next(8), Register.XMM0 + random.Next(8)];
        instruction = number switch
        {
            0 => Instruction.Create(Code.Xlat_m8, new MemoryOperand(Register.RBX, Register.AL)),
            1 => Instruction.CreateMaskmovdqu(64, vectors[0], vectors[1]),
            _ => Instruction.CreateVmaskmovdqu(64, vectors[0], vectors[1]),
        };
        return number == 0 || place == 0;
    }

    private static bool Take(ref int number, int count)
    {
        if (number is >= 0 && number < count)
            return true;
        number -= count;
        return false;
    }

    /// <summary>Only the string instructions that compare know the second kind of prefix.</summary>
    private static RepPrefixKind Plain(RepPrefixKind rep) => rep == RepPrefixKind.None ? rep : RepPrefixKind.Repe;

    private static bool TryStack(Code code, Random random, out Instruction instruction)
    {
        if (code.Mnemonic() == Mnemonic.Enter)
        {
            instruction = Instruction.Create(code, random.Next(64), (byte)Math.Max(0, random.Next(8) - 4));
            return true;
        }

        return RandomInstructions.TryCreateAny(code, random, out instruction);
    }

    private static bool TryGather(Code code, Random random, out Instruction instruction)
    {
        OpCodeInfo info = code.ToOpCode();
        Register from = info.Op0Kind == OpCodeOperandKind.ymm_reg ? Register.YMM0 : Register.XMM0;
        Register index = info.Op1Kind is OpCodeOperandKind.mem_vsib32y or OpCodeOperandKind.mem_vsib64y ? Register.YMM0 : Register.XMM0;
        // Even ones have indices, odd ones masks; all three must differ.
        int indices = random.Next(4) * 2, mask = (random.Next(4) * 2) + 1, to = random.Next(8);
        MemoryOperand memory = new(Register.RBX, index + indices, 1 << random.Next(4), random.Next(-RandomInstructions.Reach, RandomInstructions.Reach - 0x140), 8);
        instruction = Instruction.Create(code, from + to, memory, from + mask);
        return to != indices && to != mask;
    }

    private static bool TryAbsolute(Code code, Random random, out Instruction instruction)
    {
        bool loads = code.ToOpCode().Op1Kind == OpCodeOperandKind.mem_offs;
        instruction = default;
        instruction.Code = code;
        instruction.SetOpKind(loads ? 1 : 0, OpKind.Memory);
        instruction.MemoryDisplSize = 8;
        instruction.MemoryDisplacement64 = OracleMemory.Border + (ulong)random.Next(-RandomInstructions.Reach, RandomInstructions.Reach);
        instruction.SetOpKind(loads ? 0 : 1, OpKind.Register);
        instruction.SetOpRegister(loads ? 0 : 1, (Array.IndexOf(Absolute, code) % 4) switch { 0 => Register.AL, 1 => Register.AX, 2 => Register.EAX, _ => Register.RAX });
        return RandomInstructions.Encodes(instruction);
    }

    private static IEnumerable<Code> Where(Func<Code, bool> wanted) => Enum.GetValues<Code>().Where(code => code != Code.INVALID && code.ToOpCode().Mode64 && wanted(code));
}
