using System.ComponentModel;
using Tmds.Linux;

namespace Tessera.Cli.Terminal;

/// <summary>
/// A terminal in raw mode: keys go to the guest as they are, Ctrl-C too. The mode found is restored on dispose, and when
/// the process exits or dies of an exception on any thread.
/// </summary>
internal sealed unsafe class RawTerminal : IDisposable
{
    private readonly termios _before;
    private int _restored;

    private RawTerminal(in termios before)
    {
        _before = before;
        AppDomain.CurrentDomain.ProcessExit += OnProcessExit;
        AppDomain.CurrentDomain.UnhandledException += OnUnhandled;
    }

    /// <summary>Puts standard input's terminal into raw mode.</summary>
    /// <exception cref="Win32Exception">Standard input is no terminal, or the terminal refuses.</exception>
    public static RawTerminal Enter()
    {
        // SAFETY: pointers are to locals.
        termios before = default;
        if (LibC.tcgetattr(LibC.STDIN_FILENO, &before) != 0)
            throw new Win32Exception(LibC.errno, "The terminal's mode cannot be read.");

        // What cfmakeraw(3) does, which Tmds.LibC lacks, but for output, which stays cooked: guests and kernels that end lines with a bare line feed
        // would else walk down the screen.
        termios raw = before;
        raw.c_iflag &= ~(LibC.IGNBRK | LibC.BRKINT | LibC.PARMRK | LibC.ISTRIP | LibC.INLCR | LibC.IGNCR | LibC.ICRNL | LibC.IXON);
        raw.c_lflag &= ~(LibC.ECHO | LibC.ECHONL | LibC.ICANON | LibC.ISIG | LibC.IEXTEN);
        raw.c_cflag = (raw.c_cflag & ~(LibC.CSIZE | LibC.PARENB)) | LibC.CS8;
        raw.c_cc[LibC.VMIN] = 1;
        raw.c_cc[LibC.VTIME] = 0;
        RawTerminal terminal = new(before);
        if (LibC.tcsetattr(LibC.STDIN_FILENO, (int)LibC.TCSANOW, &raw) == 0)
            return terminal;
        int error = LibC.errno;
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
        termios before = _before;
        _ = LibC.tcsetattr(LibC.STDIN_FILENO, (int)LibC.TCSANOW, &before);
    }

    private void OnProcessExit(object? sender, EventArgs e) => Dispose();

    private void OnUnhandled(object? sender, UnhandledExceptionEventArgs e) => Dispose();
}
