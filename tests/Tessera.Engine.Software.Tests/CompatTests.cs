using Iced.Intel;
using Tessera.Plugins.Cpu.Software;
using Tessera.Sdk.Conformance.Cpu;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Cpu.X64;
using static Iced.Intel.AssemblerRegisters;

namespace Tessera.Engine.Software.Tests;

/// <summary>32-bit code: its own instructions, the stack and addresses of 32 bits, segments, and the ways between it and 64-bit code.</summary>
[TestFixture(false)]
[TestFixture(true)]
internal sealed class CompatTests(bool plain) : GuestFixture(plain)
{
    private const ushort Code32 = 0xe023;
    private const ushort Code64 = 0xe033;
    private const ushort Data32 = 0xe02b;
    private const ushort Local = 0x63;
    private const ushort Odd = 0x6b;
    private const int Table = EngineGuest.FirstData + 8;

    [Test]
    public void Numbers_of_32_bits_fill_the_whole_register_and_short_forms_are_not_prefixes() => With((guest, thread) =>
    {
        guest.State.Rax = 0xffff_ffff_ffff_ffff;
        guest.State.Rsi = 0x1234_5678_0000_0000;
        Run(guest, thread, code =>
        {
            code.inc(eax); // 0x40: a prefix in 64-bit code
            code.dec(esi);
            code.mov(ecx, eax);
            code.inc(cx);
            code.dec(cx);
            code.dec(cx);
        });
        Assert.That((guest.State.Rax, guest.State.Rsi, guest.State.Rcx), Is.EqualTo((0UL, 0xffff_ffffUL, 0xffffUL)));
    });

    [Test]
    public void The_stack_has_words_of_four_bytes() => With((guest, thread) =>
    {
        guest.State.Rsp |= 0xabcd_0000_0000_0000;
        Run(guest, thread, code =>
        {
            Label function = code.CreateLabel();
            Label after = code.CreateLabel();
            code.push(0x11223344);
            code.push(-2);
            code.mov(ebx, 0x55);
            code.push(ebx);
            code.push(__dword_ptr[esp + 8]);
            code.call(function);
            code.jmp(after);
            code.Label(ref function);
            code.enter(16, 0);
            code.mov(edi, __dword_ptr[ebp + 8]);
            code.leave();
            code.ret(4);
            code.Label(ref after);
            code.pop(ecx);
            code.pop(edx);
            code.pop(esi);
        });
        Assert.That((guest.State.Rdi, guest.State.Rcx, guest.State.Rdx, guest.State.Rsi), Is.EqualTo((0x11223344UL, 0x55UL, 0xffff_fffeUL, 0x11223344UL)));
        Assert.That(guest.State.Rsp, Is.EqualTo(EngineGuest.StackTop));
    });

    [Test]
    public void The_stack_works_across_pages_too([Range(0, 8)] int shift) => With((guest, thread) =>
    {
        guest.State.Rsp = EngineGuest.StackTop - 4096 + (ulong)shift;
        Run(guest, thread, code =>
        {
            Label function = code.CreateLabel();
            Label after = code.CreateLabel();
            code.mov(eax, 0x01020304);
            code.mov(ebp, (int)EngineGuest.Data + 64);
            code.pushad();
            code.mov(eax, 0);
            code.popad();
            code.push(eax);
            code.push(ebp);
            code.call(function);
            code.jmp(after);
            code.Label(ref function);
            code.enter(8, 3);
            code.leave();
            code.ret();
            code.Label(ref after);
            code.pop(ecx);
            code.pop(edx);
            code.push(eax);
            code.pop(__dword_ptr[esp - 12]);
            code.mov(esi, __dword_ptr[esp - 12]);
        });
        Assert.That((guest.State.Rcx, guest.State.Rdx, guest.State.Rsi), Is.EqualTo((EngineGuest.Data + 64, 0x01020304UL, 0x01020304UL)));
        Assert.That(guest.State.Rsp, Is.EqualTo(EngineGuest.StackTop - 4096 + (ulong)shift));
    });

