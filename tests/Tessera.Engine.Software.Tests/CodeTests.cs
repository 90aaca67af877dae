using Iced.Intel;
using Tessera.Plugins.Cpu.Software;
using Tessera.Sdk;
using Tessera.Sdk.Conformance.Cpu;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Cpu.X64;
using static Iced.Intel.AssemblerRegisters;

namespace Tessera.Engine.Software.Tests;

/// <summary>Translated code is never older than the code it was made from, whoever wrote that, nor reached by mappings that are gone.</summary>
[TestFixture(false)]
[TestFixture(true)]
internal sealed class CodeTests(bool plain) : GuestFixture(plain)
{
    private const int OtherCode = 60;
    private static readonly int CodeEntry = EngineGuest.EntryOf(EngineGuest.Code);

    [Test]
    public void Code_that_writes_the_next_instruction_runs_what_it_wrote() => With((guest, thread) =>
    {
        // mov byte [rip + 1], 7; mov al, 1: the immediate is changed just before it is used.
        guest.Assemble(code =>
        {
            Label again = code.CreateLabel();
            code.mov(ecx, 3);
            code.Label(ref again);
            code.db(0xc6, 0x05, 0x01, 0x00, 0x00, 0x00, 0x07);
            code.db(0xb0, 0x01);
            code.dec(ecx);
            code.jne(again);
            guest.Hypercall(code);
        });
        Assert.That(guest.Run(thread).Kind, Is.EqualTo(TrapKind.Hypercall));
        Assert.That(guest.State.Rax & 0xff, Is.EqualTo(7));
    });

    [Test]
    public void Code_that_the_VMM_wrote_runs_as_it_is_now() => With((guest, thread) =>
    {
        for (int round = 1; round < 50; round++)
        {
            int value = round;
            guest.Assemble(code =>
            {
                code.mov(eax, value);
                guest.Hypercall(code);
            });
            guest.CodeChanged();
            guest.State.Rip = EngineGuest.Code;
            Assert.That(guest.Run(thread).Kind, Is.EqualTo(TrapKind.Hypercall));
            Assert.That(guest.State.Rax, Is.EqualTo((ulong)round));
        }
    });

    [Test]
    public void A_frame_that_may_be_written_at_any_moment_is_read_again_each_time() => With((guest, thread) =>
    {
        ITracksWrites tracked = (ITracksWrites)guest.Machine;
        tracked.WritesBegin(guest.CodeFrame);
        for (int round = 1; round < 20; round++)
        {
            int value = round;
            guest.Assemble(code =>
            {
                code.mov(eax, value);
                guest.Hypercall(code);
            });
            guest.State.Rip = EngineGuest.Code;
            Assert.That(guest.Run(thread).Kind, Is.EqualTo(TrapKind.Hypercall));
            Assert.That(guest.State.Rax, Is.EqualTo((ulong)round));
        }

        tracked.WritesEnd(guest.CodeFrame);
        guest.State.Rip = EngineGuest.Code;
        Assert.That(guest.Run(thread).Kind, Is.EqualTo(TrapKind.Hypercall));
    });

    [Test]
    public void Another_frame_at_the_same_address_is_other_code() => With((guest, thread) =>
    {
        guest.Assemble(code =>
        {
            code.mov(eax, 1);
            guest.Hypercall(code);
        });
        ulong first = guest.Words(EngineGuest.L1)[CodeEntry];
        guest.Words((int)(PageTableEntry.FrameOf(first).Value - guest.Frame(0).Value)).CopyTo(guest.Words(OtherCode));
        System.Runtime.InteropServices.MemoryMarshal.AsBytes(guest.Words(OtherCode))[1] = 2;
        ulong second = guest.Frame(OtherCode).Address | EngineGuest.Rights;
        for (int round = 0; round < 20; round++)
        {
            guest.Change(EngineGuest.L1, CodeEntry, round % 2 == 0 ? second : first);
            guest.State.Rip = EngineGuest.Code;
            Assert.That(guest.Run(thread).Kind, Is.EqualTo(TrapKind.Hypercall));
            Assert.That(guest.State.Rax, Is.EqualTo(round % 2 == 0 ? 2UL : 1UL));
        }
    });

