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
        ForeignFrames.FindWindowEntry(g);
        foreach (ulong frame in (ReadOnlySpan<ulong>)[1, 0xFFF_FFFF])
            StoreEntry(f, frame);
        f.End();
    }

    // The four tables that map the window: from the L4 down by its entries, each where the guest sees it.
    private static void MapEachTable(FuzzCode f)
    {
        GuestCode g = f.G;
        Assembler c = f.C;
        g.LoadStartInfo(rax);
        c.mov(rbx, __qword_ptr[rax + StartInfo.PtBase]);
        MapWritable(f);
        for (int level = 4; level > 1; level--)
        {
            c.mov(rdi, __qword_ptr[rbx + (int)(((f.Window >> (12 + (9 * (level - 1)))) & 511) * 8)]);
            g.Set(rax, 0x000F_FFFF_FFFF_F000);
            c.and(rdi, rax);
            c.shr(rdi, 12);
            g.FindAddress();
            c.mov(rbx, rax);
            MapWritable(f);
        }
    }

    // The table at RBX, at its own address and over the window.
    private static void MapWritable(FuzzCode f)
    {
        GuestCode g = f.G;
        Assembler c = f.C;
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
