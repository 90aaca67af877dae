using Iced.Intel;
using Tessera.Plugins.Cpu.Kvm.Probing;
using Tessera.Sdk;
using Tessera.Sdk.Cpu;
using static Iced.Intel.AssemblerRegisters;

namespace Tessera.Engine.Kvm.Tests;

[TestFixture]
internal sealed class CpuStateTests : EngineFixture
{
    [Test]
    public void Vector_registers_survive_switching_between_cpus_and_machines() => OnEngineThread(thread =>
    {
        bool wide = System.Runtime.Intrinsics.X86.Avx.IsSupported;
        using TestGuest first = WithVectors(wide);
        using TestGuest second = WithVectors(wide);
        (TestGuest Guest, int Cpu, ulong Mark)[] all = [(first, 0, 0x1111), (first, 1, 0x2222), (second, 0, 0x3333), (second, 1, 0x4444)];
        foreach ((TestGuest guest, int cpu, ulong mark) in all)
        {
            guest.Cpus[cpu].State.Rax = mark;
            Assert.That(guest.Run(thread, cpu).Kind, Is.EqualTo(TrapKind.Hypercall));
        }

        for (int round = 0; round < 20; round++)
        {
            foreach ((TestGuest guest, int cpu, ulong mark) in all)
            {
                ref GuestCpuState state = ref guest.Cpus[cpu].State;
                state.Rbx = TestGuest.Data + ((ulong)cpu * 0x1000);
                state.Rip = TestGuest.Code + 0x100;
                Trap trap = guest.Run(thread, cpu);
                Assert.That(trap.Kind, Is.EqualTo(TrapKind.Hypercall), $"{trap.Vector} {trap.Diagnosis}");
                Span<ulong> stored = guest.Words(TestGuest.FirstData + cpu)[..(wide ? 4 : 2)];
                Assert.That(stored.ToArray(), Has.All.EqualTo(mark));
                stored.Clear();
            }
        }
    });

    [Test]
    public void With_task_switched_set_the_next_vector_instruction_raises_NM() => OnEngineThread(thread =>
    {
        Require(HostProbe.TaskSwitchedProbe, "raises #NM");
        using TestGuest guest = new(Engine);
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
    public void Single_stepping_traps_after_each_instruction_and_sets_BS() => OnEngineThread(thread =>
    {
        using TestGuest guest = new(Engine);
        guest.Assemble(code =>
        {
            for (int index = 0; index < 8; index++)
                code.nop();
        });
        guest.State.Rflags = 0x302;
        for (int step = 1; step <= 5; step++)
        {
            Trap trap = guest.Run(thread);
            Assert.That((trap.Kind, trap.Vector), Is.EqualTo((TrapKind.Exception, (byte)1)), trap.Diagnosis);
            Assert.That(guest.State.Rip, Is.EqualTo(TestGuest.Code + (ulong)step));
        }
    });

    [Test]
    public void A_hardware_breakpoint_strikes_unless_it_is_in_the_engines_slot() => OnEngineThread(thread =>
    {
        Require(HostProbe.BreakpointProbe, "strikes");
        using TestGuest guest = new(Engine);
        guest.Assemble(code =>
        {
            code.nop();
            code.syscall();
        });
        guest.State.Dr0 = TestGuest.Code + 1;
        guest.State.Dr7 = 0x403;
        Trap trap = guest.Run(thread);
        Assert.That((trap.Kind, trap.Vector), Is.EqualTo((TrapKind.Exception, (byte)1)), trap.Diagnosis);
        Assert.That(guest.State.Rip, Is.EqualTo(TestGuest.Code + 1));
        Assert.That(guest.State.Dr6 & 1, Is.EqualTo(1));

        guest.State.Dr0 = ((Tessera.Plugins.Cpu.Kvm.KvmMachine)guest.Machine).Area.SyscallEntry;
        trap = guest.Run(thread);
        Assert.That(trap.Kind, Is.EqualTo(TrapKind.Syscall), $"{trap.Vector} {trap.Diagnosis}");
    });

    [Test]
    public void Guest_descriptors_load_and_those_of_the_engine_keep_Xens_values() => OnEngineThread(thread =>
    {
        using TestGuest guest = new(Engine);
        // Selector 0x33: 64-bit code of DPL 3; 0x2b: data of DPL 3.
        Span<ulong> gdt = guest.Words(TestGuest.FirstData + 8);
        gdt[6] = 0x00affb000000ffff;
        gdt[5] = 0x00cff3000000ffff;
        guest.Cpus[0].SetDescriptorTables([guest.Frame(TestGuest.FirstData + 8)], 512, [], 0);
        guest.Assemble(code =>
        {
            code.mov(eax, ds);
            guest.Hypercall(code);
            code.ud2();
        });
        Trap trap = guest.Run(thread);
        Assert.That(trap.Kind, Is.EqualTo(TrapKind.Hypercall), $"{trap.Vector} {trap.ErrorCode:x} {trap.Diagnosis}");
        Assert.That((guest.State.Cs, guest.State.Ss, guest.State.Ds), Is.EqualTo(((ushort)0xe033, (ushort)0xe02b, (ushort)0xe02b)));
        guest.State.Cs = 0x33;
        guest.State.Ss = 0x2b;
        trap = guest.Run(thread);
        Assert.That((trap.Kind, trap.Vector, guest.State.Cs), Is.EqualTo((TrapKind.Exception, (byte)6, (ushort)0x33)), trap.Diagnosis);
        Assert.That(guest.State.Is32Bit, Is.False);
    });

    [Test]
    public void Code_of_32_bits_runs_and_traps() => OnEngineThread(thread =>
    {
        using TestGuest guest = new(Engine);
        // inc eax (a REX prefix in 64-bit code); inc eax; ud2
        guest.Assemble(code => code.db(0x40, 0x40, 0x0f, 0x0b));
        guest.State.Cs = 0xe023;
        guest.State.Is32Bit = true;
        guest.State.Rax = 5;
        Trap trap = guest.Run(thread);
        Assert.That((trap.Kind, trap.Vector), Is.EqualTo((TrapKind.Exception, (byte)6)), trap.Diagnosis);
        Assert.That(guest.State.Rax, Is.EqualTo(7));
        Assert.That((guest.State.Cs, guest.State.Is32Bit), Is.EqualTo(((ushort)0xe023, true)));
        Assert.That(guest.State.Rip, Is.EqualTo(TestGuest.Code + 2));
    });

    [Test]
    public void More_descriptors_than_frames_hold_are_refused() => OnEngineThread(_ =>
    {
        using TestGuest guest = new(Engine);
        Mfn frame = guest.Frame(TestGuest.FirstData);
        Assert.Throws<ArgumentOutOfRangeException>(() => guest.Cpus[0].SetDescriptorTables([frame], 513, [], 0));
        Assert.Throws<ArgumentOutOfRangeException>(() => guest.Cpus[0].SetDescriptorTables([new Mfn(1L << 30)], 1, [], 0));
    });

    private TestGuest WithVectors(bool wide)
    {
        TestGuest guest = new(Engine, cpus: 2);
        guest.Assemble(code =>
        {
            code.movq(xmm7, rax);
            if (wide)
                code.vbroadcastsd(ymm7, xmm7);
            else
                code.punpcklqdq(xmm7, xmm7);
            guest.Hypercall(code);
        });
        guest.Assemble(
            code =>
            {
                if (wide)
                    code.vmovups(__ymmword_ptr[rbx], ymm7);
                else
                    code.movups(__xmmword_ptr[rbx], xmm7);
                guest.Hypercall(code);
            },
            0x100);
        return guest;
    }
}
