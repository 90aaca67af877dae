using System.Runtime.InteropServices;
using Iced.Intel;
using Tessera.Plugins.Cpu.Software;
using Tessera.Sdk.Conformance.Cpu;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Cpu.X64;
using static Iced.Intel.AssemblerRegisters;

namespace Tessera.Engine.Software.Tests;

/// <summary>Instructions that have a sequence for the common case and C# for the others do the same in both, against a model over plain memory.</summary>
[TestFixture(false)]
[TestFixture(true)]
internal sealed class InlinedTests(bool plain) : GuestFixture(plain)
{
    private const int Pages = 8;
    private const int Bytes = Pages * 4096;
    private const int Rounds = 400;
    private const ulong ArithmeticFlags = 0x8d5;
    private const ulong CarryFlag = 1;
    private const ulong ZeroFlag = 0x40;
    private const ulong DirectionFlag = 0x400;

    /// <summary>From an address to another of the same frame, which has the same place in a TLB of 1,024 pages.</summary>
    private const ulong ToAlias = 0x40_0000;

    [Test]
    public void Repeated_stores_and_copies_do_what_they_do_element_by_element([Values(1, 2, 4, 8)] int size, [Values] bool copies) => With((guest, thread) =>
    {
        Random random = new((size * 2) + (copies ? 1 : 0));
        guest.Assemble(code =>
        {
            // rep, the operand size, movs or stos
            if (size == 2)
                code.db(0x66);
            code.db(0xf3);
            if (size == 8)
                code.db(0x48);
            code.db((byte)((copies ? 0xa4 : 0xaa) | (size == 1 ? 0 : 1)));
            guest.Hypercall(code);
        });
        byte[] model = new byte[Bytes];
        for (int round = 0; round < Rounds; round++)
        {
            Fill(guest, model, random);
            bool down = random.Next(8) == 0;
            int count = random.Next(6) switch { 0 => 0, 1 => 1, 2 => random.Next(9000 / size), _ => random.Next(200) };
            (int from, int to) = (Place(), Place());
            ref GuestCpuState state = ref guest.State;
            ulong flags = (ulong)random.Next() & ArithmeticFlags;
            (state.Rip, state.Rcx, state.Rax) = (EngineGuest.Code, (ulong)count, (ulong)random.NextInt64());
            (state.Rsi, state.Rdi) = (Address(from), Address(to));
            state.Rflags = flags | 0x202 | (down ? DirectionFlag : 0);
            (ulong source, ulong destination, ulong value) = (state.Rsi, state.Rdi, state.Rax);
            int step = down ? -size : size;
            for (int element = 0; element < count; element++)
            {
                for (int part = 0; part < size; part++)
                    model[to + (element * step) + part] = copies ? model[from + (element * step) + part] : (byte)(value >> (part * 8));
            }

            Assert.That(guest.Run(thread).Kind, Is.EqualTo(TrapKind.Hypercall));
            Assert.That(Memory(guest).SequenceEqual(model), Is.True, $"round {round}: {count} elements from {from} to {to}");
            Assert.That(state.Rcx, Is.Zero);
            Assert.That(state.Rdi, Is.EqualTo(destination + (ulong)(count * step)));
            Assert.That(state.Rsi, Is.EqualTo(copies ? source + (ulong)(count * step) : source));
            Assert.That(state.Rflags & ArithmeticFlags, Is.EqualTo(flags));

            int Place() => down ? (count * size) + random.Next(Bytes - size - (count * size)) : random.Next(Bytes - (count * size) - size);
        }

        // Half of the addresses lie where the other's pages do in the TLB.
        ulong Address(int place) => EngineGuest.Data + (ulong)place + (random.Next(2) == 0 ? ToAlias : 0);
    });

