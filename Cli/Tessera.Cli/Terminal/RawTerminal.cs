using System.ComponentModel;
using System.Runtime.InteropServices;

namespace Tessera.Cli.Terminal;

/// <summary>
/// A terminal in raw mode: keys go to the guest as they are, Ctrl-C too. The mode found is restored on dispose, and when
/// the process exits or dies of an exception on any thread.
/// </summary>
internal sealed class RawTerminal : IDisposable
{
    private readonly Native.TerminalAttributes _before;
    private int _restored;

    private RawTerminal(in Native.TerminalAttributes before)
    {
        _before = before;
        AppDomain.CurrentDomain.ProcessExit += OnProcessExit;
        AppDomain.CurrentDomain.UnhandledException += OnUnhandled;
    }

    /// <summary>Puts standard input's terminal into raw mode.</summary>
    /// <exception cref="Win32Exception">Standard input is no terminal, or the terminal refuses.</exception>
    public static RawTerminal Enter()
    {
        Native.TerminalAttributes before = default;
        if (Native.GetAttributes(Native.StandardInput, ref before) != 0)
            throw new Win32Exception(Marshal.GetLastPInvokeError(), "The terminal's mode cannot be read.");
        Native.TerminalAttributes raw = before;
        Native.MakeRaw(ref raw);

        // Output stays cooked: guests and kernels that end lines with a bare line feed would else walk down the screen.
        raw.OutputFlags = before.OutputFlags;
        RawTerminal terminal = new(before);
        if (Native.SetAttributes(Native.StandardInput, Native.Now, raw) == 0)
            return terminal;
        int error = Marshal.GetLastPInvokeError();
        terminal.Dispose();
        throw new Win32Exception(error, "The terminal cannot be put into raw mode.");
    }

    /// <summary>Restores the mode. Any thread; once.</summary>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _restored, 1) != 0)
            return;
        AppDomain.CurrentDomain.ProcessExit -= OnProcessExit;
        AppDomain.CurrentDomain.UnhandledException -= OnUnhandled;
        _ = Native.SetAttributes(Native.StandardInput, Native.Now, _before);
    }

    private void OnProcessExit(object? sender, EventArgs e) => Dispose();

    private void OnUnhandled(object? sender, UnhandledExceptionEventArgs e) => Dispose();
}
