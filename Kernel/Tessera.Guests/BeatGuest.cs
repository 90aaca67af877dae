using Iced.Intel;
using Tessera.Sdk;
using static Iced.Intel.AssemblerRegisters;

namespace Tessera.Guests;

/// <summary>`beat`: sleeps until the next multiple of its period and records how late it runs. A deadline that has passed is counted and skipped.</summary>
internal static class BeatGuest
{
    public static byte[] Build(BeatOptions options)
    {
        GuestCode g = new(GuestKind.Beat);
        Assembler c = g.C;
        Label beat = c.CreateLabel();
        g.MapSharedInfo();
        g.SetUpTimer();
        g.SetProgress(GuestProgress.Running);
        g.Now();
        c.mov(rbx, rax);
        g.Set(r12, (ulong)options.Period.Value);
        c.Label(ref beat);
        EmitSleep(g);
        c.inc(GuestCode.Report(ReportLayout.Units));
        c.jmp(beat);
        return g.Finish();
    }

    /// <summary>Sleeps until RBX + R12, or the first later multiple that lies ahead; RBX becomes the deadline.</summary>
    public static void EmitSleep(GuestCode g)
    {
        Assembler c = g.C;
        Label next = c.CreateLabel(), ahead = c.CreateLabel();
        g.Now();
        c.Label(ref next);
        c.add(rbx, r12);
        c.cmp(rbx, rax);
        c.ja(ahead);
        c.inc(GuestCode.Report(ReportLayout.Overruns));
        c.jmp(next);
        c.Label(ref ahead);
        c.mov(rdi, rbx);
        g.SleepUntil();
    }
}