    /// <summary>In the kernel's half of the address space, which has targets of jumps of its own, and in the processes' after it.</summary>
    [TestCase(false)]
    [TestCase(true)]
    public void Another_frame_at_an_address_of_the_kernels_is_other_code(bool runsBelowFirst) => With((guest, thread) =>
    {
        const int KernelSlot = 272;
        const ulong Kernel = 0xffff_8800_0000_0000;
        guest.Words(EngineGuest.L4)[KernelSlot] = guest.Frame(EngineGuest.L3).Address | EngineGuest.Rights;
        ulong Run(ulong rip)
        {
            guest.State.Rip = rip;
            Assert.That(guest.Run(thread).Kind, Is.EqualTo(TrapKind.Hypercall));
            return guest.State.Rax;
        }

        guest.Assemble(code =>
        {
            code.mov(eax, 1);
            guest.Hypercall(code);
        });
        guest.Words(EngineGuest.FirstData).Clear();
        byte[] other = [0xb8, 2, 0, 0, 0, .. guest.HypercallInstruction]; // mov eax, 2
        other.CopyTo(System.Runtime.InteropServices.MemoryMarshal.AsBytes(guest.Words(EngineGuest.FirstData)));
        ulong entry = guest.Words(EngineGuest.L1)[0];
        if (runsBelowFirst)
            Assert.That(Run(EngineGuest.Code), Is.EqualTo(1));
        Assert.That(Run(Kernel + EngineGuest.Code), Is.EqualTo(1));
        guest.Change(EngineGuest.L1, 0, guest.Frame(EngineGuest.FirstData).Address | EngineGuest.Rights);
        Assert.That((Run(Kernel + EngineGuest.Code), Run(EngineGuest.Code)), Is.EqualTo((2, 2)));
        guest.Change(EngineGuest.L1, 0, entry);
        Assert.That((Run(EngineGuest.Code), Run(Kernel + EngineGuest.Code)), Is.EqualTo((1, 1)));
    });

    [Test]
    public void An_instruction_across_two_pages_is_made_of_what_both_are_now() => With((guest, thread) =>
    {
        // mov eax, imm32 begins two bytes before the border; its upper three bytes lie in the next page.
        const int Place = 4096 - 2;
        guest.Assemble(
            code =>
            {
                code.mov(eax, 0x11223344);
                guest.Hypercall(code);
            },
            Place);
        int next = EngineGuest.EntryOf(EngineGuest.Code + 4096);
        ulong entry = guest.Words(EngineGuest.L1)[next];
        guest.Words((int)(PageTableEntry.FrameOf(entry).Value - guest.Frame(0).Value)).CopyTo(guest.Words(OtherCode));
        System.Runtime.InteropServices.MemoryMarshal.AsBytes(guest.Words(OtherCode))[0] = 0x55;
        for (int round = 0; round < 10; round++)
        {
            guest.Change(EngineGuest.L1, next, round % 2 == 0 ? entry : guest.Frame(OtherCode).Address | EngineGuest.Rights);
            guest.State.Rip = EngineGuest.Code + Place;
            Assert.That(guest.Run(thread).Kind, Is.EqualTo(TrapKind.Hypercall));
            Assert.That(guest.State.Rax, Is.EqualTo(round % 2 == 0 ? 0x11223344UL : 0x11225544UL));
        }

        guest.Change(EngineGuest.L1, next, 0);
        guest.State.Rip = EngineGuest.Code + Place;
        Trap trap = guest.Run(thread);
        Assert.That((trap.Kind, trap.Vector, trap.ErrorCode, trap.FaultAddress), Is.EqualTo((TrapKind.Exception, (byte)14, 0x14u, EngineGuest.Code + 4096)));
        Assert.That(guest.State.Rip, Is.EqualTo(EngineGuest.Code + Place));
    });

