using System.Runtime.InteropServices;
using Iced.Intel;
using Tessera.Kernel.Hypercalls;
using Tessera.Kernel.Traps;
using Tessera.Sdk;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Cpu.X64;
using Tessera.Sdk.Xen;
using static Iced.Intel.AssemblerRegisters;

namespace Tessera.Kernel.Tests;

/// <summary>Instructions that fault in ring 3 and that Xen does for a guest: debug registers, ports by the virtual I/O privilege, the table at its fixed address.</summary>
internal sealed class PrivilegedInstructionTests
{
    private const ushort UnknownSelector = 0x4f;
    private const int CodePage = HandDomain.FreePage;
    private const int StackPage = HandDomain.FreePage + 1;
    private const int ArgumentPage = HandDomain.FreePage + 2;
    private const int BitmapPage = HandDomain.FreePage + 3;
    private const ulong Handler = 0xffff_ffff_8000_1000;
    private const ulong Table = 0xffff_8000_0000_0000;

    private HandMachine _machine = null!;
    private HandDomain _domain = null!;

    private Vcpu Vcpu => _domain.Domain.Vcpus[0];

    private ref GuestCpuState State => ref Vcpu.Cpu.State;

    [SetUp]
    public void Create()
    {
        _machine = new HandMachine();
        _domain = _machine.Create();
        foreach (int vector in (int[])[13, 14])
            Vcpu.Context.TrapTable[vector] = new TrapGate { Address = Handler };
        Vcpu.Context.KernelStack = _domain.Address(StackPage) + 0x1000;
        State.Rsp = Vcpu.Context.KernelStack;
        Assert.That(_domain.Domain.Mmu.Extended(0, (uint)MmuExtOp.NewUserBaseptr, _domain.Domain.Mmu.Root(0, userMode: false), Mfn.None), Is.EqualTo(XenErrno.Success));
    }

    [TearDown]
    public void Dispose() => _machine.Dispose();

    [TestCase(0, 0x1234_5678UL, 0x1234_5678UL)]
    [TestCase(3, 0xffff_ffff_8100_0000UL, 0xffff_ffff_8100_0000UL)]
    [TestCase(6, 0UL, 0xffff_0ff0UL)]
    [TestCase(6, 0x4001UL, 0xffff_4ff1UL)]
    [TestCase(4, 0x4001UL, 0xffff_4ff1UL)]
    [TestCase(7, 0UL, 0x400UL)]
    [TestCase(5, 0x1UL, 0x401UL)]
    public void A_debug_register_is_written_and_read_by_mov(int number, ulong value, ulong read)
    {
        State.Rax = value;
        Assert.That(Run(code => code.mov(Debug(number), rax)), Is.True);
        Assert.That(Run(code => code.mov(rcx, Debug(number))), Is.True);
        Assert.That(State.Rcx, Is.EqualTo(read));
        HypercallCall call = new() { Vcpu = Vcpu, A0 = (ulong)number };
        Assert.That((ulong)TrapOps.GetDebugRegister(ref call), Is.EqualTo(read));
    }

    [TestCase(0, Table, -1L)]
    [TestCase(1, 0x8000_0000_0000UL, -1L)]
    [TestCase(6, 1UL << 32, -22L)]
    [TestCase(7, 1UL << 32, -22L)]
    [TestCase(5, 1UL << 63, -22L)]
    [TestCase(7, 0x2000UL, -1L)]
    [TestCase(7, 0x0002_0001UL, -1L)]
    [TestCase(8, 0UL, -19L)]
    [TestCase(15, 0UL, -19L)]
    public void What_the_hypercall_refuses_faults_by_mov(int number, ulong value, long refusal)
    {
        HypercallCall call = new() { Vcpu = Vcpu, A0 = (ulong)number, A1 = value };
        Assert.That(TrapOps.SetDebugRegister(ref call), Is.EqualTo(refusal));
        State.Rax = value;
        Assert.That(Run(code => code.mov(Debug(number), rax)), Is.False);
    }

    [Test]
    public void Cli_sti_and_ports_go_by_the_virtual_privilege_as_in_Xen([Values] bool userMode, [Values(0, 1, 2, 3)] int level, [Values] bool architectural)
    {
        Assert.That(Assist(architectural), Is.Zero);
        Assert.That(SetIopl((uint)level), Is.Zero);
        int ring = userMode ? 3 : architectural ? 0 : 1;
        Vcpu.SwitchMode(userMode);
        foreach (Action<Assembler> instruction in (Action<Assembler>[])[code => code.cli(), code => code.sti(), code => code.@in(al, 0x60), code => code.@out(0x80, al), code => code.@out(dx, eax)])
            Assert.That(Run(instruction, userMode), Is.EqualTo(level >= ring));
    }

