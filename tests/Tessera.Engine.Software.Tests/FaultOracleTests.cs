using Iced.Intel;
using Tessera.Plugins.Cpu.Software;
using Tessera.Plugins.Cpu.Software.Translation;
using Tessera.Sdk.Conformance.Cpu;
using Tessera.Sdk.Cpu;
using static Iced.Intel.AssemblerRegisters;

namespace Tessera.Engine.Software.Tests;

/// <summary>
/// Exceptions are the host's processor's: vector, error code, address, RIP, registers and memory. Divisions, accesses anywhere, vector and x87 arithmetic with exceptions that
/// are not masked; and x87 and MMX arithmetic as such. The host's side runs in a process of its own.
/// </summary>
[System.Runtime.Versioning.SupportedOSPlatform("linux")]
[TestFixtureSource(typeof(OracleTests), nameof(OracleTests.Ways))]
internal sealed class FaultOracleTests(EngineWay way)
{
    private const int PageFault = 14;
    private const int GeneralProtection = 13;
    private const int Middle = 0x800;

    /// <summary>Linux keeps the last page below the gap empty.</summary>
    private const ulong UserEnd = 0x7fff_ffff_f000;
    private const int ControlPlace = 0x3c0;
    private const int StatusPlace = 0x3d0;
    private const int ValuesIn = 0x400;
    private const int ValuesOut = 0x600;
    private const int OtherFrame = EngineGuest.FirstData + 5;
    private const ulong Compared = 0x8d5;
    private const ulong Stack = EngineGuest.StackTop - 0x200;

    private static readonly Treatments Treatments = new();
    private static readonly Code[] Divisions = [.. Native(code => code.Mnemonic() is Mnemonic.Div or Mnemonic.Idiv)];
    private static readonly Code[] Mmx = [.. Native(code => code.CpuidFeatures().Contains(CpuidFeature.MMX))];

    private static readonly Code[] X87 = [.. Native(code => code.CpuidFeaturesAreX87() && !code.CpuidFeatures().Contains(CpuidFeature.MMX)
        && code.Mnemonic() is not (Mnemonic.Fldcw or Mnemonic.Fldenv or Mnemonic.Frstor or Mnemonic.Fnsetpm or Mnemonic.Fsetpm or Mnemonic.Fneni or Mnemonic.Feni
            or Mnemonic.Fndisi or Mnemonic.Fdisi or Mnemonic.Frstpm or Mnemonic.Fstdw or Mnemonic.Fstsg))];

    private static readonly Code[] Floating = [.. Native(code => !RandomInstructions.HasMmx(code) && code.CpuidFeatures().Any(feature => feature is CpuidFeature.SSE or CpuidFeature.SSE2 or CpuidFeature.AVX)
        && $"{code.Mnemonic()}" is var name && (name.Contains("add", StringComparison.OrdinalIgnoreCase) || name.Contains("sub", StringComparison.OrdinalIgnoreCase)
            || name.Contains("mul", StringComparison.OrdinalIgnoreCase) || name.Contains("div", StringComparison.OrdinalIgnoreCase) || name.Contains("sqrt", StringComparison.OrdinalIgnoreCase)
            || name.Contains("cvt", StringComparison.OrdinalIgnoreCase) || name.Contains("cmp", StringComparison.OrdinalIgnoreCase) || name.Contains("max", StringComparison.OrdinalIgnoreCase))
        && !name.StartsWith('P') && !name.StartsWith("Vp", StringComparison.Ordinal))];

    [Test]
    public void Divisions_end_or_fault_as_on_the_host() => Compare(11, 2000, stopsOften: true, random => [Of(Divisions, random)]);

    [Test]
    public void Accesses_anywhere_fault_as_on_the_host() => Compare(
        12,
        4000,
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
        13,
        2000,
        stopsOften: true,
        random => [.. Enumerable.Range(0, 4).Select(_ => Of(Floating, random))],
        before: code => code.ldmxcsr(__dword_ptr[rbx + ControlPlace]),
        after: code => code.stmxcsr(__dword_ptr[rbx + StatusPlace]),
        control: random => (uint)((random.Next() & 0xe040) | (random.Next() & random.Next() & 0x1f80)));

    [TestCase(14, true)]
    [TestCase(15, false)]
    public void X87_arithmetic_is_the_hosts(int seed, bool masked) => Compare(
        seed,
        2500,
        stopsOften: !masked,
        random => [.. Enumerable.Range(0, 6).Select(_ => Of(X87, random))],
        before: code =>
        {
            code.fninit();
            // All eight, since what an empty one held before can be seen (by fxam); then half of them are empty.
            for (int index = 0; index < 8; index++)
                code.fld(__tbyte_ptr[rbx + ValuesIn + (index * 16)]);
            for (int index = 0; index < 4; index++)
                code.fstp(st0);
            code.fnclex();
            code.fldcw(__word_ptr[rbx + ControlPlace]);
        },
        after: AfterX87,
        control: random => (uint)((random.Next() & 0xf00) | 0x40 | (masked ? 0x3f : random.Next() & 0x3f)));