    [Test]
    public void A_loop_over_two_pages_comes_back_in_time() => With((guest, thread) =>
    {
        const int Next = 4096;
        byte[] back = [0xe9, .. BitConverter.GetBytes(-(Next + 5))];
        guest.Assemble(code => code.db([0xe9, .. BitConverter.GetBytes(Next - 5)]));
        guest.Assemble(code => code.db(back), Next);
        guest.CodeChanged();
        guest.State.Rip = EngineGuest.Code;
        Assert.That(guest.Run(thread, milliseconds: 20).Kind, Is.EqualTo(TrapKind.Preempted));
    });

    [Test]
    public void A_guest_that_rewrites_its_code_without_end_drops_no_other_guests_code()
    {
        // More different pages than one generation of code holds.
        const int Rewrites = 26_000;
        using SoftwareEngine engine = NewEngine();
        using IEngineThread thread = engine.EnterThread(0);
        using EngineGuest still = new(engine);
        using EngineGuest restless = new(engine);
        still.Assemble(still.Hypercall);
        Assert.That(still.Run(thread).Kind, Is.EqualTo(TrapKind.Hypercall));
        object code = ((SoftwareMachine)still.Machine).Translator;
        restless.Assemble(assembler =>
        {
            assembler.mov(eax, 0);
            restless.Hypercall(assembler);
        });
        for (int round = 0; round < Rewrites; round++)
        {
            BitConverter.TryWriteBytes(System.Runtime.InteropServices.MemoryMarshal.AsBytes(restless.Words((int)(restless.CodeFrame.Value - restless.Frame(0).Value)))[1..], round);
            restless.CodeChanged();
            restless.State.Rip = EngineGuest.Code;
            Assert.That(restless.Run(thread).Kind, Is.EqualTo(TrapKind.Hypercall));
            Assert.That(restless.State.Rax, Is.EqualTo((ulong)round));
        }

        still.State.Rip = EngineGuest.Code;
        Assert.That(still.Run(thread).Kind, Is.EqualTo(TrapKind.Hypercall));
        Assert.That(((SoftwareMachine)still.Machine).Translator, Is.SameAs(code));
        Assert.That(((SoftwareMachine)restless.Machine).Translator, Is.Not.SameAs(code));
    }

    [Test]
    public void A_root_that_was_retired_is_read_afresh() => With((guest, thread) =>
    {
        guest.Assemble(code =>
        {
            code.mov(rax, __qword_ptr[rbx]);
            guest.Hypercall(code);
        });
        guest.Words(EngineGuest.FirstData)[0] = 1;
        guest.Words(EngineGuest.FirstData + 1)[0] = 2;
        Assert.That(Read(), Is.EqualTo(1));
        // As plain memory its tables change without a word; then it is a root again.
        ((IKeepsTranslations)guest.Machine).RootRetired(guest.Frame(EngineGuest.L4));
        guest.Words(EngineGuest.L1)[EngineGuest.EntryOf(EngineGuest.Data)] = guest.Frame(EngineGuest.FirstData + 1).Address | EngineGuest.Rights;
        Assert.That(Read(), Is.EqualTo(2));

        ulong Read()
        {
            guest.State.Rip = EngineGuest.Code;
            guest.State.Rbx = EngineGuest.Data;
            Assert.That(guest.Run(thread).Kind, Is.EqualTo(TrapKind.Hypercall));
            return guest.State.Rax;
        }
    });

    [Test]
    public void What_is_not_translated_is_an_invalid_opcode() => With((guest, thread) =>
    {
        // vaddps zmm0, zmm0, zmm0: AVX-512 is hidden.
        guest.Assemble(code => code.db(0x62, 0xf1, 0x7c, 0x48, 0x58, 0xc0));
        for (int round = 0; round < 3; round++)
        {
            Trap trap = guest.Run(thread);
            Assert.That((trap.Kind, trap.Vector, guest.State.Rip), Is.EqualTo((TrapKind.Exception, (byte)6, EngineGuest.Code)));
        }

        // `ud2` is what it is.
        guest.Assemble(code => code.ud2());
        guest.CodeChanged();
        Assert.That(guest.Run(thread).Vector, Is.EqualTo(6));
        Assert.That(((INamesUnknownCode)guest.Machine).UnknownCode, Is.EqualTo(new UnknownCode[] { new("EVEX_Vaddps_zmm_k1z_zmm_zmmm512b32_er", "62f17c4858c0", 3) }));
    });

