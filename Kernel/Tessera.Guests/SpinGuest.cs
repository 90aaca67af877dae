using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Tessera.Guests;

/// <summary>`spin`: counts units of CPU work for ever. No hypercall after the start, so it measures what a domain gets and nothing else.</summary>
internal static class SpinGuest
{
    /// <summary>Instructions in a unit: 4,096 turns of three, some 4 to 6 µs.</summary>
    public const ulong UnitInstructions = Turns * 3;

    private const int Turns = 4096;

    public static byte[] Build()
    {
        GuestCode g = new(GuestKind.Spin, UnitInstructions);
        Assembler c = g.C;
        Label unit = c.CreateLabel();
        g.SetProgress(GuestProgress.Running);
        g.Set(rbx, 0);
        g.Set(rax, 1);
        c.Label(ref unit);
        EmitUnit(c);
        c.inc(rbx);
        c.mov(GuestCode.Report(ReportLayout.Units), rbx);
        c.jmp(unit);
        return g.Finish();
    }

    /// <summary>The same units as a function of the host's calling convention: RDI says how many.</summary>
    public static byte[] BuildForHost()
    {
        Assembler c = new(64);
        Label unit = c.CreateLabel();
        c.mov(rax, 1);
        c.Label(ref unit);
        EmitUnit(c);
        c.dec(rdi);
        c.jne(unit);
        c.ret();
        using MemoryStream code = new();
        _ = c.Assemble(new StreamCodeWriter(code), 0);
        return code.ToArray();
    }

    /// <summary>One unit; changes RAX and RCX. Each turn waits for the one before, so a unit costs the same cycles on every core of a kind.</summary>
    public static void EmitUnit(Assembler c)
    {
        Label turn = c.CreateLabel();
        c.mov(ecx, Turns);
        c.Label(ref turn);
        c.imul(rax, rax, 0x5851F42D);
        c.dec(ecx);
        c.jne(turn);
    }
}
