using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Tessera.Sdk.Xen;

/// <summary>Requests of a split block device (public/io/blkif.h).</summary>
public enum BlkifOp : byte
{
    Read = 0,
    Write = 1,
    WriteBarrier = 2,
    FlushDiskcache = 3,
    Reserved = 4,
    Discard = 5,
    Indirect = 6,
}

/// <summary>Results of a block request (BLKIF_RSP_*).</summary>
public enum BlkifStatus : short
{
    Okay = 0,
    Error = -1,
    NotSupported = -2,
}

/// <summary>Bounds of blkif.</summary>
public static class Blkif
{
    /// <summary>The unit of sector numbers on the ring, bytes, whatever the disk's own sector is.</summary>
    public const int SectorBytes = 512;

    /// <summary>Segments in a request itself.</summary>
    public const int MaxSegments = 11;

    /// <summary>Pages of segments of an indirect request.</summary>
    public const int MaxIndirectPages = 8;

    /// <summary>Segments in one such page.</summary>
    public const int SegmentsPerPage = 512;

    /// <summary>BLKIF_DISCARD_SECURE.</summary>
    public const byte DiscardSecure = 1;

    /// <summary>VDISK_READONLY.</summary>
    public const int DiskReadOnly = 4;
}

/// <summary>struct blkif_request_segment.</summary>
[StructLayout(LayoutKind.Explicit, Size = 8)]
public struct BlkifSegment
{
    /// <summary>The page's grant.</summary>
    [FieldOffset(0)]
    public uint Grant;

    /// <summary>Its first sector that takes part, from 0.</summary>
    [FieldOffset(4)]
    public byte FirstSector;

    /// <summary>Its last sector that takes part, inclusive.</summary>
    [FieldOffset(5)]
    public byte LastSector;
}

/// <summary>The segments of a request.</summary>
[InlineArray(Blkif.MaxSegments)]
public struct BlkifSegments
{
    private BlkifSegment _first;
}

/// <summary>The grants of an indirect request's segment pages.</summary>
[InlineArray(Blkif.MaxIndirectPages)]
public struct BlkifIndirectGrants
{
    private uint _first;
}

/// <summary>A slot of the ring: struct blkif_request, blkif_request_indirect and blkif_request_discard over each other.</summary>
[StructLayout(LayoutKind.Explicit, Size = 112)]
public struct BlkifRequest
{
    [FieldOffset(0)]
    public BlkifOp Operation;

    /// <summary>nr_segments of a plain request.</summary>
    [FieldOffset(1)]
    public byte SegmentCount;

    /// <summary>flag of a discard.</summary>
    [FieldOffset(1)]
    public byte DiscardFlag;

    /// <summary>indirect_op of an indirect request.</summary>
    [FieldOffset(1)]
    public BlkifOp IndirectOperation;

    /// <summary>nr_segments of an indirect request.</summary>
    [FieldOffset(2)]
    public ushort IndirectSegmentCount;

    /// <summary>The guest's own, sent back.</summary>
    [FieldOffset(8)]
    public ulong Id;

    /// <summary>In units of 512 bytes.</summary>
    [FieldOffset(16)]
    public ulong Sector;

    /// <summary>Segments of a plain request.</summary>
    [FieldOffset(24)]
    public BlkifSegments Segments;

    /// <summary>nr_sectors of a discard.</summary>
    [FieldOffset(24)]
    public ulong DiscardSectors;

    /// <summary>indirect_grefs of an indirect request.</summary>
    [FieldOffset(28)]
    public BlkifIndirectGrants IndirectGrants;
}

/// <summary>struct blkif_response.</summary>
[StructLayout(LayoutKind.Explicit, Size = 16)]
public struct BlkifResponse
{
    [FieldOffset(0)]
    public ulong Id;

    [FieldOffset(8)]
    public BlkifOp Operation;

    [FieldOffset(10)]
    public BlkifStatus Status;
}
