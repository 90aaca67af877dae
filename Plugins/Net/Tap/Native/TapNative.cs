using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Tessera.Plugins.Net.Tap.Native;

/// <summary>struct pollfd.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct PollDescriptor
{
    public int Descriptor;
    public short Events;
    public short Returned;
}

/// <summary>The 16 bytes of an interface's name, with a zero at the end.</summary>
[InlineArray(Bytes)]
internal struct InterfaceName
{
    /// <summary>IFNAMSIZ.</summary>
    public const int Bytes = 16;

    private byte _first;
}

/// <summary>struct ifreq (netdevice(7)), with its flags.</summary>
[StructLayout(LayoutKind.Explicit, Size = 40)]
internal struct InterfaceRequest
{
    [FieldOffset(0)]
    public InterfaceName Name;

    [FieldOffset(16)]
    public short Flags;
}

/// <summary>/dev/net/tun (linux/if_tun.h) and the calls around it.</summary>
internal static unsafe partial class TapNative
{
    public const int OpenReadWrite = 2;
    public const int OpenNonBlocking = 0x800;
    public const int OpenCloseOnExec = 0x80000;

    public const uint SetInterface = 0x4004_54CA;
    public const uint SetOffload = 0x4004_54D0;
    public const uint GetFlags = 0x8913;
    public const uint SetFlags = 0x8914;

    public const short IsTap = 2;
    public const short NoPacketInformation = 0x1000;
    public const short VirtioHeaders = 0x4000;
    public const short IsUp = 1;

    /// <summary>TUN_F_CSUM, TUN_F_TSO4, TUN_F_TSO6 and TUN_F_TSO_ECN.</summary>
    public const int Offloads = 1 | 2 | 4 | 8;

    public const int InternetDatagrams = 2;

    public const short PollIn = 1;

    public const int NotPermitted = 1;
    public const int NoEntry = 2;
    public const int NoDevice = 6;
    public const int Access = 13;
    public const int Busy = 16;
    public const int NoSuchDevice = 19;
    public const int Invalid = 22;

    [LibraryImport("libc", EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    public static partial int Open(string path, int flags);

    // SAFETY: each request's third argument is a local of the size that the request names.
    [LibraryImport("libc", EntryPoint = "ioctl", SetLastError = true)]
    public static partial int Control(int descriptor, nuint request, InterfaceRequest* argument);

    [LibraryImport("libc", EntryPoint = "ioctl", SetLastError = true)]
    public static partial int Control(int descriptor, nuint request, nint argument);

    [LibraryImport("libc", EntryPoint = "socket", SetLastError = true)]
    public static partial int Socket(int domain, int type, int protocol);

    [LibraryImport("libc", EntryPoint = "poll", SetLastError = true)]
    public static partial int Poll(PollDescriptor* descriptors, nuint count, int timeoutMs);

    [LibraryImport("libc", EntryPoint = "eventfd", SetLastError = true)]
    public static partial int EventDescriptor(uint initial, int flags);

    [LibraryImport("libc", EntryPoint = "read", SetLastError = true)]
    public static partial nint Read(int descriptor, byte* bytes, nuint count);

    [LibraryImport("libc", EntryPoint = "write", SetLastError = true)]
    public static partial nint Write(int descriptor, byte* bytes, nuint count);

    [LibraryImport("libc", EntryPoint = "close", SetLastError = true)]
    public static partial int Close(int descriptor);
}