    [Test]
    public void Mmx_arithmetic_is_the_hosts() => Compare(
        16,
        1500,
        stopsOften: false,
        random => [.. Enumerable.Range(0, 5).Select(_ => Of(Mmx, random))],
        before: code =>
        {
            code.fninit();
            for (int register = 0; register < 8; register++)
                code.movq(new AssemblerRegisterMM(Register.MM0 + register), __qword_ptr[rbx + ValuesIn + (register * 16)]);
        },
        after: AfterX87,
        control: _ => 0x37f);

    private static void AfterX87(Assembler code)
    {
        code.fnstsw(__word_ptr[rbx + StatusPlace]);
        code.fnstcw(__word_ptr[rbx + StatusPlace + 2]);
        code.fnclex();
        code.fldcw(__word_ptr[rbx + ControlPlace + 8]);
        for (int register = 0; register < 8; register++)
            code.fstp(__tbyte_ptr[rbx + ValuesOut + (register * 16)]);
    }

    private void Compare(int seed, int rounds, bool stopsOften, Func<Random, Instruction[]> make, Action<Assembler>? before = null, Action<Assembler>? after = null, Func<Random, uint>? control = null)
    {
        Assume.That(System.Runtime.Intrinsics.X86.Avx.IsSupported, "This host has no AVX.");
        using SoftwareEngine engine = new(way.Options);
        using IEngineThread thread = engine.EnterThread(0);
        using NativeChild native = new();
        using EngineGuest guest = new(engine);
        guest.Change(EngineGuest.L1, EngineGuest.EntryOf(EngineGuest.Data) + 1, guest.Frame(OtherFrame).Address | EngineGuest.Rights);
        Random random = new(seed);
        int stopped = 0;
        rounds /= way.Share;
        for (int round = 0; round < rounds; round++)
        {
            byte[] window = new byte[NativeChild.WindowBytes];
            random.NextBytes(window);
            Values(window, random);
            BitConverter.TryWriteBytes(window.AsSpan(Middle + ControlPlace), control?.Invoke(random) ?? 0);
            BitConverter.TryWriteBytes(window.AsSpan(Middle + ControlPlace + 8), 0x37f);
            ulong[] registers = [.. Enumerable.Range(0, NativeChild.Registers).Select(_ => Value(random))];
            registers[3] = EngineGuest.Data + 0x1000;
            registers[4] = Stack;
            registers[16] = ((ulong)random.Next() & Compared) | 0x202;
            Instruction[] body = make(random);
            byte[] code = Assemble(body, before, after);
            string what = $"seed {seed}, round {round}: {string.Join("; ", body)}";
            if (One(native, guest, thread, code, registers, window, what))
                stopped++;
        }

        TestContext.Out.WriteLine($"{stopped} of {rounds} ended with an exception");
        Assert.That(stopped, stopsOften ? Is.GreaterThan(rounds / 20) : Is.Zero);
    }