    /// <summary>Some of it lies in a page that somebody may write at any moment, and it is carried out in C#: then there is no code of it to go to.</summary>
    [TestCase(0xffe, 1)]
    [TestCase(0x1000, 1)]
    [TestCase(0x200, 0)]
    public void An_instruction_in_an_open_page_is_carried_out(int offset, int page) => With((guest, thread) =>
    {
        ((ITracksWrites)guest.Machine).WritesBegin(new Mfn(guest.CodeFrame.Value + page));
        guest.Assemble(
            code =>
            {
                code.inc(rcx);
                code.enter(0x20, 0);
                guest.Hypercall(code);
            },
            offset - 3);
        guest.CodeChanged();
        for (int round = 0; round < 3; round++)
        {
            (guest.State.Rip, guest.State.Rsp, guest.State.Rcx) = (EngineGuest.Code + (ulong)offset - 3, EngineGuest.StackTop, 0);
            Assert.That(guest.Run(thread).Kind, Is.EqualTo(TrapKind.Hypercall));
            Assert.That((guest.State.Rsp, guest.State.Rcx), Is.EqualTo((EngineGuest.StackTop - 0x28, 1UL)));
        }
    });

    /// <summary>A level is taken modulo 32.</summary>
    [TestCase(0)]
    [TestCase(1)]
    [TestCase(3)]
    [TestCase(31)]
    [TestCase(34)]
    public void A_nested_frame_has_the_pointers_to_the_outer_ones(int level) => With((guest, thread) =>
    {
        const ulong Outer = EngineGuest.Data + 0x800;
        Span<ulong> data = guest.Words(EngineGuest.FirstData);
        for (int word = 0; word < data.Length; word++)
            data[word] = 0x5000UL + (ulong)word;
        ulong[] outer = data.ToArray();
        guest.Assemble(code =>
        {
            code.enter(0x20, (byte)level);
            for (int word = 0; word <= level % 32; word++)
                code.push(__qword_ptr[rbp - (word * 8)]);
            guest.Hypercall(code);
        });
        ulong top = guest.State.Rsp = EngineGuest.Data + 0x1000;
        guest.State.Rbp = Outer;
        Assert.That(guest.Run(thread).Kind, Is.EqualTo(TrapKind.Hypercall));
        int copied = level % 32;
        ulong[] expected = [Outer, .. Enumerable.Range(1, Math.Max(0, copied - 1)).Select(word => outer[(0x800 / 8) - word]), .. copied > 0 ? new[] { top - 8 } : []];
        ulong[] found = guest.Words(EngineGuest.FirstData).ToArray();
        Assert.That(guest.State.Rbp, Is.EqualTo(top - 8));
        Assert.That(guest.State.Rsp, Is.EqualTo(top - 0x20 - ((ulong)expected.Length * 16)));
        Assert.That(Enumerable.Range(1, expected.Length).Select(word => found[512 - word]), Is.EqualTo(expected));
    });

    [Test]
    public void A_nested_frame_whose_outer_one_is_not_there_changes_no_register() => With((guest, thread) =>
    {
        guest.Assemble(code => code.enter(0x20, 2));
        ulong stack = guest.State.Rsp;
        guest.State.Rbp = 0x1000;
        Trap trap = guest.Run(thread);
        Assert.That((trap.Vector, trap.FaultAddress), Is.EqualTo(((byte)14, 0xff8UL)));
        Assert.That((guest.State.Rsp, guest.State.Rbp, guest.State.Rip), Is.EqualTo((stack, 0x1000UL, EngineGuest.Code)));
    });
}
