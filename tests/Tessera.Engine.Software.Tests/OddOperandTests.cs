using System.Runtime.InteropServices;
using Iced.Intel;
using Tessera.Sdk.Conformance.Cpu;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Cpu.X64;
using static Iced.Intel.AssemblerRegisters;

namespace Tessera.Engine.Software.Tests;

/// <summary>What the oracle found, one by one: forms that nobody writes, and faults at the edges of memory.</summary>
[TestFixture(false)]
[TestFixture(true)]
internal sealed class OddOperandTests(bool plain) : GuestFixture(plain)
{
    private const int PageFault = 14;

    [Test]
    public void A_bit_that_is_changed_is_asked_for_as_a_write([Values(2, 4, 8)] int bytes, [Values] bool locked) => With((guest, thread) =>
    {
        guest.Assemble(code =>
        {
            Assembler bits = locked ? code.@lock : code;
            if (bytes == 2)
                bits.bts(__word_ptr[rbx], ax);
            else if (bytes == 4)
                bits.bts(__dword_ptr[rbx], eax);
            else
                bits.bts(__qword_ptr[rbx], rax);
        });
        (guest.State.Rbx, guest.State.Rax) = (EngineGuest.Data + 0x8000 - 16, 0x100);
        Trap trap = guest.Run(thread);
        Assert.That((trap.Vector, trap.ErrorCode, trap.FaultAddress), Is.EqualTo(((byte)PageFault, 6u, EngineGuest.Data + 0x8000 + 16)));
        // It is that also where the first of two pages may be read and not written.
        guest.Change(EngineGuest.L1, EngineGuest.EntryOf(EngineGuest.Data) + 7, guest.Frame(EngineGuest.FirstData + 7).Address | (EngineGuest.Rights & ~2UL));
        guest.State.Rax = 0;
        trap = guest.Run(thread);
        Assert.That((trap.Vector, trap.ErrorCode, trap.FaultAddress), Is.EqualTo(((byte)PageFault, 7u, EngineGuest.Data + 0x8000 - 16)));
    });

    [Test]
    public void Narrow_frames_are_made_and_left() => With((guest, thread) =>
    {
        guest.Assemble(code =>
        {
            code.db(0x66, 0xc8, 0x10, 0x00, 0x02); // enterw 16, 2
            code.mov(rcx, rbp);
            code.mov(rdx, rsp);
            code.db(0x66, 0xc9); // leavew
            guest.Hypercall(code);
        });
        Span<ushort> stack = MemoryMarshal.Cast<ulong, ushort>(guest.Words(EngineGuest.FirstData));
        ulong top = EngineGuest.Data + 0x800, outer = EngineGuest.Data + 0x900;
        stack[(0x900 / 2) - 1] = 0xbeef;
        (guest.State.Rsp, guest.State.Rbp) = (top, outer);
        Assert.That(guest.Run(thread).Kind, Is.EqualTo(TrapKind.Hypercall));
        // The frame pointer keeps its upper part; the stack has the old one's lower part, the outer frame's pointer, its own.
        Assert.That((guest.State.Rcx, guest.State.Rdx), Is.EqualTo((top - 2, top - 6 - 16)));
        Assert.That(stack.Slice((0x800 / 2) - 3, 3).ToArray(), Is.EqualTo(new[] { (ushort)(top - 2), (ushort)0xbeef, (ushort)outer }));
        Assert.That((guest.State.Rsp, guest.State.Rbp), Is.EqualTo((top, outer)));
    });

    [TestCase(0x20, 32)]
    [TestCase(0x20, 64)]
    [TestCase(0x1000, 64)]
    public void A_frame_whose_end_is_not_there_is_a_fault_at_its_end(int frame, int bits) => With((guest, thread) =>
    {
        guest.Assemble(code => code.enter((short)frame, 0), bits: bits);
        // The page before the data is none: what is pushed lies in the data still.
        ref GuestCpuState state = ref guest.State;
        (state.Rsp, state.Rbp) = (EngineGuest.Data + 0x10, 0x5678);
        if (bits == 32)
            (state.Is32Bit, state.Cs, state.Ss, state.Ds, state.Es) = (true, 0xe023, 0xe02b, 0xe02b, 0xe02b);
        Trap trap = guest.Run(thread);
        Assert.That((trap.Kind, trap.Vector, trap.ErrorCode, trap.FaultAddress), Is.EqualTo((TrapKind.Exception, (byte)PageFault, 6u, EngineGuest.Data + 0x10 - (ulong)(bits / 8) - (ulong)frame)));
        Assert.That((state.Rsp, state.Rbp, state.Rip), Is.EqualTo((EngineGuest.Data + 0x10, 0x5678UL, EngineGuest.Code)));
    });

