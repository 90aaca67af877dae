using System.Runtime.InteropServices;
using Iced.Intel;
using Tessera.Plugins.Cpu.Software;
using Tessera.Plugins.Cpu.Software.Translation;
using Tessera.Sdk;
using Tessera.Sdk.Conformance.Cpu;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Cpu.X64;
using static Iced.Intel.AssemblerRegisters;

namespace Tessera.Engine.Software.Tests;

/// <summary>Accesses that share a check do what they do when each is checked by itself: the same registers, memory, accessed and dirty bits, faults and work.</summary>
[TestFixture(false, false)]
[TestFixture(true, false)]
[TestFixture(false, true)]
internal sealed class SharedCheckTests(bool plain, bool counted)
{
    private const ulong Arithmetic = 0x8d5;
    private const ulong Accessed = 0x20;
    private const ulong Dirty = 0x40;
    private const ulong Writable = 2;
    private const ulong Present = 1;
    private const int FirstPage = 16;
    private const int Pages = 8;

    /// <summary>How many times as many rounds as in a usual run: a number, for a night.</summary>
    private const string Thoroughness = "TESSERA_SHARED_CHECKS";

    private static readonly AssemblerRegister64[] Bases = [rbx, rsi, rbp, r9, r11, r15, rsp];
    private static readonly AssemblerRegister64[] Values = [rax, rdx, rdi, r8, r10, r12, r13, r14];
    private static readonly AssemblerRegisterXMM[] Vectors = [xmm0, xmm5, xmm15];
    private static readonly GuestTime Time = new() { InstructionsPerMicrosecond = 300, Seed = 5 };

    [Test]
    public void Sharing_a_check_changes_nothing([Values(1, 2, 3)] int seed)
    {
        int rounds = 250 * (int.TryParse(Environment.GetEnvironmentVariable(Thoroughness), out int times) ? times : 1);
        using SoftwareEngine sharing = new(new SoftwareOptions { Plain = plain });
        using SoftwareEngine apart = new(new SoftwareOptions { Plain = plain, Apart = true });
        using IEngineThread thread = sharing.EnterThread(0);
        int faults = 0;
        for (int round = 0; round < rounds; round++)
        {
            using EngineGuest one = new(sharing, time: counted ? Time : null);
            using EngineGuest other = new(apart, time: counted ? Time : null);
            // Two numbers of its own, the same in every process.
            int program = (seed * 1_000_003) + (round * 2);
            // Once to fill the TLB, which is where checks of several fail; then as it is most of the time.
            for (int run = 0; run < 3; run++)
            {
                (Trap trap, long work) = Run(one, thread, program, run);
                (Trap expected, long expectedWork) = Run(other, thread, program, run);
                string what = $"seed {seed}, round {round}, run {run}";
                Assert.That((trap.Kind, trap.Vector, trap.ErrorCode, trap.FaultAddress), Is.EqualTo((expected.Kind, expected.Vector, expected.ErrorCode, expected.FaultAddress)), what);
                bool isFault = trap.Kind == TrapKind.Exception;
                faults += isFault ? 1 : 0;
                Assert.That(Registers(one, isFault), Is.EqualTo(Registers(other, isFault)), what);
                Assert.That(work, Is.EqualTo(expectedWork), what);
                for (int frame = 0; frame < EngineGuest.Frames; frame++)
                    Assert.That(Memory(one, frame).SequenceEqual(Memory(other, frame)), Is.True, $"{what}: frame {frame}");
            }
        }

        Assert.That(faults, Is.InRange(rounds, rounds * 2), "of the three times as many runs about half fault");
    }

    [TestCaseSource(nameof(Blocks))]
    public void What_lies_near_shares_a_check(int checks, Action<Assembler> write)
    {
        Assembler assembler = new(64);
        write(assembler);
        using MemoryStream stream = new();
        assembler.Assemble(new StreamCodeWriter(stream), EngineGuest.Code);
        Decoder decoder = Decoder.Create(64, stream.ToArray());
        List<Instruction> block = [];
        while (decoder.IP < (ulong)stream.Length)
            block.Add(decoder.Decode());
        CheckGroups groups = new(block.Count);
        groups.Find(CollectionsMarshal.AsSpan(block), new Treatments());
        Assert.That(groups.Count, Is.EqualTo(checks));
    }