    [Test]
    public void Addresses_wrap_at_4_GiB_and_at_64_KiB() => With((guest, thread) =>
    {
        guest.Words(EngineGuest.FirstData)[2] = 0x77;
        guest.State.Rbx = 0xffff_ffff_0000_0000 | EngineGuest.Data;
        guest.State.Rsi = 0xffff_fff0;
        Run(guest, thread, code =>
        {
            code.mov(eax, __dword_ptr[ebx + (esi * 1) + 0x20]);
            code.lea(ecx, __[ebx + (esi * 2) + 0x30]);
            code.mov(edi, 0x1fff0);
            code.lea(edx, __word_ptr[bx + di + 0x11]); // 16-bit address
        });
        Assert.That((guest.State.Rax, guest.State.Rcx), Is.EqualTo((0x77UL, EngineGuest.Data + 0x10)));
        Assert.That(guest.State.Rdx, Is.EqualTo((EngineGuest.Data + 0xfff0 + 0x11) & 0xffff));
    });

    [Test]
    public void Thread_local_data_lies_below_a_segments_base() => With((guest, thread) =>
    {
        Tables(guest);
        guest.Words(EngineGuest.FirstData)[1] = 0x1111_2222_3333_4444;
        guest.Words(EngineGuest.FirstData)[2] = 0x99;
        Run(guest, thread, code =>
        {
            code.mov(eax, Local);
            code.mov(gs, ax);
            code.mov(ecx, __dword_ptr.gs[0xffff_fffc]);
            code.mov(edx, __dword_ptr.gs[0]);
            code.mov(esi, 0xffff_fff8);
            code.push(__dword_ptr.gs[esi]);
            code.pop(edi);
            code.xor(eax, eax);
            code.mov(ebx, gs);
        });
        Assert.That((guest.State.Rcx, guest.State.Rdx, guest.State.Rdi, guest.State.Rbx), Is.EqualTo((0x1111_2222UL, 0x99UL, 0x3333_4444UL, (ulong)Local)));
    });

    [Test]
    public void A_null_segment_faults_and_so_does_writing_code() => With((guest, thread) =>
    {
        guest.State.Rbx = EngineGuest.Data;
        guest.Assemble(
            code =>
            {
                code.xor(eax, eax);
                code.mov(ds, ax);
                code.mov(ecx, __dword_ptr[ebx]);
                guest.Hypercall(code);
            },
            bits: 32);
        Fault(guest, thread, 13, 0, 5);
        guest.State.Ds = Data32;
        guest.Assemble(code => code.mov(__dword_ptr.cs[ebx], eax), bits: 32);
        guest.CodeChanged();
        guest.State.Rip = EngineGuest.Code;
        Fault(guest, thread, 13, 0, 0);
    });

    [Test]
    public void Segments_that_are_not_flat_fault() => With((guest, thread) =>
    {
        Tables(guest);
        guest.Assemble(
            code =>
            {
                code.mov(eax, Odd);
                code.mov(ds, ax);
                guest.Hypercall(code);
            },
            bits: 32);
        Fault(guest, thread, 13, 0, 8);
    });

    [TestCase("int 0x80", 13, 0x402u, 0)]
    [TestCase("into", 4, 0u, 7)]
    [TestCase("bound", 5, 0u, 0)]
    [TestCase("aam", 0, 0u, 0)]
    [TestCase("int3", 3, 0u, 1)]
    [TestCase("cli", 13, 0u, 0)]
    [TestCase("evex", 6, 0u, 0)]
    public void Exceptions_are_raised_where_they_belong(string what, int vector, uint error, int offset) => With((guest, thread) =>
    {
        guest.State.Rbx = EngineGuest.Data;
        guest.State.Rax = 5;
        guest.Words(EngineGuest.FirstData)[0] = 4UL << 32;
        guest.Assemble(
            code =>
            {
                switch (what)
                {
                    case "int 0x80": code.@int(unchecked((sbyte)0x80)); break;
                    case "into":
                        code.mov(eax, 0x7fff_ffff);
                        code.inc(eax);
                        code.into();
                        break;
                    case "bound": code.bound(eax, __qword_ptr[ebx]); break;
                    case "aam": code.aam(0); break;
                    case "int3": code.int3(); break;
                    case "cli": code.cli(); break;
                    default: code.db(0x62, 0xf1, 0x7c, 0x48, 0x58, 0xc0); break;
                }
            },
            bits: 32);
        Fault(guest, thread, vector, error, offset);
    });

