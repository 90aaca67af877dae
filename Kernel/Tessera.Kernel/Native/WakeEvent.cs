using System.Runtime.InteropServices;
using Tmds.Linux;

namespace Tessera.Kernel.Native;

/// <summary>What an idle physical CPU waits on: woken by any thread, or by the clock with nanosecond resolution.</summary>
internal sealed unsafe class WakeEvent : IDisposable
{
    private readonly int _file;

    /// <summary>Creates the event, not set.</summary>
    /// <exception cref="InvalidOperationException">The host has no file descriptor left.</exception>
    public WakeEvent()
    {
        _file = LibC.eventfd(0, LibC.EFD_NONBLOCK | LibC.EFD_CLOEXEC);
        if (_file < 0)
            throw new InvalidOperationException($"eventfd: {Marshal.GetPInvokeErrorMessage(LibC.errno)}. Raise the limit of open files (ulimit -n).");
    }

    /// <summary>Ends the wait under way, or else the next one.</summary>
    public void Set()
    {
        ulong one = 1;
        // SAFETY: eight bytes of a local, as eventfd(2) asks.
        _ = LibC.write(_file, &one, sizeof(ulong));
    }

    /// <summary>Waits until set or until so many nanoseconds passed, and clears the event.</summary>
    public void Wait(long nanoseconds)
    {
        timespec timeout = new() { tv_sec = nanoseconds / 1_000_000_000, tv_nsec = (int)(nanoseconds % 1_000_000_000) };
        pollfd poll = new() { fd = _file, events = LibC.POLLIN };
        // SAFETY: locals that outlive the calls; ppoll(2) is given one descriptor and no signal mask.
        if (LibC.ppoll(&poll, 1, &timeout, null) > 0)
        {
            ulong count;
            _ = LibC.read(_file, &count, sizeof(ulong));
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _ = LibC.close(_file);
}