    private static IEnumerable<TestCaseData> Blocks()
    {
        yield return Block("Pushes", 1, a => { a.push(rax); a.push(rbx); a.push(3); a.mov(__[rsp + 8], rax); });
        yield return Block("Pops and a return", 1, a => { a.pop(rax); a.add(rsp, 24); a.pop(r9); a.ret(); });
        yield return Block("A frame", 1, a => { a.push(rbp); a.mov(rbp, rsp); a.sub(rsp, 64); a.mov(__[rbp - 8], rdi); a.leave(); a.ret(); });
        yield return Block("A base that moves by constants", 1, a => { a.mov(rax, __[rsi]); a.add(rsi, 8); a.mov(rdx, __[rsi]); a.lea(rdi, __[rsi + 8]); a.mov(__[rdi], rax); });
        yield return Block("A base that is loaded", 2, a => { a.mov(rax, __[rsi]); a.mov(rsi, rax); a.mov(rdx, __[rsi]); });
        yield return Block("A base of which a part is written", 2, a => { a.mov(rax, __[rsi]); a.mov(sil, al); a.mov(rdx, __[rsi]); });
        yield return Block("A base that is multiplied into", 2, a => { a.mov(rcx, __[rdx]); a.mul(rcx); a.mov(rcx, __[rdx]); });
        yield return Block("Bases that are exchanged", 2, a => { a.mov(rcx, __[rdx]); a.xchg(rdx, rbx); a.mov(rcx, __[rdx]); });
        yield return Block("A compare and exchange of the base", 2, a => { a.mov(rcx, __[rax]); a.cmpxchg(rbx, rdx); a.mov(rcx, __[rax]); });
        yield return Block("An element of an array", 1, a => { a.mov(rcx, __[rax + (rdx * 8)]); a.add(__[rax + (rdx * 8) + 16], rcx); });
        yield return Block("Another scale", 2, a => { a.mov(rcx, __[rax + (rdx * 8)]); a.mov(rcx, __[rax + (rdx * 4)]); });
        yield return Block("Segments apart", 2, a => { a.mov(rcx, __[rax]); a.mov(rcx, __.gs[rax + 8]); });
        yield return Block("Too far", 2, a => { a.mov(rcx, __[rax]); a.mov(rcx, __[rax + CheckGroups.Reach]); });
        yield return Block("As far as it goes", 1, a => { a.mov(rcx, __[rax]); a.mov(rcx, __[rax + CheckGroups.Reach - 8]); });
    }

    private static TestCaseData Block(string name, int checks, Action<Assembler> write) => new TestCaseData(checks, write).SetArgDisplayNames(name);

    private (Trap Trap, long Work) Run(EngineGuest guest, IEngineThread thread, int program, int run)
    {
        Random random = new(program);
        if (run == 0)
        {
            for (int page = FirstPage; page < FirstPage + Pages; page++)
            {
                random.NextBytes(Memory(guest, EngineGuest.FirstData + page - FirstPage));
                ulong rights = EngineGuest.Rights;
                rights = random.Next(8) switch
                {
                    0 => rights & ~(Dirty | Accessed),
                    1 => rights & ~Dirty,
                    2 => rights & ~(Writable | Dirty),
                    3 when random.Next(4) == 0 => rights & ~Present,
                    _ => rights,
                };
                // Frames do not adjoin.
                guest.Change(EngineGuest.L1, page, guest.Frame(EngineGuest.FirstData + ((page - FirstPage) * 3 % Pages)).Address | rights);
            }

            guest.Assemble(assembler => Write(assembler, guest, random));
            guest.CodeChanged();
        }

        // The same at every run: what is read and written lies where it lay.
        random = new Random(program + 1);
        ref GuestCpuState state = ref guest.State;
        state = state with { Rip = EngineGuest.Code, Rflags = 0x202 | ((ulong)random.Next() & Arithmetic), Rcx = (ulong)random.Next(16) };
        (state.Rax, state.Rdx, state.Rdi, state.R8, state.R10, state.R12, state.R13, state.R14) = (Value(random), Value(random), Value(random), Value(random), Value(random), Value(random), Value(random), Value(random));
        (state.Rbx, state.Rsi, state.Rbp, state.R9, state.R11, state.R15, state.Rsp) = (Near(random), Near(random), Near(random), Near(random), Near(random), Near(random), Near(random) & ~7UL);
        if (!counted)
            return (guest.Run(thread), 0);
        long time = 0;
        Trap trap = ((IGuestClock)guest.Cpus[0]).Run(thread, ref time, long.MaxValue / 2);
        return (trap, time);
    }

