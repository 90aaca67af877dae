using System.Runtime.InteropServices;
using Tessera.Kernel.Hypercalls;
using Tessera.Kernel.Traps;
using Tessera.Sdk;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Cpu.X64;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Tests;

/// <summary>System calls of 32-bit processes, as an engine reports them on each kind of processor, and the callbacks that take them.</summary>
internal sealed class SystemCallTests
{
    private const int CodePage = HandDomain.FreePage;
    private const int StackPage = HandDomain.FreePage + 1;
    private const int ArgumentPage = HandDomain.FreePage + 2;
    private const ulong Handler = 0xffff_ffff_8000_1000;
    private const ulong UserStack = 0x7fff_0000;
    private const ulong UserFlags = 0x246;
    private const ushort LinuxCode32 = 0x23;

    private static readonly Trap InvalidOpcode = new() { Kind = TrapKind.Exception, Vector = 6, IsInterruptible = true };
    private static readonly Trap Protection = new() { Kind = TrapKind.Exception, Vector = 13, IsInterruptible = true };

    [TestCase(CallbackType.Event, 0L)]
    [TestCase(CallbackType.Failsafe, 0L)]
    [TestCase(CallbackType.Syscall, 0L)]
    [TestCase(CallbackType.SysenterDeprecated, -38L)]
    [TestCase(CallbackType.Nmi, 0L)]
    [TestCase(CallbackType.Sysenter, 0L)]
    [TestCase((CallbackType)6, -38L)]
    [TestCase(CallbackType.Syscall32, 0L)]
    [TestCase((CallbackType)8, -38L)]
    [TestCase((CallbackType)0xffff, -38L)]
    public void Callbacks_are_registered_as_Xen_does(CallbackType type, long expected)
    {
        using HandMachine machine = new();
        HandDomain domain = machine.Create();
        Assert.That(Register(domain, type), Is.EqualTo(expected));
        long unregistered = type == CallbackType.Nmi ? 0 : expected == 0 ? -22 : -38;
        Assert.That(Register(domain, type, CallbackOp.Unregister), Is.EqualTo(unregistered));
    }

    /// <summary>Xen's set_callbacks does not say what becomes of each; one that it cannot take stays what it was.</summary>
    [Test]
    public void Callbacks_set_together_are_accepted_whatever_they_are()
    {
        using HandMachine machine = new();
        Vcpu vcpu = machine.Create().Domain.Vcpus[0];
        HypercallCall call = new() { Vcpu = vcpu, A0 = Handler, A1 = Handler + 1, A2 = Handler + 2 };
        Assert.That(TrapOps.SetCallbacks(ref call), Is.Zero);
        call = new() { Vcpu = vcpu, A0 = 0x8000_0000_0000_0000, A1 = Handler + 3, A2 = 0x7fff_ffff_ffff_ffff };
        Assert.That(TrapOps.SetCallbacks(ref call), Is.Zero);
        CallbackType[] types = [CallbackType.Event, CallbackType.Failsafe, CallbackType.Syscall];
        Assert.That(types.Select(type => vcpu.Context.Callbacks[(int)type]), Is.EqualTo(new[] { Handler, Handler + 3, Handler + 2 }));
    }

    [Test]
    public void A_32_bit_syscall_that_faults_reaches_its_callback_as_if_the_processor_had_it()
    {
        using HandMachine machine = new();
        HandDomain domain = machine.Create();
        Vcpu vcpu = User(domain, [0x0f, 0x05]);
        Assert.That(Register(domain, CallbackType.Syscall32), Is.Zero);
        ulong rip = vcpu.Cpu.State.Rip;
        Assert.That(Handle(machine, vcpu, InvalidOpcode), Is.EqualTo(TrapOutcome.Resume));
        AssertEntered(domain, (uint)(rip + 2), UserFlags, (uint)(rip + 2), FlatSelectors.Code32, UserStack);
    }

