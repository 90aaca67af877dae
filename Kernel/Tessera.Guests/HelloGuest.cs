using System.Text;
using Iced.Intel;
using Tessera.Sdk.Xen;
using static Iced.Intel.AssemblerRegisters;

namespace Tessera.Guests;

/// <summary>`hello`: one line through console_io, the same to the console ring, power off. The smallest guest that does something.</summary>
internal static class HelloGuest
{
    public static byte[] Build(HelloOptions options)
    {
        byte[] line = Encoding.ASCII.GetBytes(options.Message + "\n");
        if (line.Length > 201)
            throw new ArgumentException($"The message of `hello` has {line.Length - 1} characters; at most 200 fit.", nameof(options));
        GuestCode g = new(GuestKind.Hello);
        Assembler c = g.C;
        Label text = g.Text(line), noConsole = c.CreateLabel();
        ulong console = g.ReservePages(1);
        g.SetProgress(GuestProgress.Running);
        g.Set(rdi, (ulong)ConsoleIo.Write);
        g.Set(rsi, (ulong)line.Length);
        c.lea(rdx, __qword_ptr[text]);
        g.Hypercall(Hypercall.ConsoleIo);
        g.RequireZero(GuestError.HypercallRefused);
        g.LoadStartInfo(rbx);
        c.mov(rsi, __qword_ptr[rbx + StartInfo.ConsoleMfn]);
        c.test(rsi, rsi);
        c.je(noConsole);
        c.shl(rsi, 12);
        c.or(rsi, GuestCode.Writable);
        g.Set(rdi, console);
        c.mov(edx, (int)UpdateVaFlags.Invlpg);
        g.Hypercall(Hypercall.UpdateVaMapping);
        g.RequireZero(GuestError.HypercallRefused);
        EmitRingWrite(g, console, text, line.Length);
        c.Label(ref noConsole);
        c.inc(GuestCode.Report(ReportLayout.Units));
        g.SetProgress(GuestProgress.Finished);
        g.Shutdown(ShutdownReason.Poweroff);
        return g.Finish();
    }

    // The ring is empty at the start of day and longer than any line: no wait for space.
    private static void EmitRingWrite(GuestCode g, ulong console, Label text, int length)
    {
        Assembler c = g.C;
        Label copy = c.CreateLabel();
        c.mov(ecx, __dword_ptr[(long)console + ConsoleRing.OutProd]);
        c.lea(rsi, __qword_ptr[text]);
        c.mov(edx, length);
        c.Label(ref copy);
        c.mov(al, __byte_ptr[rsi]);
        c.inc(rsi);
        c.mov(r8d, ecx);
        c.and(r8d, ConsoleRing.OutSize - 1);
        c.mov(__byte_ptr[r8 + ((long)console + ConsoleRing.Out)], al);
        c.inc(ecx);
        c.dec(edx);
        c.jne(copy);
        c.mov(__dword_ptr[(long)console + ConsoleRing.OutProd], ecx);
        c.inc(GuestCode.Report(ReportLayout.Units));
        c.mov(eax, __dword_ptr[rbx + StartInfo.ConsoleEventChannel]);
        c.mov(__dword_ptr[(long)g.Argument], eax);
        g.Hypercall(Hypercall.EventChannelOp, (int)EventChannelOp.Send, g.Argument);
        g.RequireZero(GuestError.HypercallRefused);
    }
}