    private static void Write(Assembler assembler, EngineGuest guest, Random random)
    {
        int length = random.Next(2, 30);
        for (int instruction = 0; instruction < length; instruction++)
            WriteOne(assembler, random);
        guest.Hypercall(assembler);
    }

    private static void WriteOne(Assembler a, Random random)
    {
        AssemblerRegister64 value = Values[random.Next(Values.Length)];
        AssemblerRegister64 to = Bases[random.Next(Bases.Length - 1)];
        int constant = random.Next(-64, 65);
        switch (random.Next(27))
        {
            case 0 or 1 or 2:
                a.mov(value, Operand(random));
                break;
            case 3 or 4 or 5:
                a.mov(Operand(random), value);
                break;
            case 6:
                a.adc(Operand(random), value);
                break;
            case 7:
                a.mov(__byte_ptr[rsi + constant], dh);
                break;
            case 8:
                a.movups(Vectors[random.Next(Vectors.Length)], __xmmword_ptr[to + constant]);
                break;
            case 9:
                a.movups(__xmmword_ptr[to + constant], Vectors[random.Next(Vectors.Length)]);
                break;
            case 10 or 11:
                a.push(value);
                break;
            case 12 or 13:
                a.pop(value);
                break;
            case 14:
                a.push(Operand(random));
                break;
            case 15:
                a.lea(to, __[Bases[random.Next(Bases.Length)] + constant]);
                break;
            case 16:
                a.add(to, constant);
                break;
            case 17:
                a.mov(to, Bases[random.Next(Bases.Length)]);
                break;
            case 18:
                a.mul(value);
                break;
            case 19:
                a.mov(ecx, random.Next(16));
                break;
            case 20:
                Label over = a.CreateLabel();
                a.jc(over);
                a.mov(value, Operand(random));
                a.Label(ref over);
                a.nop();
                break;
            case 21:
                Label next = a.CreateLabel();
                a.call(next);
                a.Label(ref next);
                a.nop();
                break;
            case 22:
                Label there = a.CreateLabel();
                a.lea(value, __[there]);
                a.push(value);
                a.ret();
                a.Label(ref there);
                a.nop();
                break;
            case 23:
                a.mov(rbp, rsp);
                a.push(value);
                a.leave();
                break;
            case 24:
                a.shl(__dword_ptr[to + constant], cl);
                break;
            case 25:
                MemoryOperand global = new(Register.RIP, (long)EngineGuest.Data + 4096 + constant, sizeof(uint));
                a.AddInstruction(random.Next(2) == 0 ? Instruction.Create(Iced.Intel.Code.Mov_r64_rm64, value, global) : Instruction.Create(Iced.Intel.Code.Mov_rm64_r64, global, value));
                break;
            default:
                if (random.Next(2) == 0)
                    a.@lock.cmpxchg(__qword_ptr[to + constant], value);
                else
                    a.xchg(__qword_ptr[to + constant], value);
                break;
        }
    }

    private static AssemblerMemoryOperand Operand(Random random)
    {
        AssemblerRegister64 @base = Bases[random.Next(Bases.Length)];
        int displacement = random.Next(-64, 65);
        return random.Next(4) switch
        {
            0 => __qword_ptr[@base + (rcx * (1 << random.Next(4))) + displacement],
            _ => __qword_ptr[@base + displacement],
        };
    }

    private static ulong Near(Random random) => EngineGuest.Data + ((ulong)random.Next(1, Pages) * 4096) + (ulong)(random.Next(3) == 0 ? random.Next(-64, 65) : random.Next(-2048, 2048));

    private static ulong Value(Random random) => (ulong)random.NextInt64(long.MinValue, long.MaxValue);

    private static ulong[] Registers(EngineGuest guest, bool isFault)
    {
        ref GuestCpuState state = ref guest.State;
        return [state.Rax, state.Rbx, state.Rcx, state.Rdx, state.Rsi, state.Rdi, state.Rbp, state.Rsp, state.R8, state.R9, state.R10, state.R11, state.R12, state.R13, state.R14, state.R15, state.Rip,
            isFault ? state.Rflags & ~Arithmetic : state.Rflags];
    }

    private static Span<byte> Memory(EngineGuest guest, int frame) => MemoryMarshal.AsBytes(guest.Words(frame));
}