    [Test]
    public void A_32_bit_syscall_of_a_processor_that_has_it_reaches_its_callback()
    {
        using HandMachine machine = new();
        HandDomain domain = machine.Create();
        Vcpu vcpu = User(domain, [0x0f, 0x05]);
        Assert.That(Register(domain, CallbackType.Syscall32), Is.Zero);
        ref GuestCpuState state = ref vcpu.Cpu.State;
        state.Rip += 2;
        (state.Rcx, state.R11, state.Cs) = (state.Rip, state.Rflags, FlatSelectors.Code32);
        ulong rip = state.Rip;
        Assert.That(Handle(machine, vcpu, new Trap { Kind = TrapKind.Syscall, IsInterruptible = true }), Is.EqualTo(TrapOutcome.Resume));
        AssertEntered(domain, rip, UserFlags, rip, FlatSelectors.Code32, UserStack);
    }

    [Test]
    public void Sysenter_reaches_its_callback_with_nothing_of_where_it_came_from()
    {
        using HandMachine machine = new();
        HandDomain domain = machine.Create();
        Vcpu vcpu = User(domain, [0x0f, 0x34]);
        Assert.That(Register(domain, CallbackType.Sysenter), Is.Zero);
        Assert.That(Handle(machine, vcpu, Protection), Is.EqualTo(TrapOutcome.Resume));
        AssertEntered(domain, 0x1111, 0x2222, 0, 3, 0);
    }

    [TestCase(new byte[] { 0x0f, 0x05 }, 6)]
    [TestCase(new byte[] { 0x0f, 0x34 }, 13)]
    [TestCase(new byte[] { 0x0f, 0x34 }, 6)]
    public void Without_a_callback_the_instruction_faults_where_it_stands(byte[] code, int vector)
    {
        using HandMachine machine = new();
        HandDomain domain = machine.Create();
        Vcpu vcpu = User(domain, code);
        ulong rip = vcpu.Cpu.State.Rip;
        vcpu.Context.TrapTable[vector] = new TrapGate { Address = Handler };
        Assert.That(Handle(machine, vcpu, new Trap { Kind = TrapKind.Exception, Vector = (byte)vector, IsInterruptible = true }), Is.EqualTo(TrapOutcome.Resume));
        ulong[] frame = Frame(domain, vector == 13 ? 8 : 7);
        Assert.That((frame[0], frame[1]), Is.EqualTo((0x1111UL, 0x2222UL)), "RCX and R11 are as they were");
        Assert.That(frame[^5], Is.EqualTo(rip));
        Assert.That((ushort)frame[^4], Is.EqualTo(LinuxCode32));
    }

    [Test]
    public void A_32_bit_syscall_in_kernel_mode_is_no_hypercall()
    {
        using HandMachine machine = new();
        HandDomain domain = machine.Create();
        Vcpu vcpu = User(domain, [0x0f, 0x05]);
        vcpu.SwitchMode(userMode: false);
        vcpu.Cpu.State.Rsp = domain.Address(StackPage) + 0x1000;
        vcpu.Cpu.State.Rip += 2;
        vcpu.Context.TrapTable[6] = new TrapGate { Address = Handler };
        Assert.That(Handle(machine, vcpu, new Trap { Kind = TrapKind.Syscall, IsInterruptible = true }), Is.EqualTo(TrapOutcome.Resume));
        Assert.That(vcpu.Cpu.State.Rip, Is.EqualTo(Handler));
        Assert.That(vcpu.Cpu.State.Is32Bit, Is.False);
    }

    [TestCase(new byte[] { 0xcd, 0x80 })]
    [TestCase(new byte[] { 0x48, 0xcd, 0x80 })]
    [TestCase(new byte[] { 0x66, 0x2e, 0xcd, 0x80 })]
    public void A_software_interrupt_returns_to_what_follows_it_whatever_its_prefixes(byte[] code)
    {
        using HandMachine machine = new();
        HandDomain domain = machine.Create();
        Vcpu vcpu = User(domain, code);
        vcpu.Cpu.State.Is32Bit = false;
        ulong rip = vcpu.Cpu.State.Rip;
        vcpu.Context.TrapTable[0x80] = new TrapGate { Address = Handler, Flags = TrapInfoFlags.DplMask };
        Assert.That(Handle(machine, vcpu, new Trap { Kind = TrapKind.Exception, Vector = 13, ErrorCode = (0x80 << 3) | 2, IsInterruptible = true }), Is.EqualTo(TrapOutcome.Resume));
        Assert.That(Frame(domain, 7)[2], Is.EqualTo(rip + (ulong)code.Length));
    }

