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
internal abstract class OracleFixture(EngineWay way)
{
    private const int WindowBytes = 0x1000;
    private const int Middle = 0x800;
    private const int VectorsIn = 0x400;
    private const int VectorsOut = 0x600;
    private const int OtherFrame = EngineGuest.FirstData + 5;
    private const ulong Compared = 0x8d5;

    /// <summary>How many times as many rounds as in a usual run: a number, for a night.</summary>
    private const string Thoroughness = "TESSERA_ORACLE";

    /// <summary>64, or 32.</summary>
    protected abstract int Bits { get; }

    /// <summary>A random instruction of the guest's; false to try again.</summary>
    protected abstract bool TryCreate(Random random, out Instruction instruction);

    /// <summary>What the host is given for it.</summary>
    protected virtual Instruction OnHost(Instruction instruction) => instruction;

    /// <summary>A random value of a register.</summary>
    protected abstract ulong Value(Random random);

    /// <summary>Prepares what a guest's CPU has beside general registers, flags and RIP.</summary>
    protected virtual void Prepare(ref GuestCpuState state)
    {
    }

    /// <summary>Compares so many sequences.</summary>
    /// <returns>Which instructions there were.</returns>
    protected HashSet<Code> Compare(int seed, int length, int rounds)
    {
        Assume.That(System.Runtime.Intrinsics.X86.Avx.IsSupported, "This host has no AVX.");
        rounds /= way.Share;
        rounds *= int.TryParse(Environment.GetEnvironmentVariable(Thoroughness), out int times) ? times : 1;
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

        return seen;
    }

    private void One(EngineGuest guest, IEngineThread thread, NativeRunner native, List<Instruction> body, Random random, string what)
    {
        byte[] memory = new byte[WindowBytes];
        random.NextBytes(memory);
        byte[] expected = [.. memory];
        ulong[] registers = [.. Enumerable.Range(0, NativeRunner.Order.Length).Select(_ => Value(random))];
        ulong flags = (ulong)random.Next() & Compared;

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
                native.Run(Assemble(body.Select(OnHost), 64));
                new Span<byte>(aligned, WindowBytes).CopyTo(expected);
            }
        }

        // Translated: the window is half a page on either side of the border.
        Span<byte> low = System.Runtime.InteropServices.MemoryMarshal.AsBytes(guest.Words(EngineGuest.FirstData))[(4096 - Middle)..];
        Span<byte> high = System.Runtime.InteropServices.MemoryMarshal.AsBytes(guest.Words(OtherFrame))[..Middle];
        memory.AsSpan(0, Middle).CopyTo(low);
        memory.AsSpan(Middle).CopyTo(high);
        byte[] code = Assemble(body, Bits);
        guest.Assemble(
            assembler =>
            {
                assembler.db(code);
                guest.Hypercall(assembler);
            },
            bits: Bits);
        guest.CodeChanged();
        ref GuestCpuState state = ref guest.State;
        registers[1] = EngineGuest.Data + 4096;
        (state.Rax, state.Rbx, state.Rcx, state.Rdx, state.Rsi, state.Rdi, state.Rbp) = (registers[0], registers[1], registers[2], registers[3], registers[4], registers[5], registers[6]);
        if (Bits == 64)
        {
            (state.R8, state.R9, state.R10, state.R11, state.R12, state.R13, state.R14, state.R15) =
                (registers[7], registers[8], registers[9], registers[10], registers[11], registers[12], registers[13], registers[14]);
        }

        (state.Rflags, state.Rip) = (flags | 0x202, EngineGuest.Code);
        Prepare(ref state);
        Trap trap = guest.Run(thread, milliseconds: 20_000);
        Assert.That(trap.Kind, Is.EqualTo(TrapKind.Hypercall), $"{what}: vector {trap.Vector} at 0x{state.Rip:x} {trap.Diagnosis}");

        ulong[] after = [state.Rax, state.Rbx - EngineGuest.Data - 4096, state.Rcx, state.Rdx, state.Rsi, state.Rdi, state.Rbp];
        if (Bits == 64)
            after = [.. after, state.R8, state.R9, state.R10, state.R11, state.R12, state.R13, state.R14, state.R15];
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
}
