using Iced.Intel;
using Tessera.Plugins.Cpu.Software.Translation;

namespace Tessera.Engine.Software.Tests;

/// <summary>
/// 32-bit code does what the host's processor does. Few hosts let a process run such code, so the oracle is the same instruction in its 64-bit encoding, with operands of
/// 32 bits and less: by the architecture it does the same. What has no such twin is in <see cref="CompatTests"/>.
/// </summary>
[System.Runtime.Versioning.SupportedOSPlatform("linux")]
[TestFixtureSource(typeof(OracleFixture), nameof(Ways))]
internal sealed class CompatOracleTests(EngineWay way) : OracleFixture(way)
{
    private static readonly Treatments Treatments = new();

    /// <summary>Forms that only 32-bit code has, and their twins.</summary>
    private static readonly (Code Short, Code Twin)[] ShortForms =
        [(Code.Inc_r32, Code.Inc_rm32), (Code.Dec_r32, Code.Dec_rm32), (Code.Inc_r16, Code.Inc_rm16), (Code.Dec_r16, Code.Dec_rm16)];

    private static readonly ProgramKind Kind = new(32) { OnHost = OnHost, Wishes = Wishes.Narrow };

    [TestCase(1, 1, 3000, 9)]
    [TestCase(2, 5, 800, 16)]
    public void Random_32_bit_instructions_do_what_their_twins_do_on_the_host(int seed, int length, int programs, int percent)
    {
        HashSet<Code> kinds = Compare(Kind, seed, programs, percent, random => (Make(random, length), Wishes.None)).Kinds;
        if (OracleTally.IsUsual)
            Assert.That(kinds, Has.Count.GreaterThan(400));
    }

    private static List<Instruction> Make(Random random, int length)
    {
        List<Instruction> body = [];
        while (body.Count < length)
        {
            if (TryCreate(random, out Instruction instruction))
                body.Add(instruction);
        }

        return body;
    }

    private static bool TryCreate(Random random, out Instruction instruction)
    {
        if (random.Next(20) == 0)
        {
            int form = random.Next(ShortForms.Length);
            instruction = default;
            instruction.Code = ShortForms[form].Short;
            instruction.Op0Kind = OpKind.Register;
            instruction.Op0Register = (form < 2 ? Register.EAX : Register.AX) + (random.Next(3) == 0 ? 6 : random.Next(3));
            return true;
        }

        if (!RandomInstructions.TryCreate(random.Next(RandomInstructions.Count), random, out instruction) || !instruction.Code.ToOpCode().Mode32)
            return false;
        for (int operand = 0; operand < instruction.OpCount; operand++)
        {
            if (instruction.GetOpKind(operand) != OpKind.Register)
                continue;
            Register register = instruction.GetOpRegister(operand);
            if (register.IsGPR64() || (register.IsGPR() && (register.GetFullRegister() > Register.RDI || register is >= Register.SPL and <= Register.DIL)))
                return false;
        }

        if (instruction.MemoryBase != Register.None)
        {
            instruction.MemoryBase = Register.EBX;
            instruction.MemoryDisplacement64 = (uint)instruction.MemoryDisplacement64;
            instruction.MemoryDisplSize = 4;
        }

        Instruction probe = instruction;
        probe.CodeSize = CodeSize.Code32;
        return Treatments.Of(probe) is Treatment.Native or Treatment.Helper
            && Encoder.Create(32, new Discard()).TryEncode(instruction, 0x40_0000, out _, out _);
    }

    /// <summary>The same in its 64-bit encoding.</summary>
    private static Instruction OnHost(Instruction instruction)
    {
        foreach ((Code form, Code twin) in ShortForms)
        {
            if (instruction.Code == form)
                instruction.Code = twin;
        }

        if (instruction.MemoryBase != Register.None)
        {
            instruction.MemoryBase = Register.RBX;
            instruction.MemoryDisplacement64 = (ulong)(int)instruction.MemoryDisplacement64;
            instruction.MemoryDisplSize = 8;
        }

        return instruction;
    }

    private sealed class Discard : CodeWriter
    {
        public override void WriteByte(byte value)
        {
        }
    }
}
