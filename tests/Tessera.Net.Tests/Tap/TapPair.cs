using System.Runtime.InteropServices;
using Tessera.Plugins.Net.Tap;
using Tessera.Plugins.Net.Tap.Native;

namespace Tessera.Net.Tests;

/// <summary>Two taps whose devices are the ends of one pair of sockets: what one writes the other reads, whole.</summary>
internal static partial class TapPairNative
{
    private const int Local = 1;
    private const int WholeInOrderNonBlocking = 5 | 0x800 | 0x80000;

    public static (Tap One, Tap Two) NewPair()
    {
        (TapDevice one, TapDevice two) = NewDevices();
        return (new Tap(new TapOptions(), _ => one), new Tap(new TapOptions(), _ => two));
    }

    public static (TapDevice One, TapDevice Two) NewDevices()
    {
        Span<int> ends = stackalloc int[2];
        if (SocketPair(Local, WholeInOrderNonBlocking, 0, ends) != 0)
            throw new InvalidOperationException($"socketpair: errno {Marshal.GetLastPInvokeError()}");
        return (new TapDevice(ends[0], "one"), new TapDevice(ends[1], "two"));
    }

    [LibraryImport("libc", EntryPoint = "socketpair", SetLastError = true)]
    private static partial int SocketPair(int domain, int type, int protocol, Span<int> ends);
}