    [Test]
    public void A_32_bit_process_has_its_ports_and_flags_too([Values(0, 3)] int level)
    {
        Assert.That(SetIopl((uint)level), Is.Zero);
        foreach (Action<Assembler> instruction in (Action<Assembler>[])[code => code.cli(), code => code.sti(), code => code.@in(al, 0x80), code => code.@out(0x80, al), code => code.@in(eax, dx)])
        {
            (State.Is32Bit, State.Cs) = (true, FlatSelectors.Code32);
            Assert.That(Run(instruction, userMode: true), Is.EqualTo(level == 3));
            // Where a segment that is not flat begins is not asked: nothing is read from the wrong place.
            (State.Is32Bit, State.Cs) = (true, UnknownSelector);
            Assert.That(Run(instruction, userMode: true), Is.False);
        }
    }

    [Test]
    public void A_port_without_a_device_reads_all_ones()
    {
        Assert.That(SetIopl(1), Is.Zero);
        (State.Rax, State.Rdx) = (0, 0x3f8);
        Assert.That(Run(code => code.@in(eax, dx)), Is.True);
        Assert.That(State.Rax, Is.EqualTo(uint.MaxValue));
    }

    [TestCase(0x60u, 1, true)]
    [TestCase(0x61u, 1, false)]
    [TestCase(0x60u, 2, false)]
    [TestCase(0x67u, 2, true)]
    [TestCase(0x3ffu, 1, true)]
    [TestCase(0x3ffu, 2, false)]
    [TestCase(0x400u, 1, false)]
    public void The_bitmap_gives_a_process_single_ports(uint port, int bytes, bool allowed)
    {
        _domain.Page(BitmapPage).Clear();
        _domain.Page(BitmapPage)[0x61 / 8] = 1 << (0x61 % 8);
        Assert.That(SetIobitmap(_domain.Address(BitmapPage), 0x400), Is.Zero);
        Vcpu.SwitchMode(userMode: true);
        State.Rdx = port;
        Assert.That(Run(code => { if (bytes == 1) code.@out(dx, al); else code.@out(dx, ax); }, userMode: true), Is.EqualTo(allowed));
    }

    [Test]
    public void A_bitmap_that_cannot_be_read_forbids_and_one_too_long_is_refused()
    {
        Assert.That(SetIobitmap(0x1000, 65536), Is.Zero);
        Assert.That(SetIobitmap(0x1000, 70_000), Is.EqualTo(-22));
        Assert.That(SetIopl(4), Is.EqualTo(-22));
        Vcpu.SwitchMode(userMode: true);
        Assert.That(Run(code => code.@out(0x80, al), userMode: true), Is.False);
    }

    [Test]
    public void The_hypercall_port_is_a_port_like_any_other_to_a_process([Values(0, 3)] int level)
    {
        Assert.That(SetIopl((uint)level), Is.Zero);
        Vcpu.SwitchMode(userMode: true);
        Place(code => code.@out(0x7e, al));
        ulong start = State.Rip;
        State.Rip += 2;
        Handle(new Trap { Kind = TrapKind.Hypercall, IsInterruptible = true });
        Assert.That(State.Rip, Is.EqualTo(level == 3 ? start + 2 : Handler));
    }

    [Test]
    public void The_flags_carry_the_level_where_the_kernel_asked_for_it([Values] bool architectural)
    {
        Assert.That(Assist(architectural), Is.Zero);
        Assert.That(SetIopl(2), Is.Zero);
        State.Rflags = 0x202;
        Assert.That(Run(code => code.hlt()), Is.False);
        ulong[] frame = MemoryMarshal.Cast<byte, ulong>(_domain.Page(StackPage))[^3..].ToArray();
        Assert.That((frame[0] >> 12) & 3, Is.EqualTo(architectural ? 2 : 0));
        // An iret with level 1 in its flags.
        Span<ulong> iret = MemoryMarshal.Cast<byte, ulong>(_domain.Page(ArgumentPage));
        iret.Clear();
        iret[IretFrame.Rip / 8] = Handler;
        iret[IretFrame.Cs / 8] = FlatSelectors.Code64 & ~3UL;
        iret[IretFrame.Rflags / 8] = 0x1202;
        State.Rsp = _domain.Address(ArgumentPage);
        HypercallCall call = new() { Vcpu = Vcpu };
        Assert.That(TrapOps.Iret(ref call), Is.Zero);
        Assert.That(Vcpu.Context.IoPrivilege, Is.EqualTo(architectural ? 1 : 2));
        Assert.That(State.Rflags & 0x3000, Is.Zero, "the real level stays 0");
    }

