using Iced.Intel;
using Tessera.Plugins.Cpu.Software;
using Tessera.Plugins.Cpu.Software.Translation;
using Tessera.Sdk.Conformance.Cpu;
using Tessera.Sdk.Cpu;
using static Iced.Intel.AssemblerRegisters;

namespace Tessera.Engine.Software.Tests;

/// <summary>
/// 32-bit code does what the host's processor does. Few hosts let a process run such code, so the oracle is the same instruction in its 64-bit encoding, with operands of
/// 32 bits and less: by the architecture it does the same. What has no such twin is in <see cref="CompatTests"/>.
/// </summary>
[TestFixtureSource(typeof(OracleTests), nameof(OracleTests.Ways))]
internal sealed class CompatOracleTests(EngineWay way)
{
    private const int WindowBytes = 0x1000;
    private const int Middle = 0x800;
    private const int VectorsIn = 0x400;
    private const int VectorsOut = 0x600;
    private const int OtherFrame = EngineGuest.FirstData + 5;
    private const ulong Compared = 0x8d5;

    private static readonly Treatments Treatments = new();

    /// <summary>Forms that only 32-bit code has, and their twins.</summary>
    private static readonly (Code Short, Code Twin)[] ShortForms =
        [(Code.Inc_r32, Code.Inc_rm32), (Code.Dec_r32, Code.Dec_rm32), (Code.Inc_r16, Code.Inc_rm16), (Code.Dec_r16, Code.Dec_rm16)];

    [TestCase(1, 1, 6000)]
    [TestCase(2, 5, 1600)]
    public void Random_32_bit_instructions_do_what_their_twins_do_on_the_host(int seed, int length, int rounds)
    {
        Assume.That(System.Runtime.Intrinsics.X86.Avx.IsSupported, "This host has no AVX.");
        using SoftwareEngine engine = new(way.Options);
        using IEngineThread thread = engine.EnterThread(0);
        using NativeRunner native = new();
        Random random = new(seed);
        HashSet<Code> seen = [];
        EngineGuest? guest = null;
        try
        {
            for (int round = 0; round < rounds / way.Share; round++)
            {
                if (round % 200 == 0)
                {
                    guest?.Dispose();
                    guest = new EngineGuest(engine);
                    guest.Change(EngineGuest.L1, EngineGuest.EntryOf(EngineGuest.Data) + 1, guest.Frame(OtherFrame).Address | EngineGuest.Rights);
                }

                List<Instruction> body = [];
                while (body.Count < length)
                {
                    if (TryCreate(random, out Instruction instruction))
                        body.Add(instruction);
                }

                seen.UnionWith(body.Select(instruction => instruction.Code));
                One(guest!, thread, native, body, random, $"seed {seed}, round {round}: {string.Join("; ", body)}");
            }
        }
        finally
        {
            guest?.Dispose();
        }

        TestContext.Out.WriteLine($"{seen.Count} instructions");
        Assert.That(seen, Has.Count.GreaterThan(400));
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
    private static Instruction Twin(Instruction instruction)
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

    private static void One(EngineGuest guest, IEngineThread thread, NativeRunner native, List<Instruction> body, Random random, string what)
    {
        byte[] memory = new byte[WindowBytes];
        random.NextBytes(memory);
        byte[] expected = [.. memory];
        ulong[] registers = [.. Enumerable.Range(0, NativeRunner.Order.Length).Select(_ => (ulong)Value(random))];
        ulong flags = (ulong)random.Next() & Compared;

        registers.CopyTo(native.State);
        native.State[^1] = flags | 0x202;
        unsafe
        {
            fixed (byte* buffer = GC.AllocateArray<byte>(WindowBytes + 64, pinned: true))
            {
                // SAFETY: pinned; aligned up to 64 inside it; instructions reach no further than the window.
                byte* aligned = (byte*)(((nint)buffer + 63) & ~63);
                expected.CopyTo(new Span<byte>(aligned, WindowBytes));
                native.State[1] = (ulong)aligned + Middle;
                native.Run(Assemble(body.Select(Twin), 64));
                new Span<byte>(aligned, WindowBytes).CopyTo(expected);
            }
        }

        Span<byte> low = System.Runtime.InteropServices.MemoryMarshal.AsBytes(guest.Words(EngineGuest.FirstData))[(4096 - Middle)..];
        Span<byte> high = System.Runtime.InteropServices.MemoryMarshal.AsBytes(guest.Words(OtherFrame))[..Middle];
        memory.AsSpan(0, Middle).CopyTo(low);
        memory.AsSpan(Middle).CopyTo(high);
        byte[] code = Assemble(body, 32);
        guest.Assemble(
            assembler =>
            {
                assembler.db(code);
                guest.Hypercall(assembler);
            },
            bits: 32);
        guest.CodeChanged();
        ref GuestCpuState state = ref guest.State;
        registers[1] = EngineGuest.Data + 4096;
        (state.Rax, state.Rbx, state.Rcx, state.Rdx, state.Rsi, state.Rdi, state.Rbp) = (registers[0], registers[1], registers[2], registers[3], registers[4], registers[5], registers[6]);
        (state.Rflags, state.Rip) = (flags | 0x202, EngineGuest.Code);
        (state.Is32Bit, state.Cs, state.Ss, state.Ds, state.Es) = (true, 0xe023, 0xe02b, 0xe02b, 0xe02b);
        Trap trap = guest.Run(thread);
        Assert.That(trap.Kind, Is.EqualTo(TrapKind.Hypercall), $"{what}: vector {trap.Vector} at 0x{state.Rip:x} {trap.Diagnosis}");

        ulong[] after = [state.Rax, state.Rbx - EngineGuest.Data - 4096, state.Rcx, state.Rdx, state.Rsi, state.Rdi, state.Rbp];
        ulong[] host = native.State[..after.Length].ToArray();
        host[1] = 0;
        Assert.That(after, Is.EqualTo(host), what);
        Assert.That(state.Rflags & Compared, Is.EqualTo(native.State[^1] & Compared), what);
        Assert.That(low.SequenceEqual(expected.AsSpan(0, Middle)) && high.SequenceEqual(expected.AsSpan(Middle)), Is.True, $"{what}: memory");
    }

    /// <summary>Vector registers come from the window before, and go there after.</summary>
    private static byte[] Assemble(IEnumerable<Instruction> body, int bits)
    {
        Assembler assembler = new(bits);
        AssemblerMemoryOperand Place(int offset) => bits == 64 ? __ymmword_ptr[rbx + offset] : __ymmword_ptr[ebx + offset];
        for (int register = 0; register < 8; register++)
            assembler.vmovups(new AssemblerRegisterYMM(Register.YMM0 + register), Place(VectorsIn + (register * 32)));
        foreach (Instruction instruction in body)
            assembler.AddInstruction(instruction);
        for (int register = 0; register < 8; register++)
            assembler.vmovups(Place(VectorsOut + (register * 32)), new AssemblerRegisterYMM(Register.YMM0 + register));
        using MemoryStream stream = new();
        assembler.Assemble(new StreamCodeWriter(stream), EngineGuest.Code);
        return stream.ToArray();
    }

    private static uint Value(Random random) => random.Next(4) switch
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
