using Tessera.Plugins.Net.Tap;
using Tessera.Plugins.Net.Tap.Native;
using Tmds.Linux;

namespace Tessera.Net.Tests;

/// <summary>Two taps whose devices are the ends of one pair of sockets: what one writes the other reads, whole.</summary>
internal static unsafe class TapPair
{
    public static (Tap One, Tap Two) NewPair()
    {
        (TapDevice one, TapDevice two) = NewDevices();
        return (new Tap(new TapOptions(), _ => one), new Tap(new TapOptions(), _ => two));
    }

    public static (TapDevice One, TapDevice Two) NewDevices()
    {
        int* ends = stackalloc int[2];
        if (LibC.socketpair(LibC.AF_UNIX, LibC.SOCK_SEQPACKET | LibC.SOCK_NONBLOCK | LibC.SOCK_CLOEXEC, 0, ends) != 0)
            throw new InvalidOperationException($"socketpair: errno {LibC.errno}");
        return (new TapDevice(ends[0], "one"), new TapDevice(ends[1], "two"));
    }
}
