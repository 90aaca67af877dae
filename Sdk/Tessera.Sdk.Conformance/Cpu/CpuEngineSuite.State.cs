using Iced.Intel;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Cpu.X64;
using static Iced.Intel.AssemblerRegisters;

namespace Tessera.Sdk.Conformance.Cpu;

// What a CPU keeps between runs.
public sealed partial class CpuEngineSuite
{
    [Check("Vector registers survive switching between cpus and machines.")]
    private void Vector_registers_survive_switching_between_cpus_and_machines() => OnEngineThread(thread =>
    {
        bool wide = System.Runtime.Intrinsics.X86.Avx.IsSupported;
        using EngineGuest first = WithVectors(wide);
        using EngineGuest second = WithVectors(wide);
        (EngineGuest Guest, int Cpu, ulong Mark)[] all = [(first, 0, 0x1111), (first, 1, 0x2222), (second, 0, 0x3333), (second, 1, 0x4444)];
        foreach ((EngineGuest guest, int cpu, ulong mark) in all)
        {
            guest.Cpus[cpu].State.Rax = mark;
            Expect.Equal(guest.Run(thread, cpu).Kind, TrapKind.Hypercall);
        }

        for (int round = 0; round < 20; round++)
        {
            foreach ((EngineGuest guest, int cpu, ulong mark) in all)
            {
                ref GuestCpuState state = ref guest.Cpus[cpu].State;
                state.Rbx = EngineGuest.Data + ((ulong)cpu * 0x1000);
                state.Rip = EngineGuest.Code + 0x100;
                Trap trap = guest.Run(thread, cpu);
                Expect.Equal(trap.Kind, TrapKind.Hypercall, $"{trap.Vector} {trap.Diagnosis}");
                Span<ulong> stored = guest.Words(EngineGuest.FirstData + cpu)[..(wide ? 4 : 2)];
                Expect.True(!stored.ContainsAnyExcept(mark));
                stored.Clear();
            }
        }
    });

    [Check("Single stepping traps after each instruction and sets BS.")]
    private void Single_stepping_traps_after_each_instruction_and_sets_BS() => OnEngineThread(thread =>
    {
        using EngineGuest guest = new(Engine);
        guest.Assemble(code =>
        {
            for (int index = 0; index < 8; index++)
                code.nop();
        });
        guest.State.Rflags = 0x302;
        for (int step = 1; step <= 5; step++)
        {
            Trap trap = guest.Run(thread);
            Expect.Equal((trap.Kind, trap.Vector), (TrapKind.Exception, (byte)1), trap.Diagnosis);
            Expect.Equal(guest.State.Rip, EngineGuest.Code + (ulong)step);
        }
    });

    [Check("Guest descriptors load and those of the engine keep Xen's values.")]
    private void Guest_descriptors_load_and_those_of_the_engine_keep_Xens_values() => OnEngineThread(thread =>
    {
        using EngineGuest guest = new(Engine);
        // Selector 0x33: 64-bit code of DPL 3; 0x2b: data of DPL 3.
        Span<ulong> gdt = guest.Words(EngineGuest.FirstData + 8);
        gdt[6] = 0x00affb000000ffff;
        gdt[5] = 0x00cff3000000ffff;
        guest.Cpus[0].SetDescriptorTables(new([guest.Frame(EngineGuest.FirstData + 8)], 512, [], 0));
        guest.Assemble(code =>
        {
            code.mov(eax, ds);
            guest.Hypercall(code);
            code.ud2();
        });
        Trap trap = guest.Run(thread);
        Expect.Equal(trap.Kind, TrapKind.Hypercall, $"{trap.Vector} {trap.ErrorCode:x} {trap.Diagnosis}");
        Expect.Equal((guest.State.Cs, guest.State.Ss, guest.State.Ds), ((ushort)0xe033, (ushort)0xe02b, (ushort)0xe02b));
        guest.State.Cs = 0x33;
        guest.State.Ss = 0x2b;
        trap = guest.Run(thread);
        Expect.Equal((trap.Kind, trap.Vector, guest.State.Cs), (TrapKind.Exception, (byte)6, (ushort)0x33), trap.Diagnosis);
        Expect.True(!guest.State.Is32Bit);
    });

    [Check("More descriptors than frames hold are refused.")]
    private void More_descriptors_than_frames_hold_are_refused() => OnEngineThread(_ =>
    {
        using EngineGuest guest = new(Engine);
        Mfn frame = guest.Frame(EngineGuest.FirstData);
        Expect.Throws<ArgumentOutOfRangeException>(() => guest.Cpus[0].SetDescriptorTables(new([frame], 513, [], 0)));
        Expect.Throws<ArgumentOutOfRangeException>(() => guest.Cpus[0].SetDescriptorTables(new([new Mfn(1L << 30)], 1, [], 0)));
    });

    private EngineGuest WithVectors(bool wide)
    {
        EngineGuest guest = new(Engine, cpus: 2);
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
