using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Tessera.Guests;

/// <summary>`burst`: busy from each period's start for its duty, by the clock and not by CPU time received, then asleep until the next.</summary>
internal static class BurstGuest
{
    public static byte[] Build(BurstOptions options)
    {
        GuestCode g = new(GuestKind.Burst, SpinGuest.UnitInstructions);
        Assembler c = g.C;
        Label burst = c.CreateLabel(), work = c.CreateLabel();
        g.MapSharedInfo();
        g.SetUpTimer();
        g.SetProgress(GuestProgress.Running);
        g.Now();
        c.mov(rbx, rax);
        g.Set(r12, (ulong)options.Period.Value);
        g.Set(r13, (ulong)(options.Period.Value / 100 * options.Duty));
        c.Label(ref burst);
        c.add(r13, rbx);
        c.Label(ref work);
        SpinGuest.EmitUnit(c);
        c.inc(GuestCode.Report(ReportLayout.Units));
        g.Now();
        c.cmp(rax, r13);
        c.jb(work);
        c.sub(r13, rbx);
        BeatGuest.EmitSleep(g);
        c.jmp(burst);
        return g.Finish();
    }
}
