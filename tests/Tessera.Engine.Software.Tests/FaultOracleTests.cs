using Iced.Intel;
using Tessera.Plugins.Cpu.Software.Translation;
using static Iced.Intel.AssemblerRegisters;

namespace Tessera.Engine.Software.Tests;

/// <summary>
/// Exceptions are the host's processor's: vector, error code, address, RIP, registers and memory. Divisions, accesses anywhere, vector and x87 arithmetic with exceptions that
/// are not masked; and x87 and MMX arithmetic as such.
/// </summary>
[System.Runtime.Versioning.SupportedOSPlatform("linux")]
[TestFixtureSource(typeof(OracleFixture), nameof(Ways))]
internal sealed class FaultOracleTests(EngineWay way) : OracleFixture(way)
{
    private static readonly Treatments Treatments = new();
    private static readonly Code[] Divisions = [.. Native(code => code.Mnemonic() is Mnemonic.Div or Mnemonic.Idiv)];
    private static readonly Code[] Mmx = [.. Native(RandomInstructions.HasMmx), Code.Emms];

    private static readonly Code[] X87 = [.. Native(code => code.CpuidFeaturesAreX87() && !code.CpuidFeatures().Contains(CpuidFeature.MMX)
        && code.Mnemonic() is not (Mnemonic.Fldcw or Mnemonic.Fldenv or Mnemonic.Frstor or Mnemonic.Frstpm or Mnemonic.Fstdw or Mnemonic.Fstsg))];

    private static readonly Code[] Floating = [.. Native(code => !RandomInstructions.HasMmx(code) && code.CpuidFeatures().Any(feature => feature is CpuidFeature.SSE or CpuidFeature.SSE2 or CpuidFeature.AVX)
        && $"{code.Mnemonic()}" is var name && (name.Contains("add", StringComparison.OrdinalIgnoreCase) || name.Contains("sub", StringComparison.OrdinalIgnoreCase)
            || name.Contains("mul", StringComparison.OrdinalIgnoreCase) || name.Contains("div", StringComparison.OrdinalIgnoreCase) || name.Contains("sqrt", StringComparison.OrdinalIgnoreCase)
            || name.Contains("cvt", StringComparison.OrdinalIgnoreCase) || name.Contains("cmp", StringComparison.OrdinalIgnoreCase) || name.Contains("max", StringComparison.OrdinalIgnoreCase))
        && !name.StartsWith('P') && !name.StartsWith("Vp", StringComparison.Ordinal))];

    /// <summary>What only these tests try.</summary>
    internal static IEnumerable<Code> All => [.. X87, .. Mmx];

    private static readonly ProgramKind Plain = new(64) { Wishes = Wishes.Numbers };

    private static readonly ProgramKind Unmasked = new(64)
    {
        After = code => code.stmxcsr(__dword_ptr[rbx + OracleMemory.Status]),
        Control = random => (uint)((random & 0xe040) | (random >> 16 & random >> 32 & 0x1f80)),
        Wishes = Wishes.Numbers,
    };

    private static readonly ProgramKind MaskedX87 = X87Kind(random => (uint)((random & 0xf00) | 0x7f));
    private static readonly ProgramKind UnmaskedX87 = X87Kind(random => (uint)((random & 0xf3f) | 0x40));

    private static readonly ProgramKind MmxKind = new(64)
    {
        Before = code =>
        {
            code.fninit();
            for (int register = 0; register < 8; register++)
                code.movq(new AssemblerRegisterMM(Register.MM0 + register), __qword_ptr[rbx + OracleMemory.VectorsIn + (register * 16)]);
        },
        After = AfterX87,
        Control = _ => 0x37f,
    };

    [Test]
    public void Divisions_end_or_fault_as_on_the_host() => Compare(Plain, 11, 500, 2, stopsOften: true, random => [Of(Divisions, random)]);

