using Iced.Intel;
using Tessera.Sdk.Xen;
using static Iced.Intel.AssemblerRegisters;

namespace Tessera.Guests.Fuzz;

/// <summary>
/// Executes a byte of its own L1 table as `cli`, so often that the VMM may think it worth patching, and looks whether the entry is still what
/// it was.
/// </summary>
internal static class TableExecution
{
    // Software bits and NX of an entry are the guest's to choose: its last byte is the instruction.
    private const ulong Cli = 0xFAUL << 56;
    private const int Times = 200;

    public static void Emit(FuzzCode f)
    {
        GuestCode g = f.G;
        Assembler c = f.C;
        Label again = c.CreateLabel(), kept = c.CreateLabel();
        // Without the level a kernel's `cli` is an ordinary #GP.
        c.mov(GuestCode.Absolute(g.Argument), 1);
        g.Hypercall(Hypercall.PhysdevOp, (int)PhysdevOp.SetIopl, g.Argument);
        g.RequireZero(GuestError.HypercallRefused);
        ForeignFrames.LoadWindowEntries(f, r13, r14);
        ForeignFrames.FindWindowEntry(g);
        // The entry after it is empty: `add [rax], al`, which with RAX = 0 comes back by a page fault.
        c.lea(rdi, __[r13 + 8]);
        g.Set(rsi, 0);
        f.MmuUpdate();
        g.RequireZero(GuestError.HypercallRefused);
        g.LoadEntry(rsi, f.Window, GuestCode.ReadOnly);
        g.Set(rax, Cli);
        c.or(rsi, rax);
        c.mov(rdi, r13);
        f.MmuUpdate();
        g.RequireZero(GuestError.HypercallRefused);
        c.mov(rbx, __qword_ptr[r12]);
        f.Attempt(FuzzAttack.ExecuteTable, Times);
        g.Set(rbp, Times);
        c.Label(ref again);
        Label recovery = g.BeginProbe();
        g.Set(rax, 0);
        c.lea(rcx, __[r12 + 7]);
        c.jmp(rcx);
        g.EndProbe(ref recovery);
        c.dec(rbp);
        c.jne(again);
        f.RecordProbe(mustTrap: true);
        c.mov(rsi, __qword_ptr[r12]);
        c.mov(rax, rsi);
        c.xor(rax, rbx);
        c.shr(rax, 32);
        c.je(kept);
        g.Fail(GuestError.AttackSucceeded);
        c.Label(ref kept);
        c.zero_bytes();
        f.End();
    }
}
