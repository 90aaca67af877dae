using Iced.Intel;
using Tessera.Sdk.Xen;
using static Iced.Intel.AssemblerRegisters;

namespace Tessera.Guests.Fuzz;

/// <summary>
/// Tries to get at frames that are not its own: the engine's and the VMM's below them, those above, where granted ones are shown, and
/// impossible ones; by every call that takes a frame. Each must be refused.
/// </summary>
/// <remarks>R12 the frame, R13 the machine address of the L1 entry of the window's first page, R14 of its L2 entry.</remarks>
internal sealed class ForeignFrames(FuzzCode f)
{
    /// <summary>Frames above its memory that may be its own: shared_info, the grant table and its status.</summary>
    private const int MostShared = 128;

    private readonly GuestCode _g = f.G;
    private readonly Assembler _c = f.C;

    public void Emit()
    {
        Label attack = _c.CreateLabel("attack");
        LoadWindowEntries(f, r13, r14);
        foreach (ulong frame in (ReadOnlySpan<ulong>)[0, 1, 2, 3, 16, 0xFF, 0x1000, 0xFFFF, 0xF_FFFF, 0xFF_FFFF_FFFF])
        {
            _g.Set(r12, frame);
            _c.call(attack);
        }

        AttackNeighbours(attack);
        AttackSlots();
        f.End();
        _c.Label(ref attack);
        EmitAttack();
    }

    /// <summary>Machine addresses of the L1 and L2 entries that map the window's first page. Keeps RBX and RBP not.</summary>
    public static void LoadWindowEntries(FuzzCode f, AssemblerRegister64 l1Entry, AssemblerRegister64 l2Entry)
    {
        Assembler c = f.C;
        f.G.LoadStartInfo(rax);
        c.mov(rbx, __qword_ptr[rax + StartInfo.PtBase]);
        for (int level = 4; level > 1; level--)
        {
            int shift = 12 + (9 * (level - 1));
            c.mov(rbp, __qword_ptr[rbx + (int)(((f.Window >> shift) & 511) * 8)]);
            f.G.Set(rax, 0x000F_FFFF_FFFF_F000);
            c.and(rbp, rax);
            if (level == 2)
                break;
            c.mov(rdi, rbp);
            c.shr(rdi, 12);
            f.G.FindAddress();
            c.mov(rbx, rax);
            if (level == 3)
                c.lea(l2Entry, __qword_ptr[rbp + (int)(((f.Window >> 21) & 511) * 8)]);
        }

        c.lea(l1Entry, __qword_ptr[rbp + (int)(((f.Window >> 12) & 511) * 8)]);
    }

    /// <summary>R12 = where the guest sees the window's L1 entry, whose machine address is in R13.</summary>
    public static void FindWindowEntry(GuestCode g)
    {
        Assembler c = g.C;
        c.mov(rdi, r13);
        c.shr(rdi, 12);
        g.FindAddress();
        c.mov(r12, rax);
        c.mov(rax, r13);
        c.and(eax, 0xFFF);
        c.add(r12, rax);
    }

    // Below the lowest of its own frames; and above the memory's, past those that the VMM shares with it.
    private void AttackNeighbours(Label attack)
    {
        Label scan = _c.CreateLabel(), notLower = _c.CreateLabel();
        _g.LoadStartInfo(rax);
        _c.mov(rdx, __qword_ptr[rax + StartInfo.NrPages]);
        _g.LoadFrameList(rsi);
        _c.mov(rbx, __qword_ptr[rsi]);
        _c.Label(ref scan);
        _c.mov(rax, __qword_ptr[rsi]);
        _c.cmp(rax, rbx);
        _c.jae(notLower);
        _c.mov(rbx, rax);
        _c.Label(ref notLower);
        _c.add(rsi, 8);
        _c.dec(rdx);
        _c.jne(scan);
        foreach (int distance in (ReadOnlySpan<int>)[-1, -2, -511, -512, -0x10000])
            AttackIfForeign(attack, distance);
        _g.LoadStartInfo(rax);
        _c.add(rbx, __qword_ptr[rax + StartInfo.NrPages]);
        foreach (int distance in (ReadOnlySpan<int>)[MostShared, MostShared + 1, 512, 4096, 8191, 16384])
            AttackIfForeign(attack, distance);
    }

    private void AttackIfForeign(Label attack, int distance)
    {
        Label own = _c.CreateLabel();
        _c.lea(r12, __qword_ptr[rbx + distance]);
        _c.test(r12, r12);
        _c.js(own);
        _c.mov(rdi, r12);
        _g.FindAddress();
        _c.test(rax, rax);
        _c.jne(own);
        _c.call(attack);
        _c.Label(ref own);
        _c.zero_bytes();
    }

    private void EmitAttack()
    {
        Name(FuzzAttack.MapByUpdateVa);
        LoadEntry(GuestCode.Writable);
        _g.Set(rdi, f.Window);
        _c.mov(edx, (int)UpdateVaFlags.Invlpg);
        _g.Hypercall(Hypercall.UpdateVaMapping);
        f.RecordRefusal();

        Name(FuzzAttack.MapByMmuUpdate);
        LoadEntry(GuestCode.Writable);
        _c.mov(rdi, r13);
        f.MmuUpdate();
        f.RecordRefusal();

        Name(FuzzAttack.AttachForeignTable);
        LoadEntry(GuestCode.Writable);
        _c.mov(rdi, r14);
        f.MmuUpdate();
        f.RecordRefusal();

        Name(FuzzAttack.PinForeign);
        _c.mov(rdi, r12);
        f.MmuExt(MmuExtOp.PinL1Table);
        f.RecordRefusal();

        Name(FuzzAttack.RunOnForeign);
        _c.mov(rdi, r12);
        f.MmuExt(MmuExtOp.NewBaseptr);
        f.RecordRefusal();
        _c.ret();
    }

    // The own L4's hypervisor slots, and the addresses behind them, with an own frame.
    private void AttackSlots()
    {
        for (int slot = HypervisorRange.FirstSlot; slot < HypervisorRange.EndSlot; slot++)
        {
            f.Attempt(FuzzAttack.ReplaceHypervisorSlot, (ulong)slot);
            _g.LoadStartInfo(rax);
            _c.mov(rdi, __qword_ptr[rax + StartInfo.PtBase]);
            _g.Set(rax, GuestImage.VirtBase);
            _c.sub(rdi, rax);
            _c.shr(rdi, 12);
            _g.LoadFrameList(rax);
            _c.mov(rdi, __qword_ptr[rax + (rdi * 8)]);
            _c.shl(rdi, 12);
            _c.add(rdi, slot * 8);
            _g.LoadEntry(rsi, f.Window, GuestCode.Writable);
            f.MmuUpdate();
            f.RecordRefusal();

            f.Attempt(FuzzAttack.MapInHypervisorSlot, (ulong)slot);
            _g.Set(rdi, HypervisorRange.Start + ((ulong)(slot - HypervisorRange.FirstSlot) << 39));
            _g.LoadEntry(rsi, f.Window, GuestCode.Writable);
            _c.mov(edx, (int)UpdateVaFlags.Invlpg);
            _g.Hypercall(Hypercall.UpdateVaMapping);
            f.RecordRefusal();
        }
    }

    private void Name(FuzzAttack attack)
    {
        _c.mov(rax, r12);
        f.Attempt(attack);
    }

    private void LoadEntry(int flags)
    {
        _c.mov(rsi, r12);
        _c.shl(rsi, 12);
        _c.or(rsi, flags);
    }
}
