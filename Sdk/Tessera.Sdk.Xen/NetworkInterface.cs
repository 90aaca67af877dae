using System.Runtime.InteropServices;

namespace Tessera.Sdk.Xen;

/// <summary>Flags of a transmit request (NETTXF_*).</summary>
[Flags]
public enum NetTxFlags : ushort
{
    None = 0,
    CsumBlank = 1,
    DataValidated = 2,
    MoreData = 4,
    ExtraInfo = 8,
}

/// <summary>Flags of a receive response (NETRXF_*).</summary>
[Flags]
public enum NetRxFlags : ushort
{
    None = 0,
    DataValidated = 1,
    CsumBlank = 2,
    MoreData = 4,
    ExtraInfo = 8,
}

/// <summary>What an extra slot says (XEN_NETIF_EXTRA_TYPE_*).</summary>
public enum NetExtraType : byte
{
    None = 0,
    Gso = 1,
    McastAdd = 2,
    McastDel = 3,
    Hash = 4,
}

/// <summary>How a frame is to be cut (XEN_NETIF_GSO_TYPE_*).</summary>
public enum NetGsoType : byte
{
    None = 0,
    TcpV4 = 1,
    TcpV6 = 2,
}

/// <summary>Results of a transmit request (NETIF_RSP_*); those of receiving are lengths when not negative.</summary>
public enum NetStatus : short
{
    Dropped = -2,
    Error = -1,
    Okay = 0,
    Null = 1,
}

/// <summary>Bounds of netif.</summary>
public static class Netif
{
    /// <summary>Slots of a frame that every backend takes (XEN_NETIF_NR_SLOTS_MIN).</summary>
    public const int MinSlots = 18;

    /// <summary>XEN_NETIF_EXTRA_FLAG_MORE.</summary>
    public const byte ExtraMore = 1;

    /// <summary>Bytes of a slot of the transmit ring.</summary>
    public const int TxEntryBytes = 12;

    /// <summary>Bytes of a slot of the receive ring.</summary>
    public const int RxEntryBytes = 8;
}

/// <summary>A slot of the transmit ring: struct netif_tx_request, with struct netif_extra_info over it.</summary>
[StructLayout(LayoutKind.Explicit, Size = Netif.TxEntryBytes)]
public struct NetTxRequest
{
    [FieldOffset(0)]
    public uint Grant;

    /// <summary>Where in the page.</summary>
    [FieldOffset(4)]
    public ushort Offset;

    [FieldOffset(6)]
    public NetTxFlags Flags;

    /// <summary>The guest's own, sent back.</summary>
    [FieldOffset(8)]
    public ushort Id;

    /// <summary>Bytes: of the whole frame in its first request, of the piece in the others.</summary>
    [FieldOffset(10)]
    public ushort Size;

    /// <summary>The slot as an extra one.</summary>
    [FieldOffset(0)]
    public NetExtra Extra;
}

/// <summary>struct netif_extra_info.</summary>
[StructLayout(LayoutKind.Explicit, Size = 8)]
public struct NetExtra
{
    [FieldOffset(0)]
    public NetExtraType Type;

    [FieldOffset(1)]
    public byte Flags;

    /// <summary>TCP payload of each piece.</summary>
    [FieldOffset(2)]
    public ushort GsoSize;

    [FieldOffset(4)]
    public NetGsoType GsoType;

    [FieldOffset(5)]
    public byte GsoPad;

    [FieldOffset(6)]
    public ushort GsoFeatures;
}

/// <summary>struct netif_tx_response.</summary>
[StructLayout(LayoutKind.Explicit, Size = 4)]
public struct NetTxResponse
{
    [FieldOffset(0)]
    public ushort Id;

    [FieldOffset(2)]
    public NetStatus Status;
}

/// <summary>struct netif_rx_request.</summary>
[StructLayout(LayoutKind.Explicit, Size = Netif.RxEntryBytes)]
public struct NetRxRequest
{
    [FieldOffset(0)]
    public ushort Id;

    [FieldOffset(4)]
    public uint Grant;
}

/// <summary>struct netif_rx_response.</summary>
[StructLayout(LayoutKind.Explicit, Size = Netif.RxEntryBytes)]
public struct NetRxResponse
{
    [FieldOffset(0)]
    public ushort Id;

    [FieldOffset(2)]
    public ushort Offset;

    [FieldOffset(4)]
    public NetRxFlags Flags;

    /// <summary>Bytes, or a <see cref="NetStatus"/> below zero.</summary>
    [FieldOffset(6)]
    public short Status;
}