    [Test]
    public void A_system_call_says_that_32_bit_code_made_it() => With((guest, thread) =>
    {
        guest.Assemble(code => code.syscall(), bits: 32);
        Trap trap = guest.Run(thread);
        Assert.That((trap.Kind, guest.State.Is32Bit, guest.State.Cs, guest.State.Rip), Is.EqualTo((TrapKind.Syscall, true, Code32, EngineGuest.Code + 2)));
        guest.Assemble(code => code.sysenter(), bits: 32);
        guest.CodeChanged();
        guest.State.Rip = EngineGuest.Code;
        trap = guest.Run(thread);
        Assert.That((trap.Kind, trap.ErrorCode, guest.State.Rip), Is.EqualTo((TrapKind.Exception, 0u, EngineGuest.Code)));
        Assert.That(trap.Vector, Is.EqualTo(13).Or.EqualTo(6));
    });

    [Test]
    public void Code_of_both_sizes_calls_each_other() => With((guest, thread) =>
    {
        const int Short = 0x100;
        const int Back = 0x200;
        (guest.State.Is32Bit, guest.State.Cs) = (false, Code64);
        guest.Words(EngineGuest.FirstData)[0] = ((ulong)Code32 << 32) | (EngineGuest.Code + Short);
        guest.Assemble(code =>
        {
            Label again = code.CreateLabel();
            Label on = code.CreateLabel();
            code.mov(rbx, EngineGuest.Data);
            code.mov(r12, 0x1122_3344_5566_7788UL);
            code.xor(esi, esi);
            code.Label(ref again);
            code.db(0xff, 0x1b); // call far dword [rbx]
            code.dec(ecx);
            code.jne(again);
            code.db(0xff, 0x2b); // jmp far dword [rbx]
            code.Label(ref on);
            guest.Hypercall(code);
        });
        guest.Assemble(
            code =>
            {
                Label leave = code.CreateLabel();
                code.inc(esi); // one byte: in 64-bit code a prefix of what follows
                code.mov(eax, cs);
                code.cmp(ecx, 0);
                code.je(leave);
                code.retf();
                code.Label(ref leave);
                code.db(0xea, (byte)(EngineGuest.Code & 0xff), (byte)(EngineGuest.Code + Back >> 8 & 0xff), (byte)(EngineGuest.Code >> 16), 0, 0x33, 0xe0); // jmp far to 64-bit code
            },
            Short,
            32);
        guest.Assemble(
            code =>
            {
                code.mov(r13, r12);
                guest.Hypercall(code);
            },
            Back);
        guest.State.Rcx = 1000;
        Trap trap = guest.Run(thread);
        Assert.That(trap.Kind, Is.EqualTo(TrapKind.Hypercall), $"{trap.Vector} {trap.ErrorCode:x} at {guest.State.Rip:x}");
        Assert.That((guest.State.Rsi, guest.State.R13, guest.State.Rax), Is.EqualTo((1001UL, 0x1122_3344_5566_7788UL, (ulong)Code32)));
        Assert.That((guest.State.Is32Bit, guest.State.Cs, guest.State.Rsp), Is.EqualTo((false, Code64, EngineGuest.StackTop)));
    });