    /// <summary>Beside a high byte no register can be named that is not the guest's own, and the host's stack pointer never is.</summary>
    [TestCase("0FB6E4", 0x12UL)]
    [TestCase("0FB6E5", 0x34UL)]
    [TestCase("0FB6E6", 0x86UL)]
    [TestCase("0FB6E7", 0x78UL)]
    [TestCase("0FBEE6", 0xffffff86UL)]
    [TestCase("660FB6E5", 0x42_0034UL)]
    [TestCase("660FBEE6", 0x42_ff86UL)]
    public void A_high_byte_goes_into_the_stack_pointer(string code, ulong expected) => With((guest, thread) =>
    {
        guest.Assemble(assembler =>
        {
            assembler.db(Convert.FromHexString(code));
            assembler.mov(r8, rsp);
            guest.Hypercall(assembler);
        });
        (guest.State.Rax, guest.State.Rcx, guest.State.Rdx, guest.State.Rbx, guest.State.Rsp) = (0x1200, 0x3400, 0x8600, 0x7800, EngineGuest.StackTop);
        Assert.That(guest.Run(thread).Kind, Is.EqualTo(TrapKind.Hypercall));
        Assert.That((guest.State.R8, guest.State.Rsp), Is.EqualTo((expected, expected)));
        Assert.That((guest.State.Rax, guest.State.Rcx, guest.State.Rdx, guest.State.Rbx), Is.EqualTo((0x1200UL, 0x3400UL, 0x8600UL, 0x7800UL)));
    });

    [TestCase(0x7ffeUL, 2, 0x8000UL)]
    [TestCase(0x8004UL, 5, 0x8004UL)]
    public void A_masked_move_faults_at_its_operand(ulong offset, int first, ulong faulting) => With((guest, thread) =>
    {
        guest.Assemble(code =>
        {
            code.movdqu(xmm1, __xmmword_ptr[rbx]);
            code.maskmovdqu(xmm0, xmm1);
        });
        MemoryMarshal.AsBytes(guest.Words(EngineGuest.FirstData))[first] = 0x80;
        (guest.State.Rbx, guest.State.Rdi) = (EngineGuest.Data, EngineGuest.Data + offset);
        Trap trap = guest.Run(thread);
        Assert.That((trap.Vector, trap.ErrorCode, trap.FaultAddress), Is.EqualTo(((byte)PageFault, 6u, EngineGuest.Data + faulting)));
    });

    [TestCase("a stored word", 13)]
    [TestCase("a bit", 13)]
    [TestCase("an element", 13)]
    [TestCase("a frame", 12)]
    public void What_reaches_into_the_hole_between_addresses_is_no_page_fault(string access, int vector) => With((guest, thread) =>
    {
        Assume.That(System.Runtime.Intrinsics.X86.Avx2.IsSupported, "This host has no AVX2.");
        // The page before it is not there either.
        const ulong Place = 0x7fff_ffff_fffd;
        guest.Assemble(code =>
        {
            switch (access)
            {
                case "a stored word":
                    code.db([0x48, 0xa3, .. BitConverter.GetBytes(Place)]);
                    break;
                case "a bit":
                    code.btc(__word_ptr[rbx + 2], ax);
                    break;
                case "an element":
                    code.vpcmpeqd(xmm1, xmm1, xmm1);
                    code.vpmaskmovq(__xmmword_ptr[rbx], xmm1, xmm2);
                    break;
                default:
                    code.lea(rsp, __[rbx + 8]);
                    code.enter(0, 0);
                    break;
            }
        });
        (guest.State.Rbx, guest.State.Rax) = (Place, 0);
        Trap trap = guest.Run(thread);
        Assert.That((trap.Kind, trap.Vector, trap.ErrorCode), Is.EqualTo((TrapKind.Exception, (byte)vector, 0u)));
    });

    /// <summary>Prefetches of code and for writing, and `cldemote`: nobody sees what a newer processor does with them, and older ones have always let them pass.</summary>
    [TestCase(0x18, 0xb3)]
    [TestCase(0x18, 0xbb)]
    [TestCase(0x0d, 0x93)]
    [TestCase(0x1c, 0x83)]
    public void Hints_that_are_new_do_nothing(int opcode, int operand) => With((guest, thread) =>
    {
        guest.Assemble(code =>
        {
            code.db(0x0f, (byte)opcode, (byte)operand, 0, 0, 0, 0);
            guest.Hypercall(code);
        });
        guest.State.Rbx = 0x1234;
        Assert.That(guest.Run(thread).Kind, Is.EqualTo(TrapKind.Hypercall));
    });

    [TestCase(1)]
    [TestCase(2)]
    [TestCase(5)]
    public void A_fault_behind_what_does_nothing_is_not_its(int count) => With((guest, thread) =>
    {
        guest.Assemble(code =>
        {
            for (int nothing = 0; nothing < count; nothing++)
                code.endbr64();
            code.div(rcx);
        });
        guest.State.Rcx = 0;
        Trap trap = guest.Run(thread);
        Assert.That((trap.Kind, trap.Vector, guest.State.Rip), Is.EqualTo((TrapKind.Exception, (byte)0, EngineGuest.Code + (4 * (ulong)count))));
    });
}
