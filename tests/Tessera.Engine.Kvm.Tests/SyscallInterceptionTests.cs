using Iced.Intel;
using Tessera.Sdk.Conformance.Cpu;
using Tessera.Sdk.Cpu;
using static Iced.Intel.AssemblerRegisters;

namespace Tessera.Engine.Kvm.Tests;

/// <summary>Code of the kernel's behind `syscall`, on hosts where that pays.</summary>
[TestFixture]
internal sealed class SyscallInterceptionTests : EngineFixture
{
    private const int CodeOffset = 0x1000;
    private ulong _interceptionExit;

    [SetUp]
    public void RequireInterception()
    {
        if (!Engine.Facts.InterceptsSyscalls)
            Assert.Ignore("On this host `syscall` is not intercepted: exits are cheap, or it leaves ring 3.");
    }

    [Test]
    public void A_call_is_answered_without_an_exit_or_left_to_the_VMM_as_it_came() => OnEngineThread(thread =>
    {
        using EngineGuest guest = new(Engine);
        ISyscallInterception interception = Intercept(guest, code =>
        {
            Label exit = code.CreateLabel();
            code.cmp(rax, 7);
            code.jne(exit);
            code.mov(eax, 77);
            code.jmp(rcx);
            code.Label(ref exit);
            code.mov(rbp, _interceptionExit);
            code.jmp(rbp);
        });
        guest.Assemble(code =>
        {
            code.mov(eax, 7);
            code.syscall();
            code.mov(rbx, rax);
            code.mov(eax, 8);
            code.syscall();
        });
        interception.Entry = EngineGuest.Code + CodeOffset;
        Trap trap = guest.Run(thread);
        Assert.That((trap.Kind, guest.State.Rax, guest.State.Rbx), Is.EqualTo((TrapKind.Syscall, 8UL, 77UL)), trap.Diagnosis);

        interception.Entry = interception.Exit;
        guest.State.Rip = EngineGuest.Code;
        trap = guest.Run(thread);
        Assert.That((trap.Kind, guest.State.Rax), Is.EqualTo((TrapKind.Syscall, 7UL)), trap.Diagnosis);
    });

    [Test]
    public void Segment_bases_set_in_ring_3_are_seen() => OnEngineThread(thread =>
    {
        using EngineGuest guest = new(Engine);
        guest.Assemble(code =>
        {
            code.mov(rax, 0x1234_5678_9000);
            code.wrfsbase(rax);
            code.mov(rax, 0x4321_0000_1000);
            code.wrgsbase(rax);
            guest.Hypercall(code);
        });
        Assert.That(guest.Run(thread).Kind, Is.EqualTo(TrapKind.Hypercall));
        Assert.That((guest.State.FsBase, guest.State.GsBase), Is.EqualTo((0x1234_5678_9000UL, 0x4321_0000_1000UL)));
    });

    [Test]
    public void Preemption_waits_until_the_code_is_left_and_never_stops_inside() => OnEngineThread(thread =>
    {
        using EngineGuest guest = new(Engine);
        ISyscallInterception interception = Intercept(guest, code =>
        {
            for (int step = 0; step < 40; step++)
                code.inc(rax);
            code.jmp(rcx);
        });
        interception.Entry = EngineGuest.Code + CodeOffset;
        guest.Assemble(code =>
        {
            Label again = code.CreateLabel();
            code.Label(ref again);
            code.xor(eax, eax);
            code.syscall();
            code.jmp(again);
        });
        for (int turn = 0; turn < 50; turn++)
        {
            Trap trap = guest.Run(thread, milliseconds: 1);
            Assert.That(trap.Kind, Is.EqualTo(TrapKind.Preempted), trap.Diagnosis);
            if (trap.IsInterruptible)
                Assert.That(guest.State.Rip, Is.InRange(EngineGuest.Code, EngineGuest.Code + 64));
        }
    });

    [Test]
    public void A_stale_signal_inside_the_code_does_not_lose_the_deadline() => OnEngineThread(thread =>
    {
        using EngineGuest guest = new(Engine);
        _ = Intercept(guest, code =>
        {
            Label inside = code.CreateLabel();
            code.Label(ref inside);
            code.dec(rcx);
            code.jne(inside);
            code.mov(rbx, EngineGuest.Code);
            code.jmp(rbx);
        });
        guest.Assemble(code =>
        {
            Label forever = code.CreateLabel();
            code.Label(ref forever);
            code.jmp(forever);
        });
        bool rescued = false;
        using Timer rescue = new(
            _ =>
            {
                rescued = true;
                thread.Kick();
            },
            null,
            (long)Hang.Limit.TotalMilliseconds,
            Timeout.Infinite);
        for (int turn = 0; turn < 20; turn++)
        {
            // The kick is taken by the first Run; its signal ends the second one's first round, inside the code.
            thread.Kick();
            Assert.That(guest.Run(thread).Kind, Is.EqualTo(TrapKind.Preempted));
            guest.State.Rip = EngineGuest.Code + CodeOffset;
            guest.State.Rcx = (ulong)(turn + 1) * 100_000;
            Trap trap = guest.Run(thread, milliseconds: 20);
            Assert.That((trap.Kind, rescued), Is.EqualTo((TrapKind.Preempted, false)), trap.Diagnosis);
        }
    });

    [Test]
    public void Code_that_is_never_left_ends_the_guest() => OnEngineThread(thread =>
    {
        using EngineGuest guest = new(Engine);
        ISyscallInterception interception = Intercept(guest, code =>
        {
            Label forever = code.CreateLabel();
            code.Label(ref forever);
            code.jmp(forever);
        });
        interception.Entry = EngineGuest.Code + CodeOffset;
        guest.Assemble(code => code.syscall());
        OwnedMachineTests.RunToTheEnd(guest, thread, "hangs");
    });

    private ISyscallInterception Intercept(EngineGuest guest, Action<Assembler> code)
    {
        ISyscallInterception interception = (ISyscallInterception)guest.Cpus[0];
        _interceptionExit = interception.Exit;
        guest.Assemble(code, CodeOffset);
        interception.Declare(EngineGuest.Code + CodeOffset, 0x200);
        return interception;
    }
}
