using Iced.Intel;
using Tessera.Plugins.Cpu.Software;
using Tessera.Sdk.Conformance.Cpu;
using Tessera.Sdk.Cpu;
using static Iced.Intel.AssemblerRegisters;

namespace Tessera.Engine.Software.Tests;

/// <summary>
/// The host's processor is the oracle: random instructions with random registers, flags and memory leave the same registers, flags and memory
/// behind as there. The memory lies across two pages of the guest whose frames do not adjoin.
/// </summary>
[TestFixtureSource(nameof(Ways))]
internal sealed class OracleTests(EngineWay way)
{
    /// <summary>With what this processor has, without, and with what makes the rare ways the common ones.</summary>
    internal static readonly EngineWay[] Ways =
    [
        new("usual", new SoftwareOptions(), 1), new("plain", new SoftwareOptions { Plain = true }, 1), new("one page", new SoftwareOptions { OnePage = true }, 4),
        new("one instruction", new SoftwareOptions { OneInstruction = true }, 4),
        new("each access by itself", new SoftwareOptions { Apart = true }, 4), new("all at once", new SoftwareOptions { Plain = true, OnePage = true, OneInstruction = true }, 4),
    ];

    private const int WindowBytes = 0x1000;
    private const int Middle = 0x800;
    private const int VectorsIn = 0x400;
    private const int VectorsOut = 0x600;
    private const int OtherFrame = EngineGuest.FirstData + 5;
    private const ulong Compared = 0x8d5;

    /// <summary>How many times as many rounds as in a usual run: a number, for a night.</summary>
    private const string Thoroughness = "TESSERA_ORACLE";

    [TestCase(1, 1, 8000)]
    [TestCase(2, 5, 2000)]
    public void Random_instructions_do_what_they_do_on_the_host(int seed, int length, int rounds)
    {
        rounds /= way.Share;
        rounds *= int.TryParse(Environment.GetEnvironmentVariable(Thoroughness), out int times) ? times : 1;
        Assume.That(System.Runtime.Intrinsics.X86.Avx.IsSupported, "This host has no AVX.");
        using SoftwareEngine engine = new(way.Options);
        using IEngineThread thread = engine.EnterThread(0);
        using NativeRunner native = new();
        Random random = new(seed);
        HashSet<Code> seen = [];
        EngineGuest? guest = null;
        try
        {
            for (int round = 0; round < rounds; round++)
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
                    if (RandomInstructions.TryCreate(random.Next(RandomInstructions.Count), random, out Instruction instruction))
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

        TestContext.Out.WriteLine($"{seen.Count} of {RandomInstructions.Count} instructions");
    }

    private static void One(EngineGuest guest, IEngineThread thread, NativeRunner native, List<Instruction> body, Random random, string what)
    {
        byte[] memory = new byte[WindowBytes];
        random.NextBytes(memory);
        byte[] expected = [.. memory];
        ulong[] registers = [.. Enumerable.Range(0, NativeRunner.Order.Length).Select(_ => Value(random))];
        ulong flags = (ulong)random.Next() & Compared;
        byte[] code = Assemble(body);

        // On the host.
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
                native.Run(code);
                new Span<byte>(aligned, WindowBytes).CopyTo(expected);
            }
        }

        // Translated: the window is half a page on either side of the border.
        Span<byte> low = System.Runtime.InteropServices.MemoryMarshal.AsBytes(guest.Words(EngineGuest.FirstData))[(4096 - Middle)..];
        Span<byte> high = System.Runtime.InteropServices.MemoryMarshal.AsBytes(guest.Words(OtherFrame))[..Middle];
        memory.AsSpan(0, Middle).CopyTo(low);
        memory.AsSpan(Middle).CopyTo(high);
        guest.Assemble(assembler =>
        {
            assembler.db(code);
            guest.Hypercall(assembler);
        });
        guest.CodeChanged();
        ref GuestCpuState state = ref guest.State;
        registers[1] = EngineGuest.Data + 4096;
        (state.Rax, state.Rbx, state.Rcx, state.Rdx, state.Rsi, state.Rdi, state.Rbp) = (registers[0], registers[1], registers[2], registers[3], registers[4], registers[5], registers[6]);
        (state.R8, state.R9, state.R10, state.R11, state.R12, state.R13, state.R14, state.R15) =
            (registers[7], registers[8], registers[9], registers[10], registers[11], registers[12], registers[13], registers[14]);
        state.Rflags = flags | 0x202;
        state.Rip = EngineGuest.Code;
        Trap trap = guest.Run(thread, milliseconds: 20_000);
        Assert.That(trap.Kind, Is.EqualTo(TrapKind.Hypercall), $"{what}: vector {trap.Vector} at 0x{state.Rip:x} {trap.Diagnosis}");

        ulong[] after = [state.Rax, state.Rbx - EngineGuest.Data - 4096, state.Rcx, state.Rdx, state.Rsi, state.Rdi, state.Rbp, state.R8, state.R9, state.R10, state.R11, state.R12, state.R13, state.R14, state.R15];
        ulong[] host = native.State[..NativeRunner.Order.Length].ToArray();
        host[1] = 0;
        Assert.That(after, Is.EqualTo(host), what);
        Assert.That(state.Rflags & Compared, Is.EqualTo(native.State[^1] & Compared), what);
        Assert.That(low.SequenceEqual(expected.AsSpan(0, Middle)) && high.SequenceEqual(expected.AsSpan(Middle)), Is.True, $"{what}: memory");
    }

    /// <summary>Vector registers come from the window before, and go there after.</summary>
    private static byte[] Assemble(List<Instruction> body)
    {
        Assembler assembler = new(64);
        for (int register = 0; register < 8; register++)
            assembler.vmovups(new AssemblerRegisterYMM(Register.YMM0 + register), __ymmword_ptr[rbx + VectorsIn + (register * 32)]);
        foreach (Instruction instruction in body)
            assembler.AddInstruction(instruction);
        for (int register = 0; register < 8; register++)
            assembler.vmovups(__ymmword_ptr[rbx + VectorsOut + (register * 32)], new AssemblerRegisterYMM(Register.YMM0 + register));
        using MemoryStream stream = new();
        assembler.Assemble(new StreamCodeWriter(stream), EngineGuest.Code);
        return stream.ToArray();
    }

    private static ulong Value(Random random) => random.Next(4) switch
    {
        0 => (ulong)random.Next(16),
        1 => (ulong)-random.Next(1, 16),
        2 => 1UL << random.Next(64),
        _ => (ulong)random.NextInt64(long.MinValue, long.MaxValue),
    };
}
