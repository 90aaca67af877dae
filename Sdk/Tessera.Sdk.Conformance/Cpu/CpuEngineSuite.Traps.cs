using Iced.Intel;
using Tessera.Sdk.Cpu;
using static Iced.Intel.AssemblerRegisters;

namespace Tessera.Sdk.Conformance.Cpu;

// Every kind of trap, with the state it leaves.
public sealed partial class CpuEngineSuite
{
    [Check("A hypercall instruction traps after itself and keeps every register.")]
    private void A_hypercall_instruction_traps_after_itself_and_keeps_every_register() => OnEngineThread(thread =>
    {
        using EngineGuest guest = new(Engine);
        guest.Assemble(code =>
        {
            code.mov(rax, 0x1122334455667788UL);
            code.mov(r15, 0xfedcba9876543210UL);
            guest.Hypercall(code);
            code.add(rax, r15);
            guest.Hypercall(code);
        });
        Trap trap = guest.Run(thread);
        Expect.Equal(trap.Kind, TrapKind.Hypercall, trap.Diagnosis);
        Expect.Equal(guest.State.Rip, EngineGuest.Code + 22);
        Expect.Equal(guest.State.Rax, 0x1122334455667788UL);
        Expect.Equal(guest.State.R15, 0xfedcba9876543210UL);
        guest.State.R15 = 1;
        trap = guest.Run(thread);
        Expect.Equal(trap.Kind, TrapKind.Hypercall);
        Expect.Equal(guest.State.Rax, 0x1122334455667789UL);
    });

    [Check("A syscall traps with the caller's rip and flags.")]
    private void A_syscall_traps_with_the_callers_rip_and_flags() => OnEngineThread(thread =>
    {
        using EngineGuest guest = new(Engine);
        guest.Assemble(code =>
        {
            code.stc();
            code.std();
            code.syscall();
            code.setc(bl);
            code.syscall();
        });
        Trap trap = guest.Run(thread);
        Expect.Equal(trap.Kind, TrapKind.Syscall, trap.Diagnosis);
        Expect.Equal(guest.State.Rip, EngineGuest.Code + 4);
        Expect.Equal(guest.State.Rflags & 0x401, 0x401UL, "carry and direction");
        Expect.Equal(guest.State.Cs, 0xe033);
        Expect.Equal(guest.State.Ss, 0xe02b);
        trap = guest.Run(thread);
        Expect.Equal(trap.Kind, TrapKind.Syscall);
        Expect.Equal(guest.State.Rbx & 0xff, 1UL);
    });

    [Check("A page fault says where and how and goes on when mapped.")]
    private void A_page_fault_says_where_and_how_and_goes_on_when_mapped() => OnEngineThread(thread =>
    {
        using EngineGuest guest = new(Engine);
        int entry = EngineGuest.EntryOf(EngineGuest.Data);
        ulong mapped = guest.Words(EngineGuest.L1)[entry];
        guest.Words(EngineGuest.L1)[entry] = 0;
        guest.Assemble(code =>
        {
            code.mov(rbx, EngineGuest.Data + 0x128);
            code.mov(__qword_ptr[rbx], rbx);
            guest.Hypercall(code);
        });
        Trap trap = guest.Run(thread);
        Expect.Equal(trap.Kind, TrapKind.Exception, trap.Diagnosis);
        Expect.Equal(trap.Vector, 14);
        Expect.Equal(trap.ErrorCode, 6U, "user, write, not present");
        Expect.Equal(trap.FaultAddress, EngineGuest.Data + 0x128);
        Expect.Equal(guest.State.Rip, EngineGuest.Code + 10);
        Expect.Equal(guest.State.Rsp, EngineGuest.StackTop);
        Expect.Equal(guest.State.Cs, 0xe033);
        guest.Change(EngineGuest.L1, entry, mapped);
        trap = guest.Run(thread);
        Expect.Equal(trap.Kind, TrapKind.Hypercall, trap.Diagnosis);
        Expect.Equal(guest.Words(EngineGuest.FirstData)[0x128 / 8], EngineGuest.Data + 0x128);
    });

    [Check("A faulting instruction traps at itself and can be skipped.")]
    [Case("ud2", 6, 0)]
    [Case("cli", 13, 0)]
    [Case("hlt", 13, 0)]
    [Case("div", 0, 0)]
    private void A_faulting_instruction_traps_at_itself_and_can_be_skipped(string instruction, int vector, int error) => OnEngineThread(thread =>
    {
        using EngineGuest guest = new(Engine);
        guest.Assemble(code =>
        {
            code.xor(ecx, ecx);
            switch (instruction)
            {
                case "ud2": code.ud2(); break;
                case "cli": code.cli(); break;
                case "hlt": code.hlt(); break;
                default: code.div(ecx); break;
            }

            for (int pad = 0; pad < 4; pad++)
                code.nop();
            guest.Hypercall(code);
        });
        Trap trap = guest.Run(thread);
        Expect.Equal(trap.Kind, TrapKind.Exception, trap.Diagnosis);
        Expect.Equal(trap.Vector, vector);
        Expect.Equal((int)trap.ErrorCode, error);
        Expect.Equal(guest.State.Rip, EngineGuest.Code + 2);
        guest.State.Rip += 2;
        Expect.Equal(guest.Run(thread).Kind, TrapKind.Hypercall);
    });

    [Check("A breakpoint traps after itself.")]
    private void A_breakpoint_traps_after_itself() => OnEngineThread(thread =>
    {
        using EngineGuest guest = new(Engine);
        guest.Assemble(code =>
        {
            code.int3();
            guest.Hypercall(code);
        });
        Trap trap = guest.Run(thread);
        Expect.Equal((trap.Kind, trap.Vector), (TrapKind.Exception, (byte)3), trap.Diagnosis);
        Expect.Equal(guest.State.Rip, EngineGuest.Code + 1);
        Expect.Equal(guest.Run(thread).Kind, TrapKind.Hypercall);
    });

    [Check("Segment bases are the states and the guests.")]
    private void Segment_bases_are_the_states_and_the_guests() => OnEngineThread(thread =>
    {
        using EngineGuest guest = new(Engine);
        guest.Words(EngineGuest.FirstData)[1] = 0xaaaa;
        guest.Words(EngineGuest.FirstData + 1)[1] = 0xbbbb;
        guest.State.FsBase = EngineGuest.Data;
        guest.State.GsBase = EngineGuest.Data + 0x1000;
        guest.Assemble(code =>
        {
            code.mov(rax, __qword_ptr.fs[8]);
            code.mov(rcx, __qword_ptr.gs[8]);
            guest.Hypercall(code);
            code.mov(rdx, 0x123456789000UL);
            code.wrfsbase(rdx);
            code.syscall();
        });
        Trap trap = guest.Run(thread);
        Expect.Equal(trap.Kind, TrapKind.Hypercall, trap.Diagnosis);
        Expect.Equal((guest.State.Rax, guest.State.Rcx), (0xaaaaUL, 0xbbbbUL));
        trap = guest.Run(thread);
        Expect.Equal(trap.Kind, TrapKind.Syscall, $"{trap.Vector} {trap.Diagnosis}");
        Expect.Equal(guest.State.FsBase, 0x123456789000UL);
    });
}