    /// <summary>Answers whether it stopped before its end.</summary>
    private static bool One(NativeChild native, EngineGuest guest, IEngineThread thread, byte[] code, ulong[] registers, byte[] window, string what)
    {
        Span<byte> low = System.Runtime.InteropServices.MemoryMarshal.AsBytes(guest.Words(EngineGuest.FirstData))[(4096 - Middle)..];
        Span<byte> high = System.Runtime.InteropServices.MemoryMarshal.AsBytes(guest.Words(OtherFrame))[..Middle];
        window.AsSpan(0, Middle).CopyTo(low);
        window.AsSpan(Middle).CopyTo(high);
        NativeChild.End end = native.Run(code, registers, window);

        byte[] whole = new byte[NativeChild.CodeBytes];
        whole.AsSpan().Fill(0xf4);
        code.CopyTo(whole.AsSpan());
        guest.Assemble(assembler => assembler.db(whole));
        guest.CodeChanged();
        ref GuestCpuState state = ref guest.State;
        (state.Rax, state.Rcx, state.Rdx, state.Rbx, state.Rsp, state.Rbp, state.Rsi, state.Rdi) =
            (registers[0], registers[1], registers[2], registers[3], registers[4], registers[5], registers[6], registers[7]);
        (state.R8, state.R9, state.R10, state.R11, state.R12, state.R13, state.R14, state.R15) =
            (registers[8], registers[9], registers[10], registers[11], registers[12], registers[13], registers[14], registers[15]);
        (state.Rflags, state.Rip) = (registers[16], EngineGuest.Code);
        Trap trap = guest.Run(thread);
        Assert.That(trap.Kind, Is.EqualTo(TrapKind.Exception), $"{what}: {trap.Diagnosis}");

        bool atEnd = end.Vector == GeneralProtection && end.Rip == EngineGuest.Code + (ulong)code.Length;
        // A kernel hides from its programs whether its own half is mapped.
        uint hidden = end.Vector == PageFault && end.Address >= UserEnd ? 1u : 0;
        ulong address = end.Vector == PageFault ? end.Address : 0;
        Assert.That(((int)trap.Vector, trap.ErrorCode | hidden, state.Rip, trap.FaultAddress), Is.EqualTo((end.Vector, end.ErrorCode | hidden, end.Rip, address)), what);
        ulong[] found = [state.Rax, state.Rcx, state.Rdx, state.Rbx, state.Rsp, state.Rbp, state.Rsi, state.Rdi, state.R8, state.R9, state.R10, state.R11, state.R12, state.R13, state.R14, state.R15];
        Assert.That(found, Is.EqualTo(end.State[..16]), what);
        // Flags that an instruction replaces are anything while it faults.
        if (atEnd)
            Assert.That(state.Rflags & Compared, Is.EqualTo(end.State[16] & Compared), what);
        Assert.That(low.SequenceEqual(window.AsSpan(0, Middle)) && high.SequenceEqual(window.AsSpan(Middle)), Is.True, $"{what}: memory");
        return !atEnd;
    }

    private static byte[] Assemble(Instruction[] body, Action<Assembler>? before, Action<Assembler>? after)
    {
        Assembler assembler = new(64);
        for (int register = 0; register < 8; register++)
            assembler.vmovups(new AssemblerRegisterYMM(Register.YMM0 + register), __ymmword_ptr[rbx + ValuesIn + (register * 32)]);
        before?.Invoke(assembler);
        foreach (Instruction instruction in body)
            assembler.AddInstruction(instruction);
        after?.Invoke(assembler);
        for (int register = 0; register < 8; register++)
            assembler.vmovups(__ymmword_ptr[rbx + ValuesOut + 0x100 + (register * 32)], new AssemblerRegisterYMM(Register.YMM0 + register));
        using MemoryStream stream = new();
        assembler.Assemble(new StreamCodeWriter(stream), EngineGuest.Code);
        return stream.ToArray();
    }

    /// <summary>Numbers that arithmetic has trouble with, among random ones.</summary>
    private static void Values(byte[] window, Random random)
    {
        for (int place = Middle - RandomInstructions.Reach; place < Middle + ValuesOut; place += 16)
        {
            switch (random.Next(6))
            {
                case 0:
                    BitConverter.TryWriteBytes(window.AsSpan(place), random.Next(-5, 5) * 0.5);
                    BitConverter.TryWriteBytes(window.AsSpan(place + 8), double.MaxValue);
                    break;
                case 1:
                    BitConverter.TryWriteBytes(window.AsSpan(place), (float)random.NextDouble());
                    BitConverter.TryWriteBytes(window.AsSpan(place + 4), 0);
                    BitConverter.TryWriteBytes(window.AsSpan(place + 8), double.NaN);
                    break;
                case 2:
                    // An x87 number: the integer bit, and an exponent near the middle.
                    BitConverter.TryWriteBytes(window.AsSpan(place), (ulong)random.NextInt64() | (1UL << 63));
                    BitConverter.TryWriteBytes(window.AsSpan(place + 8), (ushort)(0x3fff + random.Next(-70, 70)));
                    break;
                default:
                    break;
            }
        }
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

        return instruction.MemoryIndex != Register.RSP && Encoder.Create(64, new Discard()).TryEncode(instruction, 0x40_0000, out _, out _);
    }

    private static IEnumerable<Code> Native(Func<Code, bool> wanted)
    {
        foreach (Code code in Enum.GetValues<Code>())
        {
            Instruction probe = default;
            probe.Code = code;
            if (code != Code.INVALID && code.ToOpCode().Mode64 && code.FlowControl() == FlowControl.Next && wanted(code) && Treatments.Of(probe) == Treatment.Native)
                yield return code;
        }
    }

    private static ulong Value(Random random) => random.Next(4) switch
    {
        0 => (ulong)random.Next(16),
        1 => (ulong)-random.Next(1, 16),
        2 => 1UL << random.Next(64),
        _ => (ulong)random.NextInt64(long.MinValue, long.MaxValue),
    };

    private sealed class Discard : CodeWriter
    {
        public override void WriteByte(byte value)
        {
        }
    }
}
