using Iced.Intel;
using Tessera.Sdk.Xen;
using static Iced.Intel.AssemblerRegisters;

namespace Tessera.Guests.Fuzz;

/// <summary>
/// Walks through the hypervisor's slots. What can be read is written (must trap) and jumped into at every few bytes, with registers as a
/// hypercall has them, so that the VMM's own entry code runs in the wrong place. Each must come back as a trap or as a plain hypercall.
/// </summary>
/// <remarks>R12 the address, R13 pages left in the slot, R14 slots left, RBP the offset in the page.</remarks>
internal static class HypervisorRangeProbe
{
    // Entry code and tables of a VMM stand at the start of their slots.
    private const int PagesOfSlot = 256;
    private const int JumpBytes = 96;

    public static void Emit(FuzzCode f)
    {
        GuestCode g = f.G;
        Assembler c = f.C;
        Label slot = c.CreateLabel(), page = c.CreateLabel(), unreadable = c.CreateLabel(), jump = c.CreateLabel();
        g.Set(r12, HypervisorRange.Start);
        g.Set(r14, HypervisorRange.EndSlot - HypervisorRange.FirstSlot);
        c.Label(ref slot);
        g.Set(r13, PagesOfSlot);
        c.Label(ref page);

        c.mov(rax, r12);
        f.Attempt(FuzzAttack.ReadHypervisor);
        Label recovery = g.BeginProbe();
        c.mov(rax, __qword_ptr[r12]);
        g.EndProbe(ref recovery);
        c.test(rax, rax);
        c.jns(unreadable);
        c.mov(eax, (int)FuzzOutcome.Through);
        f.Record();

        c.mov(rax, r12);
        f.Attempt(FuzzAttack.WriteHypervisor);
        recovery = g.BeginProbe();
        c.mov(rax, __qword_ptr[r12]);
        c.mov(__qword_ptr[r12], rax);
        g.EndProbe(ref recovery);
        f.RecordProbe(mustTrap: true);

        g.Set(rbp, 0);
        c.Label(ref jump);
        EmitJump(f);
        c.inc(rbp);
        c.cmp(rbp, JumpBytes);
        c.jb(jump);

        c.Label(ref unreadable);
        c.inc(GuestCode.Report(ReportLayout.Units));
        c.add(r12, GuestImage.PageSize);
        c.dec(r13);
        c.jne(page);
        c.sub(r12, PagesOfSlot * GuestImage.PageSize);
        g.Set(rax, 1UL << 39);
        c.add(r12, rax);
        c.dec(r14);
        c.jne(slot);
        f.End();
    }

    // As a hypercall has them: RAX xen_version's number, RCX the way back, R11 the flags. A return by ret finds its way too.
    private static void EmitJump(FuzzCode f)
    {
        GuestCode g = f.G;
        Assembler c = f.C;
        Label recovery = g.BeginProbe();
        c.lea(rcx, __qword_ptr[recovery]);
        c.push(rcx);
        c.push(rcx);
        c.push(rcx);
        c.mov(r11d, 0x202);
        g.Set(rdi, (ulong)VersionOp.Version);
        g.Set(rsi, 0);
        g.Set(rdx, 0);
        c.lea(rbx, __qword_ptr[r12 + rbp]);
        c.mov(eax, (int)Hypercall.XenVersion);
        c.jmp(rbx);
        g.EndProbe(ref recovery);
        c.mov(rsp, GuestCode.Absolute(g.RecoverStack));
        Label plain = c.CreateLabel(), named = c.CreateLabel();
        c.test(rax, rax);
        c.js(plain);
        c.add(rax, (int)FuzzOutcome.Trapped);
        c.jmp(named);
        c.Label(ref plain);
        c.mov(eax, (int)FuzzOutcome.Through);
        c.Label(ref named);
        c.mov(rsi, rax);
        c.lea(rax, __qword_ptr[r12 + rbp]);
        f.Attempt(FuzzAttack.JumpHypervisor);
        c.mov(rax, rsi);
        f.Record();
    }
}