    [Test]
    public void An_interrupt_return_leads_to_32_bit_code_and_back() => With((guest, thread) =>
    {
        const int Short = 0x100;
        const int Back = 0x200;
        (guest.State.Is32Bit, guest.State.Cs) = (false, Code64);
        guest.Assemble(code =>
        {
            code.mov(rax, rsp);
            code.push(Data32);
            code.push(rax);
            code.pushfq();
            code.push(Code32);
            code.push((int)EngineGuest.Code + Short);
            code.iretq();
        });
        guest.Assemble(
            code =>
            {
                code.pushfd();
                code.push(Code64);
                code.push((int)EngineGuest.Code + Back);
                code.iretd();
            },
            Short,
            32);
        guest.Assemble(guest.Hypercall, Back);
        Trap trap = guest.Run(thread);
        Assert.That(trap.Kind, Is.EqualTo(TrapKind.Hypercall), $"{trap.Vector} {trap.ErrorCode:x} at {guest.State.Rip:x}");
        Assert.That((guest.State.Is32Bit, guest.State.Cs, guest.State.Rsp), Is.EqualTo((false, Code64, EngineGuest.StackTop)));
    });

    [Test]
    public void The_same_bytes_are_other_code_in_the_other_size() => With((guest, thread) =>
    {
        // inc eax; mov eax, eax in 32-bit code; mov eax, eax with a prefix in 64-bit code.
        guest.Assemble(code =>
        {
            code.db(0x40, 0x89, 0xc0);
            guest.Hypercall(code);
        });
        for (int round = 0; round < 10; round++)
        {
            bool is32Bit = round % 2 == 0;
            (guest.State.Is32Bit, guest.State.Cs, guest.State.Rip, guest.State.Rax) = (is32Bit, is32Bit ? Code32 : Code64, EngineGuest.Code, 1);
            Assert.That(guest.Run(thread).Kind, Is.EqualTo(TrapKind.Hypercall));
            Assert.That(guest.State.Rax, Is.EqualTo(is32Bit ? 2UL : 1UL));
        }
    });

    [Test]
    public void Decimal_arithmetic_adjusts() => With((guest, thread) =>
    {
        Run(guest, thread, code =>
        {
            code.mov(eax, 0x0179);
            code.add(al, 0x35);
            code.daa();
            code.mov(bl, al); // 14, carry: 79 + 35 = 114
            code.setc(bh);
            code.mov(al, 0x14);
            code.sub(al, 0x35);
            code.das();
            code.mov(cl, al); // 79, borrow
            code.setc(ch);
            code.mov(ax, 0x0109);
            code.add(al, 8);
            code.aaa();
            code.mov(dx, ax); // 0x0207
            code.aad(10);
            code.mov(si, ax); // 27
            code.aam(10);
            code.mov(di, ax);
        });
        Assert.That((guest.State.Rbx & 0xffff, guest.State.Rcx & 0xffff, guest.State.Rdx & 0xffff), Is.EqualTo((0x114UL, 0x179UL, 0x207UL)));
        Assert.That((guest.State.Rsi & 0xffff, guest.State.Rdi & 0xffff), Is.EqualTo((27UL, 0x207UL)));
    });

    [Test]
    public void Strings_and_tables_and_far_pointers() => With((guest, thread) =>
    {
        Tables(guest);
        Span<byte> data = System.Runtime.InteropServices.MemoryMarshal.AsBytes(guest.Words(EngineGuest.FirstData));
        for (int index = 0; index < 256; index++)
            data[0x100 + index] = (byte)(255 - index);
        (guest.Words(EngineGuest.FirstData)[0], guest.Words(EngineGuest.FirstData)[1]) = (((ulong)Local << 32) | 0x1234, ((ulong)Data32 << 32) | 0x5678);
        Run(guest, thread, code =>
        {
            code.mov(esi, (int)EngineGuest.Data + 0x100);
            code.mov(edi, (int)EngineGuest.Data + 0xff0);
            code.mov(ecx, 0x40);
            code.rep.movsd();
            code.mov(edi, (int)EngineGuest.Data + 0xff0);
            code.mov(ecx, 0x1000);
            code.mov(eax, 0x80);
            code.repne.scasb();
            code.mov(edx, edi);
            code.mov(ebx, (int)EngineGuest.Data + 0x100);
            code.mov(al, 3);
            code.xlatb();
            code.movzx(ebp, al);
            code.mov(esi, (int)EngineGuest.Data);
            code.lgs(eax, __[esi]);
            code.les(edi, __[esi + 8]);
            code.mov(ecx, __dword_ptr.gs[0]);
        });
        Assert.That(guest.State.Rdx, Is.EqualTo(EngineGuest.Data + 0xff0 + 128));
        Assert.That((guest.State.Rbp, guest.State.Rax, guest.State.Rdi), Is.EqualTo((252UL, 0x1234UL, 0x5678UL)));
        Assert.That(guest.State.Rcx, Is.EqualTo(guest.Words(EngineGuest.FirstData)[2] & uint.MaxValue));
        Assert.That((guest.State.Gs, guest.State.Es), Is.EqualTo((Local, Data32)));
    });