    [Test]
    public void The_table_is_read_at_the_address_of_the_ABI()
    {
        long frame = _domain.Frame(7).Value;
        (State.Rbx, State.Rcx) = (Table, (ulong)frame);
        Assert.That(Read(code => code.mov(rax, __qword_ptr[rbx + rcx * 8]), frame), Is.True);
        Assert.That(State.Rax, Is.EqualTo(7));
        State.Rax = ulong.MaxValue;
        Assert.That(Read(code => code.mov(eax, __dword_ptr[rbx + rcx * 8]), frame), Is.True);
        Assert.That(State.Rax, Is.EqualTo(7));
        Assert.That(Read(code => code.movzx(edx, __byte_ptr[rbx + rcx * 8]), frame), Is.True);
        Assert.That(State.Rdx, Is.EqualTo(7));
        Assert.That(Read(code => code.movsxd(rsi, __dword_ptr[rbx + rcx * 8]), frame), Is.True);
        Assert.That(State.Rsi, Is.EqualTo(7));
        foreach ((ulong value, ulong flags) in ((ulong, ulong)[])[(7, 0x44), (8, 0), (6, 0x95)])
        {
            State.Rdi = value;
            Assert.That(Read(code => code.cmp(rdi, __qword_ptr[rbx + rcx * 8]), frame), Is.True);
            Assert.That(State.Rflags & 0x8d5, Is.EqualTo(flags), $"cmp {value}, 7");
        }
    }

    [TestCase("write")]
    [TestCase("user")]
    [TestCase("unknown")]
    [TestCase("beyond")]
    [TestCase("foreign")]
    public void What_is_no_read_of_an_own_entry_faults(string what)
    {
        long frame = what == "beyond" ? 1L << 35 : what == "foreign" ? 0 : _domain.Frame(7).Value;
        Vcpu.SwitchMode(what == "user");
        (State.Rbx, State.Rcx) = (Table, (ulong)frame);
        Action<Assembler> write = what switch
        {
            "write" => code => code.mov(__qword_ptr[rbx + rcx * 8], rax),
            "unknown" => code => code.imul(rax, __qword_ptr[rbx + rcx * 8]),
            _ => code => code.mov(rax, __qword_ptr[rbx + rcx * 8]),
        };
        Assert.That(Read(write, frame, what == "write" ? 0xfu : 0xdu), Is.False);
        ulong[] stack = MemoryMarshal.Cast<byte, ulong>(_domain.Page(StackPage))[^8..].ToArray();
        Assert.That(stack[2], Is.EqualTo((what == "write" ? 3UL : 1UL) | (what == "user" ? 4UL : 0)), "no reserved bit in the error code");
    }

    private static AssemblerRegisterDR Debug(int number) => new((Register)((int)Register.DR0 + number));

    private void Place(Action<Assembler> write)
    {
        Assembler assembler = new(64);
        write(assembler);
        using MemoryStream stream = new();
        assembler.Assemble(new StreamCodeWriter(stream), _domain.Address(CodePage));
        _domain.Page(CodePage).Clear();
        stream.ToArray().CopyTo(_domain.Page(CodePage));
        State.Rip = _domain.Address(CodePage);
    }

    /// <summary>Lets one instruction raise #GP; true when it was done, false when the guest got the exception.</summary>
    private bool Run(Action<Assembler> instruction, bool userMode = false)
    {
        Vcpu.SwitchMode(userMode);
        Place(instruction);
        Handle(new Trap { Kind = TrapKind.Exception, Vector = 13, IsInterruptible = true });
        bool done = State.Rip != Handler;
        Assert.That(!done || State.Rip > _domain.Address(CodePage), Is.True);
        return done;
    }

    private bool Read(Action<Assembler> instruction, long frame, uint error = 0xd)
    {
        Place(instruction);
        Handle(new Trap { Kind = TrapKind.Exception, Vector = 14, ErrorCode = error, FaultAddress = Table + ((ulong)frame * 8), IsInterruptible = true });
        return State.Rip != Handler;
    }

    private void Handle(in Trap trap) =>
        Assert.That(new TrapRouter(_machine.Machine.Hypercalls, _machine.Machine.Cpuid, 2).Handle(Vcpu, _machine.Pcpu, trap), Is.EqualTo(TrapOutcome.Resume));

    private long SetIopl(uint level)
    {
        _ = MemoryMarshal.TryWrite(_domain.Page(ArgumentPage), level);
        return Physdev(PhysdevOp.SetIopl);
    }

    private long SetIobitmap(ulong address, uint ports)
    {
        _ = MemoryMarshal.TryWrite(_domain.Page(ArgumentPage), address);
        _ = MemoryMarshal.TryWrite(_domain.Page(ArgumentPage)[8..], ports);
        return Physdev(PhysdevOp.SetIobitmap);
    }

    private long Physdev(PhysdevOp operation)
    {
        HypercallCall call = new() { Vcpu = Vcpu, A0 = (ulong)operation, A1 = _domain.Address(ArgumentPage) };
        return PhysdevCalls.Operation(ref call);
    }

    private long Assist(bool architectural)
    {
        HypercallCall call = new() { Vcpu = Vcpu, A0 = (ulong)(architectural ? VmAssistCommand.Enable : VmAssistCommand.Disable), A1 = (ulong)VmAssistType.ArchitecturalIopl };
        return VersionCalls.VmAssist(ref call);
    }
}
