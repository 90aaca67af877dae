using Iced.Intel;
using Tessera.Sdk.Xen;
using static Iced.Intel.AssemblerRegisters;

namespace Tessera.Guests.Fuzz;

/// <summary>Floods: privileged instructions, yields, events to itself. A domain that does this must only hurt itself.</summary>
internal static class Storms
{
    public static void EmitPrivileged(FuzzCode f, long count)
    {
        GuestCode g = f.G;
        Assembler c = f.C;
        Action[] instructions =
        [
            () => c.hlt(),
            () => c.wbinvd(),
            () => c.lgdt(__[rsp]),
            () => c.mov(cr3, rax),
            () => c.@in(al, 0x80),
            () => c.wrmsr(),
            () => c.ud2(),
            () => c.invlpg(__byte_ptr[rsp]),
        ];
        Label round = c.CreateLabel();
        BeginRounds(g, count);
        c.Label(ref round);
        for (int i = 0; i < instructions.Length; i++)
        {
            f.Attempt(FuzzAttack.PrivilegedInstruction, (ulong)i);
            Label recovery = g.BeginProbe();
            g.Set(rax, 0);
            c.mov(ecx, 0xC000_0082);
            g.Set(rdx, 0);
            instructions[i]();
            g.EndProbe(ref recovery);
            f.RecordProbe(mustTrap: false);
        }

        EndRounds(f, ref round);
    }

    public static void EmitYield(FuzzCode f, long count)
    {
        GuestCode g = f.G;
        Label round = f.C.CreateLabel();
        BeginRounds(g, count);
        f.C.Label(ref round);
        g.Hypercall(Hypercall.SchedOp, (int)SchedOp.Yield, 0);
        g.RequireZero(GuestError.HypercallRefused);
        f.C.inc(GuestCode.Report(ReportLayout.Units));
        EndRounds(f, ref round);
    }

    /// <summary>Both ends of a channel are the domain's own; the callback counts and clears.</summary>
    public static void EmitEvents(FuzzCode f, long count)
    {
        GuestCode g = f.G;
        Assembler c = f.C;
        Label round = c.CreateLabel(), entry = c.CreateLabel("entry");
        ulong local = g.Reserve(8), remote = g.Reserve(8);
        g.RegisterCallback(CallbackType.Event, entry);
        c.mov(__dword_ptr[(long)g.Argument], DomainIds.Self | (DomainIds.Self << 16));
        g.Hypercall(Hypercall.EventChannelOp, (int)EventChannelOp.AllocUnbound, g.Argument);
        g.RequireZero(GuestError.HypercallRefused);
        c.mov(eax, __dword_ptr[(long)g.Argument + EventChannelLayout.AllocUnboundPort]);
        c.mov(GuestCode.Absolute(remote), rax);
        g.Unmask();
        c.mov(GuestCode.Absolute(g.Argument), DomainIds.Self);
        c.mov(__dword_ptr[(long)g.Argument + EventChannelLayout.BindInterdomainRemotePort], eax);
        g.Hypercall(Hypercall.EventChannelOp, (int)EventChannelOp.BindInterdomain, g.Argument);
        g.RequireZero(GuestError.HypercallRefused);
        c.mov(eax, __dword_ptr[(long)g.Argument + EventChannelLayout.BindInterdomainLocalPort]);
        c.mov(GuestCode.Absolute(local), rax);
        BeginRounds(g, count);
        c.mov(__byte_ptr[(long)g.Shared + VcpuInfo.UpcallMask], 0);
        c.Label(ref round);
        c.mov(rax, GuestCode.Absolute(local));
        c.mov(GuestCode.Absolute(g.Argument), rax);
        g.Hypercall(Hypercall.EventChannelOp, (int)EventChannelOp.Send, g.Argument);
        g.RequireZero(GuestError.HypercallRefused);
        EndRounds(f, ref round);

        c.Label(ref entry);
        c.push(rax);
        c.inc(GuestCode.Report(ReportLayout.Units));
        c.mov(__byte_ptr[(long)g.Shared + VcpuInfo.UpcallPending], 0);
        c.mov(GuestCode.Absolute(g.Shared + VcpuInfo.PendingSelector), 0);
        c.mov(rax, GuestCode.Absolute(remote));
        c.btr(__qword_ptr[(long)g.Shared + SharedInfo.EventPending], rax);
        c.pop(rax);
        g.ReturnFromEntry();
    }

    // Rounds are counted down in R15.
    private static void BeginRounds(GuestCode g, long count) => g.Set(r15, count == 0 ? long.MaxValue : (ulong)count);

    private static void EndRounds(FuzzCode f, ref Label round)
    {
        f.C.dec(r15);
        f.C.jne(round);
        f.End();
    }
}