    [Test]
    public void Single_stepping_goes_through_32_bit_code() => With((guest, thread) =>
    {
        guest.Assemble(
            code =>
            {
                code.inc(eax);
                code.push(eax);
                code.pop(ecx);
                code.pushad();
                code.popad();
            },
            bits: 32);
        guest.State.Rflags = 0x302;
        for (int step = 1; step <= 5; step++)
        {
            Trap trap = guest.Run(thread);
            Assert.That((trap.Kind, trap.Vector, guest.State.Rip), Is.EqualTo((TrapKind.Exception, (byte)1, EngineGuest.Code + (ulong)step)));
        }

        Assert.That(guest.State.Rcx, Is.EqualTo(1));
    });

    [Test]
    public void A_fault_in_memory_says_where() => With((guest, thread) =>
    {
        guest.Assemble(
            code =>
            {
                code.mov(ebx, 0x00ff_0000);
                code.push(__dword_ptr[ebx + 4]);
            },
            bits: 32);
        Trap trap = guest.Run(thread);
        Assert.That((trap.Kind, trap.Vector, trap.ErrorCode, trap.FaultAddress), Is.EqualTo((TrapKind.Exception, (byte)14, 4u, 0x00ff_0004UL)));
        Assert.That((guest.State.Rip, guest.State.Rsp), Is.EqualTo((EngineGuest.Code + 5, EngineGuest.StackTop)));
    });

    private static void Run(EngineGuest guest, IEngineThread thread, Action<Assembler> write)
    {
        guest.Assemble(
            code =>
            {
                write(code);
                guest.Hypercall(code);
            },
            bits: 32);
        Trap trap = guest.Run(thread);
        Assert.That(trap.Kind, Is.EqualTo(TrapKind.Hypercall), $"{trap.Vector} {trap.ErrorCode:x} at {guest.State.Rip:x} {trap.Diagnosis}");
        Assert.That((guest.State.Is32Bit, guest.State.Cs), Is.EqualTo((true, Code32)));
    }

    private static void Fault(EngineGuest guest, IEngineThread thread, int vector, uint error, int offset)
    {
        Trap trap = guest.Run(thread);
        Assert.That((trap.Kind, (int)trap.Vector, trap.ErrorCode, guest.State.Rip), Is.EqualTo((TrapKind.Exception, vector, error, EngineGuest.Code + (ulong)offset)));
    }

    /// <summary>Selector 0x63: data at EngineGuest.Data + 16, limit 4 GiB. Selector 0x6b: the same with a limit of one page.</summary>
    private static void Tables(EngineGuest guest)
    {
        const ulong Base = EngineGuest.Data + 16;
        guest.Words(Table)[Local >> 3] = 0x00cf_f300_0000_ffff | ((Base & 0xff_ffff) << 16) | ((Base >> 24) << 56);
        guest.Words(Table)[Odd >> 3] = 0x0040_f300_0000_0fff | ((Base & 0xff_ffff) << 16) | ((Base >> 24) << 56);
        guest.Cpus[0].SetDescriptorTables(new([guest.Frame(Table)], 512, [], 0));
    }

    protected override void Prepare(EngineGuest guest)
    {
        ref GuestCpuState state = ref guest.State;
        (state.Is32Bit, state.Cs, state.Ss, state.Ds, state.Es) = (true, Code32, Data32, Data32, Data32);
    }
}
