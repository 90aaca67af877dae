using System.Runtime.InteropServices;

namespace Tessera.Kernel.Native;

/// <summary>What an idle physical CPU waits on: woken by any thread, or by the clock with nanosecond resolution.</summary>
internal sealed unsafe partial class WakeEvent : IDisposable
{
    private const int NonBlockingCloseOnExec = 0x800 | 0x80000;
    private const short PollIn = 1;

    private readonly int _file;

    /// <summary>Creates the event, not set.</summary>
    /// <exception cref="InvalidOperationException">The host has no file descriptor left.</exception>
    public WakeEvent()
    {
        _file = EventFd(0, NonBlockingCloseOnExec);
        if (_file < 0)
            throw new InvalidOperationException($"eventfd: errno {Marshal.GetLastPInvokeError()}. Raise the limit of open files (ulimit -n).");
    }

    /// <summary>Ends the wait under way, or else the next one.</summary>
    public void Set()
    {
        ulong one = 1;
        // SAFETY: eight bytes of a local, as eventfd(2) asks.
        _ = Write(_file, (byte*)&one, 8);
    }

    /// <summary>Waits until set or until so many nanoseconds passed, and clears the event.</summary>
    public void Wait(long nanoseconds)
    {
        Timespec timeout = new() { Seconds = nanoseconds / 1_000_000_000, Nanoseconds = nanoseconds % 1_000_000_000 };
        PollFd poll = new() { File = _file, Events = PollIn };
        // SAFETY: locals that outlive the calls; ppoll(2) is given one descriptor and no signal mask.
        if (Ppoll(&poll, 1, &timeout, 0, 8) > 0)
        {
            ulong count;
            _ = Read(_file, (byte*)&count, 8);
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _ = Close(_file);

    [LibraryImport("libc", EntryPoint = "eventfd", SetLastError = true)]
    private static partial int EventFd(uint initial, int flags);

    [LibraryImport("libc", EntryPoint = "ppoll", SetLastError = true)]
    private static partial int Ppoll(PollFd* files, nuint count, Timespec* timeout, nint mask, nuint maskSize);

    [LibraryImport("libc", EntryPoint = "write", SetLastError = true)]
    private static partial nint Write(int file, byte* buffer, nuint count);

    [LibraryImport("libc", EntryPoint = "read", SetLastError = true)]
    private static partial nint Read(int file, byte* buffer, nuint count);

    [LibraryImport("libc", EntryPoint = "close", SetLastError = true)]
    private static partial int Close(int file);

    private struct PollFd
    {
        public int File;
        public short Events;
        public short Returned;
    }

    private struct Timespec
    {
        public long Seconds;
        public long Nanoseconds;
    }
}
