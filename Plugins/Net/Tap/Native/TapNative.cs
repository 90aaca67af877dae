using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Tessera.Plugins.Net.Tap.Native;

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

/// <summary>/dev/net/tun (linux/if_tun.h). The error numbers are those of Tmds.LibC as constants, which patterns need.</summary>
internal static class TapNative
{
    public const int SetInterface = 0x4004_54CA;
    public const int SetOffload = 0x4004_54D0;
    public const int GetFlags = 0x8913;
    public const int SetFlags = 0x8914;

    public const short IsTap = 2;
    public const short NoPacketInformation = 0x1000;
    public const short VirtioHeaders = 0x4000;
    public const short IsUp = 1;

    /// <summary>TUN_F_CSUM, TUN_F_TSO4, TUN_F_TSO6 and TUN_F_TSO_ECN.</summary>
    public const int Offloads = 1 | 2 | 4 | 8;

    public const int NotPermitted = 1;
    public const int NoEntry = 2;
    public const int NoDevice = 6;
    public const int Access = 13;
    public const int Busy = 16;
    public const int NoSuchDevice = 19;
    public const int Invalid = 22;
}
