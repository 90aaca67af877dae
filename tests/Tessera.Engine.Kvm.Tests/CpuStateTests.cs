using Iced.Intel;
using Tessera.Plugins.Cpu.Kvm.Probing;
using Tessera.Sdk.Conformance.Cpu;
using Tessera.Sdk.Cpu;
using static Iced.Intel.AssemblerRegisters;

namespace Tessera.Engine.Kvm.Tests;

[TestFixture]
internal sealed class CpuStateTests : EngineFixture
{
    [Test]
    public void With_task_switched_set_the_next_vector_instruction_raises_NM() => OnEngineThread(thread =>
    {
        Require(HostProbe.TaskSwitchedProbe, "raises #NM");
        using EngineGuest guest = new(Engine);
        guest.Assemble(code =>
        {
            code.movaps(xmm0, xmm1);
            guest.Hypercall(code);
        });
        guest.State.TaskSwitched = true;
        Trap trap = guest.Run(thread);
        Assert.That((trap.Kind, trap.Vector), Is.EqualTo((TrapKind.Exception, (byte)7)), trap.Diagnosis);
        guest.State.TaskSwitched = false;
        Assert.That(guest.Run(thread).Kind, Is.EqualTo(TrapKind.Hypercall));
    });

    [Test]
    public void A_hardware_breakpoint_strikes_unless_it_is_in_the_engines_slot() => OnEngineThread(thread =>
    {
        Require(HostProbe.BreakpointProbe, "strikes");
        using EngineGuest guest = new(Engine);
        guest.Assemble(code =>
        {
            code.nop();
            code.syscall();
        });
        guest.State.Dr0 = EngineGuest.Code + 1;
        guest.State.Dr7 = 0x403;
        Trap trap = guest.Run(thread);
        Assert.That((trap.Kind, trap.Vector), Is.EqualTo((TrapKind.Exception, (byte)1)), trap.Diagnosis);
        Assert.That(guest.State.Rip, Is.EqualTo(EngineGuest.Code + 1));
        Assert.That(guest.State.Dr6 & 1, Is.EqualTo(1));

        guest.State.Dr0 = ((Tessera.Plugins.Cpu.Kvm.KvmMachine)guest.Machine).Area.SyscallEntry;
        trap = guest.Run(thread);
        Assert.That(trap.Kind, Is.EqualTo(TrapKind.Syscall), $"{trap.Vector} {trap.Diagnosis}");
    });

    [Test]
    public void Code_of_32_bits_runs_and_traps() => OnEngineThread(thread =>
    {
        using EngineGuest guest = new(Engine);
        // inc eax (a REX prefix in 64-bit code); inc eax; ud2
        guest.Assemble(code => code.db(0x40, 0x40, 0x0f, 0x0b));
        guest.State.Cs = 0xe023;
        guest.State.Is32Bit = true;
        guest.State.Rax = 5;
        Trap trap = guest.Run(thread);
        Assert.That((trap.Kind, trap.Vector), Is.EqualTo((TrapKind.Exception, (byte)6)), trap.Diagnosis);
        Assert.That(guest.State.Rax, Is.EqualTo(7));
        Assert.That((guest.State.Cs, guest.State.Is32Bit), Is.EqualTo(((ushort)0xe023, true)));
        Assert.That(guest.State.Rip, Is.EqualTo(EngineGuest.Code + 2));
    });
}
