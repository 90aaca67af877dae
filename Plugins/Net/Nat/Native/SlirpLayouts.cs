using System.Runtime.InteropServices;

namespace Tessera.Plugins.Net.Nat.Native;

/// <summary>SlirpConfig of version 4 (libslirp.h), on x86-64. What is left out stays zero: no IPv6, no TFTP, no emulation of protocols.</summary>
[StructLayout(LayoutKind.Explicit, Size = 184)]
internal struct SlirpConfig
{
    [FieldOffset(0)]
    public uint Version;

    [FieldOffset(4)]
    public int Restricted;

    [FieldOffset(8)]
    public byte V4Enabled;

    // Addresses are in the network's order.
    [FieldOffset(12)]
    public uint Network;

    [FieldOffset(16)]
    public uint Mask;

    [FieldOffset(20)]
    public uint Host;

    [FieldOffset(64)]
    public nint Hostname;

    [FieldOffset(96)]
    public uint DhcpStart;

    [FieldOffset(100)]
    public uint NameServer;

    [FieldOffset(128)]
    public nint DomainName;

    [FieldOffset(152)]
    public byte DisableHostLoopback;
}

/// <summary>SlirpCb of version 4: functions that slirp calls on the thread that is in it.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct SlirpCallbacks
{
    public delegate* unmanaged<byte*, nuint, nint, nint> SendPacket;
    public delegate* unmanaged<byte*, nint, void> GuestError;
    public delegate* unmanaged<nint, long> Clock;

    // SAFETY: timers are router advertisements' alone, which are IPv6's; slirp calls none of the three without it.
    public nint TimerNew;
    public nint TimerFree;
    public nint TimerModify;
    public delegate* unmanaged<int, nint, void> RegisterDescriptor;
    public delegate* unmanaged<int, nint, void> UnregisterDescriptor;
    public delegate* unmanaged<nint, void> Notify;

    // These two slirp looks at before it calls them.
    public nint InitCompleted;
    public nint TimerNewOpaque;
}