    [Test]
    public void Accesses_anywhere_fault_as_on_the_host() => Compare(
        Plain,
        12,
        2000,
        6,
        stopsOften: true,
        random =>
        {
            while (true)
            {
                // Which of two faults comes first, of alignment or of the page, is not the same for SHA on all processors.
                if (RandomInstructions.TryCreate(random.Next(RandomInstructions.Count), random, out Instruction instruction) && instruction.MemoryBase != Register.None
                    && !instruction.Code.CpuidFeatures().Contains(CpuidFeature.SHA) && Elsewhere(ref instruction, random))
                    return [instruction];
            }
        });

    [Test]
    public void Vector_arithmetic_that_is_not_masked_faults_as_on_the_host() => Compare(
        Unmasked, 13, 1000, 4, stopsOften: true, random => [.. Enumerable.Range(0, 4).Select(_ => Of(Floating, random))]);

    [TestCase(14, true)]
    [TestCase(15, false)]
    public void X87_arithmetic_is_the_hosts(int seed, bool masked) => Compare(
        masked ? MaskedX87 : UnmaskedX87, seed, 1200, 3, stopsOften: !masked, random => [.. Enumerable.Range(0, 6).Select(_ => Of(X87, random))]);

    [Test]
    public void Mmx_arithmetic_is_the_hosts() => Compare(MmxKind, 16, 700, 2, stopsOften: false, random => [.. Enumerable.Range(0, 5).Select(_ => Of(Mmx, random))]);

    private static ProgramKind X87Kind(Func<ulong, uint> control) => new(64)
    {
        Before = code =>
        {
            code.fninit();
            // All eight, since what an empty one held before can be seen (by fxam); then half of them are empty.
            for (int index = 0; index < 8; index++)
                code.fld(__tbyte_ptr[rbx + OracleMemory.VectorsIn + (index * 16)]);
            for (int index = 0; index < 4; index++)
                code.fstp(st0);
            code.fnclex();
            code.fldcw(__word_ptr[rbx + OracleMemory.Control]);
        },
        After = AfterX87,
        Control = control,
        Wishes = Wishes.Numbers,
    };

    private static void AfterX87(Assembler code)
    {
        code.fnstsw(__word_ptr[rbx + OracleMemory.Status]);
        code.fnstcw(__word_ptr[rbx + OracleMemory.Status + 2]);
        code.fnclex();
        code.fldcw(__word_ptr[rbx + OracleMemory.ControlAfter]);
        for (int register = 0; register < 8; register++)
            code.fstp(__tbyte_ptr[rbx + OracleMemory.ValuesOut + (register * 16)]);
    }

    private void Compare(ProgramKind kind, int seed, int programs, int percent, bool stopsOften, Func<Random, List<Instruction>> make)
    {
        (long sets, long exceptions, _) = Compare(kind, seed, programs, percent, random => (make(random), Wishes.None));
        if (OracleTally.IsUsual)
            Assert.That(exceptions, stopsOften ? Is.GreaterThan(sets / 20) : Is.Zero);
    }

    private static Instruction Of(Code[] codes, Random random)
    {
        while (true)
        {
            if (RandomInstructions.TryCreate(codes[random.Next(codes.Length)], random, out Instruction instruction))
                return instruction;
        }
    }

    /// <summary>Another base than RBX, whose value is anything.</summary>
    private static bool Elsewhere(ref Instruction instruction, Random random)
    {
        if (random.Next(4) == 0)
            return true;
        instruction.MemoryBase = Register.RAX + random.Next(16);
        if (random.Next(3) == 0)
        {
            instruction.MemoryIndex = Register.RAX + random.Next(16);
            instruction.MemoryIndexScale = 1 << random.Next(4);
        }

        return instruction.MemoryIndex != Register.RSP && RandomInstructions.Encodes(instruction);
    }

    private static IEnumerable<Code> Native(Func<Code, bool> wanted)
    {
        foreach (Code code in Enum.GetValues<Code>())
        {
            Instruction probe = default;
            probe.Code = code;
            if (code != Code.INVALID && code.ToOpCode().Mode64 && code.FlowControl() == FlowControl.Next && code.CpuidFeatures().All(RandomInstructions.IsHere) && wanted(code) && Treatments.Of(probe) == Treatment.Native)
                yield return code;
        }
    }
}