    [Test]
    public void Bits_of_strings_are_tested_and_set([Values("bt", "bts", "btr", "btc")] string name, [Values(4, 8)] int size, [Values] bool locked) => With((guest, thread) =>
    {
        int operation = name switch { "bt" => 0xa3, "bts" => 0xab, "btr" => 0xb3, _ => 0xbb };
        Random random = new(operation + size);
        guest.Assemble(code =>
        {
            if (locked && name != "bt")
                code.db(0xf0);
            // op [rbx + 8], rcx, with the flags that nobody may change wanted after it
            if (size == 8)
                code.db(0x48);
            code.db(0x0f, (byte)operation, 0x4b, 0x08);
            guest.Hypercall(code);
        });
        byte[] model = new byte[Bytes];
        for (int round = 0; round < Rounds; round++)
        {
            Fill(guest, model, random);
            int bit = random.Next(Bytes * 8);
            int unaligned = random.Next(4) == 0 ? random.Next(size) : 0;
            int origin = (random.Next(Bytes - 64) & ~7) + unaligned;
            // Words are found from the operand's address on, so the bit's word is as aligned as that.
            long offset = bit - ((long)origin * 8);
            long word = origin + ((offset >> (size == 8 ? 6 : 5)) * size);
            if (word < 0 || word + size > Bytes)
                continue;
            ref GuestCpuState state = ref guest.State;
            (state.Rip, state.Rbx, state.Rcx) = (EngineGuest.Code, EngineGuest.Data + (ulong)origin - 8, (ulong)offset);
            state.Rflags = ZeroFlag | 0x202;
            bool was = (model[bit >> 3] >> (bit & 7) & 1) != 0;
            byte mask = (byte)(1 << (bit & 7));
            model[bit >> 3] = name switch
            {
                "bts" => (byte)(model[bit >> 3] | mask),
                "btr" => (byte)(model[bit >> 3] & ~mask),
                "btc" => (byte)(model[bit >> 3] ^ mask),
                _ => model[bit >> 3],
            };
            Assert.That(guest.Run(thread).Kind, Is.EqualTo(TrapKind.Hypercall));
            Assert.That(Memory(guest).SequenceEqual(model), Is.True, $"round {round}: bit {offset} from {origin}");
            Assert.That(state.Rflags & (CarryFlag | ZeroFlag), Is.EqualTo((was ? CarryFlag : 0) | ZeroFlag));
        }
    });

    [Test]
    public void Selectors_are_read_into_registers_and_memory() => With((guest, thread) =>
    {
        guest.Assemble(code =>
        {
            code.mov(rax, -1L);
            code.mov(r9, -1L);
            code.mov(rdx, -1L);
            code.db(0x8c, 0xc8); // mov eax, cs
            code.db(0x66, 0x41, 0x8c, 0xd1); // mov r9w, ss
            code.db(0x66, 0x8c, 0xda); // mov dx, ds
            code.db(0x8c, 0x23); // mov [rbx], fs
            guest.Hypercall(code);
        });
        guest.Words(FrameOf(0))[0] = ulong.MaxValue;
        guest.State.Rbx = EngineGuest.Data;
        Assert.That(guest.Run(thread).Kind, Is.EqualTo(TrapKind.Hypercall));
        Assert.That((guest.State.Rax, guest.State.R9, guest.State.Rdx), Is.EqualTo((0xe033UL, 0xffff_ffff_ffff_e02bUL, 0xffff_ffff_ffff_e02bUL)));
        Assert.That(guest.Words(FrameOf(0))[0], Is.EqualTo(0xffff_ffff_ffff_0000UL));
    });

    [Test]
    public void A_page_that_may_not_be_written_faults_where_the_copy_has_come_to() => With((guest, thread) =>
    {
        guest.Assemble(code =>
        {
            code.db(0xf3, 0xa4); // rep movsb
            guest.Hypercall(code);
        });
        guest.Change(EngineGuest.L1, EngineGuest.EntryOf(EngineGuest.Data) + 1, 0);
        (guest.State.Rsi, guest.State.Rdi, guest.State.Rcx) = (EngineGuest.Data + 0x3000, EngineGuest.Data + 0xf00, 0x200);
        Trap trap = guest.Run(thread);
        Assert.That((trap.Kind, trap.Vector, trap.FaultAddress, guest.State.Rip), Is.EqualTo((TrapKind.Exception, (byte)14, EngineGuest.Data + 0x1000, EngineGuest.Code)));
        Assert.That((guest.State.Rcx, guest.State.Rsi, guest.State.Rdi), Is.EqualTo((0x100UL, EngineGuest.Data + 0x3100, EngineGuest.Data + 0x1000)));
    });

    private static void Fill(EngineGuest guest, byte[] model, Random random)
    {
        random.NextBytes(model);
        for (int page = 0; page < Pages; page++)
            model.AsSpan(page * 4096, 4096).CopyTo(MemoryMarshal.AsBytes(guest.Words(FrameOf(page))));
    }

    private static byte[] Memory(EngineGuest guest) => [.. Enumerable.Range(0, Pages).SelectMany(page => MemoryMarshal.AsBytes(guest.Words(FrameOf(page))).ToArray())];

    /// <summary>Pages that adjoin lie in frames that do not.</summary>
    private static int FrameOf(int page) => EngineGuest.FirstData + Pages - 1 - page;

    protected override void Prepare(EngineGuest guest)
    {
        guest.Words(EngineGuest.L2)[4] = guest.Frame(EngineGuest.L1).Address | EngineGuest.Rights;
        for (int page = 0; page < Pages; page++)
            guest.Words(EngineGuest.L1)[EngineGuest.EntryOf(EngineGuest.Data) + page] = guest.Frame(FrameOf(page)).Address | EngineGuest.Rights;
    }
}
