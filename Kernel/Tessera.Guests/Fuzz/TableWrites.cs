using Iced.Intel;
using Tessera.Sdk.Xen;
using static Iced.Intel.AssemblerRegisters;

namespace Tessera.Guests.Fuzz;

/// <summary>Tries to write its own page tables: by mapping them writable, and by storing a mapping of frame 1 straight into the L1 in use.</summary>
internal static class TableWrites
{
    public static void Emit(FuzzCode f)
    {
        GuestCode g = f.G;
        Assembler c = f.C;
        ForeignFrames.LoadWindowEntries(f, r13, r14);
        MapEachTable(f);
        // R12 = where the guest sees the window's L1 entry.
        c.mov(rdi, r13);
        c.shr(rdi, 12);
        g.FindAddress();
        c.mov(r12, rax);
        c.mov(rax, r13);
        c.and(eax, 0xFFF);
        c.add(r12, rax);
        foreach (ulong frame in (ReadOnlySpan<ulong>)[1, 0xFFF_FFFF])
            StoreEntry(f, frame);
        f.End();
    }

    private static void MapEachTable(FuzzCode f)
    {
        GuestCode g = f.G;
        Assembler c = f.C;
        Label next = c.CreateLabel();
        g.LoadStartInfo(rax);
        c.mov(rbx, __qword_ptr[rax + StartInfo.PtBase]);
        c.mov(rbp, __qword_ptr[rax + StartInfo.NrPtFrames]);
        c.Label(ref next);
        c.mov(rax, rbx);
        f.Attempt(FuzzAttack.MapTableWritable);
        LoadTableEntry(g);
        c.mov(rdi, rbx);
        c.mov(edx, (int)UpdateVaFlags.Invlpg);
        g.Hypercall(Hypercall.UpdateVaMapping);
        f.RecordRefusal();
        c.mov(rax, rbx);
        f.Attempt(FuzzAttack.MapTableWritable);
        LoadTableEntry(g);
        c.mov(rdi, r13);
        f.MmuUpdate();
        f.RecordRefusal();
        c.add(rbx, GuestImage.PageSize);
        c.dec(rbp);
        c.jne(next);
    }

    private static void LoadTableEntry(GuestCode g)
    {
        Assembler c = g.C;
        c.mov(rsi, rbx);
        g.Set(rax, GuestImage.VirtBase);
        c.sub(rsi, rax);
        c.shr(rsi, 12);
        g.LoadFrameList(rax);
        c.mov(rsi, __qword_ptr[rax + (rsi * 8)]);
        c.shl(rsi, 12);
        c.or(rsi, GuestCode.Writable);
    }

    private static void StoreEntry(FuzzCode f, ulong frame)
    {
        GuestCode g = f.G;
        Assembler c = f.C;
        Label trapped = c.CreateLabel(), kept = c.CreateLabel();
        f.Attempt(FuzzAttack.StoreToTable, frame);
        g.Set(rbx, (frame << 12) | GuestCode.Writable);
        Label recovery = g.BeginProbe();
        c.mov(__qword_ptr[r12], rbx);
        g.EndProbe(ref recovery);
        c.test(rax, rax);
        c.js(trapped);
        c.add(rax, (int)FuzzOutcome.Trapped);
        f.Record();
        c.jmp(kept);
        c.Label(ref trapped);
        c.mov(eax, (int)FuzzOutcome.NoEffect);
        f.Record();
        c.Label(ref kept);
        c.mov(rsi, __qword_ptr[r12]);
        c.mov(rax, rsi);
        c.xor(rax, rbx);
        c.shr(rax, 12);
        Label good = c.CreateLabel();
        c.jne(good);
        g.Fail(GuestError.AttackSucceeded);
        c.Label(ref good);
        c.zero_bytes();
    }
}