    [TestCase(1)]
    [TestCase(3)]
    public void The_engines_instruction_faults_in_user_mode_where_it_stands_whatever_its_length(int bytes)
    {
        using HandMachine machine = new(hypercallInstruction: new byte[bytes]);
        HandDomain domain = machine.Create();
        Vcpu vcpu = User(domain, []);
        vcpu.Cpu.State.Is32Bit = false;
        ulong rip = vcpu.Cpu.State.Rip;
        vcpu.Cpu.State.Rip += (ulong)bytes;
        vcpu.Context.TrapTable[13] = new TrapGate { Address = Handler };
        Assert.That(Handle(machine, vcpu, new Trap { Kind = TrapKind.Hypercall, IsInterruptible = true }), Is.EqualTo(TrapOutcome.Resume));
        Assert.That(Frame(domain, 8)[3], Is.EqualTo(rip));
    }

    /// <summary>A process of 32 bits about to run code; the kernel's own tables are its tables too.</summary>
    private static Vcpu User(HandDomain domain, byte[] code)
    {
        Vcpu vcpu = domain.Domain.Vcpus[0];
        Assert.That(domain.Domain.Mmu.Extended(0, (uint)MmuExtOp.NewUserBaseptr, domain.Domain.Mmu.Root(0, userMode: false), Mfn.None), Is.EqualTo(XenErrno.Success));
        code.CopyTo(domain.Page(CodePage));
        vcpu.Context.KernelStack = domain.Address(StackPage) + 0x1000;
        vcpu.SwitchMode(userMode: true);
        ref GuestCpuState state = ref vcpu.Cpu.State;
        (state.Rip, state.Rsp, state.Rflags, state.Cs, state.Ss) = (domain.Address(CodePage), UserStack, UserFlags, LinuxCode32, FlatSelectors.Data);
        (state.Rcx, state.R11, state.Is32Bit) = (0x1111, 0x2222, true);
        return vcpu;
    }

    private static TrapOutcome Handle(HandMachine machine, Vcpu vcpu, in Trap trap) =>
        new TrapRouter(machine.Machine.Hypercalls, machine.Machine.Cpuid, machine.Engine.Facts.HypercallInstruction.Count).Handle(vcpu, machine.Pcpu, trap);

    private static void AssertEntered(HandDomain domain, ulong rcx, ulong r11, ulong rip, ushort cs, ulong rsp)
    {
        Vcpu vcpu = domain.Domain.Vcpus[0];
        ulong[] frame = Frame(domain, 7);
        Assert.Multiple(() =>
        {
            Assert.That(vcpu.Context.UserMode, Is.False);
            Assert.That((vcpu.Cpu.State.Rip, vcpu.Cpu.State.Cs, vcpu.Cpu.State.Is32Bit), Is.EqualTo((Handler, FlatSelectors.Code64, false)));
            Assert.That((frame[0], frame[1]), Is.EqualTo((rcx, r11)), "RCX, R11");
            Assert.That(frame[2], Is.EqualTo(rip), "RIP");
            Assert.That((ushort)frame[3], Is.EqualTo(cs), "CS");
            Assert.That(frame[5], Is.EqualTo(rsp), "RSP");
            Assert.That((ushort)frame[6], Is.EqualTo(FlatSelectors.Data), "SS");
        });
    }

    private static ulong[] Frame(HandDomain domain, int words)
    {
        Vcpu vcpu = domain.Domain.Vcpus[0];
        Assert.That(vcpu.Cpu.State.Rsp, Is.EqualTo(domain.Address(StackPage) + 0x1000 - ((ulong)words * 8)));
        return MemoryMarshal.Cast<byte, ulong>(domain.Page(StackPage))[^words..].ToArray();
    }

    private static long Register(HandDomain domain, CallbackType type, CallbackOp operation = CallbackOp.Register)
    {
        Span<byte> request = domain.Page(ArgumentPage);
        request[..16].Clear();
        _ = MemoryMarshal.TryWrite(request, (ushort)type);
        _ = MemoryMarshal.TryWrite(request[8..], Handler);
        HypercallCall call = new() { Vcpu = domain.Domain.Vcpus[0], A0 = (ulong)operation, A1 = domain.Address(ArgumentPage) };
        return TrapOps.CallbackOperation(ref call);
    }
}
