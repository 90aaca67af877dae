using Iced.Intel;
using Tessera.Plugins.Cpu.Software.Translation;
using Tessera.Sdk.Cpu;

namespace Tessera.Engine.Software.Tests;

/// <summary>
/// 32-bit code does what the host's processor does. Few hosts let a process run such code, so the oracle is the same instruction in its 64-bit encoding, with operands of
/// 32 bits and less: by the architecture it does the same. What has no such twin is in <see cref="CompatTests"/>.
/// </summary>
[TestFixtureSource(typeof(OracleTests), nameof(OracleTests.Ways))]
internal sealed class CompatOracleTests(EngineWay way) : OracleFixture(way)
{
    private static readonly Treatments Treatments = new();

    /// <summary>Forms that only 32-bit code has, and their twins.</summary>
    private static readonly (Code Short, Code Twin)[] ShortForms =
        [(Code.Inc_r32, Code.Inc_rm32), (Code.Dec_r32, Code.Dec_rm32), (Code.Inc_r16, Code.Inc_rm16), (Code.Dec_r16, Code.Dec_rm16)];

    protected override int Bits => 32;

    [TestCase(1, 1, 6000)]
    [TestCase(2, 5, 1600)]
    public void Random_32_bit_instructions_do_what_their_twins_do_on_the_host(int seed, int length, int rounds)
    {
        HashSet<Code> seen = Compare(seed, length, rounds);
        TestContext.Out.WriteLine($"{seen.Count} instructions");
        Assert.That(seen, Has.Count.GreaterThan(400));
    }

    protected override bool TryCreate(Random random, out Instruction instruction)
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
    protected override Instruction OnHost(Instruction instruction)
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

    protected override void Prepare(ref GuestCpuState state) =>
        (state.Is32Bit, state.Cs, state.Ss, state.Ds, state.Es) = (true, 0xe023, 0xe02b, 0xe02b, 0xe02b);

    protected override ulong Value(Random random) => random.Next(4) switch
    {
        0 => (uint)random.Next(16),
        1 => (uint)-random.Next(1, 16),
        2 => 1U << random.Next(32),
        _ => (uint)random.NextInt64(0, 1L << 32),
    };

    private sealed class Discard : CodeWriter
    {
        public override void WriteByte(byte value)
        {
        }
    }
}
