using Iced.Intel;
using Tessera.Sdk.Xen;
using static Iced.Intel.AssemblerRegisters;

namespace Tessera.Guests.Fuzz;

/// <summary>Broken trap tables, stacks and return frames. The seed chooses the variant; where the domain cannot go on it must die alone.</summary>
internal static class BrokenEntries
{
    // Not mapped, in the hypervisor's range, not canonical, the first page.
    private static readonly ulong[] BadAddresses = [0x0000_7000_0000_0000, HypervisorRange.Start + 0x1000, 0x1234_5678_9ABC_DEF0, 8];

    /// <summary>How many variants each mode has.</summary>
    public const int Variants = 4;

    public static void EmitTrapTable(FuzzCode f, long seed)
    {
        GuestCode g = f.G;
        Assembler c = f.C;
        ulong variant = (ulong)seed % Variants;
        f.Attempt(FuzzAttack.SetBadTrapTable, variant);
        foreach (int vector in (ReadOnlySpan<int>)[6, 13, 14])
        {
            int offset = (vector == 6 ? 0 : vector - 12) * TrapInfo.Size;
            c.mov(__dword_ptr[(long)f.Window + offset], vector | (FlatSelectors.Code64 << 16));
            g.Set(rax, BadAddresses[variant]);
            c.mov(GuestCode.Absolute(f.Window + (ulong)offset + TrapInfo.Address), rax);
        }

        g.Set(rdi, f.Window);
        g.Hypercall(Hypercall.SetTrapTable);
        f.Record();
        Label accepted = c.CreateLabel();
        c.test(rax, rax);
        c.jns(accepted);
        f.End();
        c.Label(ref accepted);
        f.Attempt(FuzzAttack.TrapIntoNothing, variant);
        c.ud2();
        Survived(f);
    }

    public static void EmitStack(FuzzCode f, long seed)
    {
        GuestCode g = f.G;
        Assembler c = f.C;
        ulong variant = (ulong)seed % Variants;
        Label user = c.CreateLabel("user");
        f.Attempt(FuzzAttack.SetBadStack, variant);
        g.Set(rdi, FlatSelectors.Data);
        g.Set(rsi, BadAddresses[variant]);
        g.Hypercall(Hypercall.StackSwitch);
        f.Record();
        f.Attempt(FuzzAttack.TrapIntoNothing, variant);
        if (seed % 2 == 0)
        {
            // From kernel mode: the frame goes to the stack in use.
            g.Set(rsp, BadAddresses[variant]);
            c.ud2();
        }

        LoadRoot(g, rdi);
        f.MmuExt(MmuExtOp.NewUserBaseptr);
        g.RequireZero(GuestError.HypercallRefused);
        c.lea(rax, __qword_ptr[user]);
        PushFrame(g, FlatSelectors.Data, BadAddresses[variant], 0x202, FlatSelectors.Code64 | 3);
        ReturnToFrame(c);
        c.Label(ref user);
        c.ud2();
        Survived(f);
    }

    public static void EmitIret(FuzzCode f, long seed)
    {
        GuestCode g = f.G;
        Assembler c = f.C;
        (ulong Rip, ulong Rflags, int Cs, int Ss)[] variants =
        [
            (BadAddresses[0], 0x202, FlatSelectors.Code64, FlatSelectors.Data),
            (BadAddresses[1], 0x202, FlatSelectors.Code64 & ~3, FlatSelectors.Data & ~3),
            (BadAddresses[2], 0x202, FlatSelectors.Code64, FlatSelectors.Data),
            (0, 0x202, 0x08, 0x10),
            (0, 0x3302, FlatSelectors.Code64 & ~3, 0),
            (0, 0x2_0202, FlatSelectors.Code64, FlatSelectors.Data),
            (0, 0x4202, 0xFFFF, 0xFFFF),
            (0, 0xFFFF_FFFF_FFFF_FFFF, FlatSelectors.Code64 & ~3, FlatSelectors.Data),
        ];
        int number = (int)((ulong)seed % (ulong)variants.Length);
        (ulong rip, ulong rflags, int cs, int ss) = variants[number];
        Label back = c.CreateLabel("back");
        // User mode is there to be returned to, with a kernel stack for the way back.
        g.Set(rdi, FlatSelectors.Data);
        g.Set(rsi, f.Hole);
        g.Hypercall(Hypercall.StackSwitch);
        g.RequireZero(GuestError.HypercallRefused);
        LoadRoot(g, rdi);
        f.MmuExt(MmuExtOp.NewUserBaseptr);
        g.RequireZero(GuestError.HypercallRefused);
        f.Attempt(FuzzAttack.BadIret, (ulong)number);
        Label recovery = g.BeginProbe();
        if (rip == 0)
            c.lea(rax, __qword_ptr[back]);
        else
            g.Set(rax, rip);
        c.mov(rbx, rsp);
        c.push(ss);
        c.push(rbx);
        g.Set(rcx, rflags);
        c.push(rcx);
        g.Set(rcx, (ulong)cs);
        c.push(rcx);
        c.push(rax);
        ReturnToFrame(c);
        c.Label(ref back);
        // Whatever flags came through, ring 3 must still be without I/O: the port is one nobody has.
        c.push(0x202);
        c.popfq();
        c.@in(al, 0x80);
        g.EndProbe(ref recovery);
        f.RecordProbe(mustTrap: true);
        f.End();
    }

    // RAX = rip.
    private static void PushFrame(GuestCode g, int ss, ulong stack, int rflags, int cs)
    {
        Assembler c = g.C;
        c.push(ss);
        g.Set(rcx, stack);
        c.push(rcx);
        c.push(rflags);
        c.push(cs);
        c.push(rax);
    }

    private static void ReturnToFrame(Assembler c)
    {
        c.push(0);
        c.jmp(GuestImage.HypercallPage + (32UL * (ulong)Hypercall.Iret));
    }

    private static void LoadRoot(GuestCode g, AssemblerRegister64 into)
    {
        Assembler c = g.C;
        g.LoadStartInfo(into);
        c.mov(into, __qword_ptr[into + StartInfo.PtBase]);
        g.Set(rax, GuestImage.VirtBase);
        c.sub(into, rax);
        c.shr(into, 12);
        g.LoadFrameList(rax);
        c.mov(into, __qword_ptr[rax + (into * 8)]);
    }

    private static void Survived(FuzzCode f)
    {
        f.C.mov(eax, (int)FuzzOutcome.Through);
        f.Record();
        f.G.Set(rsi, 0);
        f.G.Fail(GuestError.AttackSucceeded);
    }
}
