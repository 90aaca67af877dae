namespace Tessera.Sdk.Devices;

/// <summary>What a disk is like.</summary>
public sealed record BlockGeometry
{
    /// <summary>Xen's smallest sector, bytes.</summary>
    public const int SmallestSector = 512;

    /// <summary>Size in bytes, a multiple of <see cref="SectorSize"/>.</summary>
    public required long Size { get; init; }

    /// <summary>What every offset and length is a multiple of, bytes; a power of two from 512 to 4096.</summary>
    public int SectorSize { get; init; } = SmallestSector;

    /// <summary>What the storage writes at once, bytes; a multiple of <see cref="SectorSize"/>. Guests align to it.</summary>
    public int PhysicalSectorSize { get; init; } = 4096;

    /// <summary>Whether writes are refused with <see cref="BlockStatus.ReadOnly"/>.</summary>
    public bool ReadOnly { get; init; }

    /// <summary>Whether completed writes need a flush to be stable, or at all survive the disk's end.</summary>
    public bool VolatileCache { get; init; } = true;

    /// <summary>The pieces in which storage is given back, bytes; 0 when discards are refused with <see cref="BlockStatus.NotSupported"/>.</summary>
    public int DiscardGranularity { get; init; }

    /// <summary>How many requests are worth having in flight.</summary>
    public int QueueDepth { get; init; } = 32;

    /// <summary>What is wrong with a request for this disk, or <see cref="BlockStatus.Ok"/>.</summary>
    /// <param name="request">The request.</param>
    public BlockStatus Check(BlockRequest request)
    {
        if (request.Operation == BlockOperation.Flush)
            return BlockStatus.Ok;
        long mask = SectorSize - 1;
        if (request.Offset < 0 || request.Length < 0 || ((request.Offset | request.Length) & mask) != 0 || request.Offset > Size || request.Length > Size - request.Offset)
            return BlockStatus.OutOfRange;
        if (ReadOnly && request.Operation != BlockOperation.Read)
            return BlockStatus.ReadOnly;
        return request.Operation == BlockOperation.Discard && DiscardGranularity == 0 ? BlockStatus.NotSupported : BlockStatus.Ok;
    }
}

/// <summary>How a request ended.</summary>
public enum BlockStatus
{
    /// <summary>Done.</summary>
    Ok,

    /// <summary>The storage failed; what the range holds is unknown.</summary>
    IoError,

    /// <summary>Beyond the disk's end, or not in whole sectors; nothing was done.</summary>
    OutOfRange,

    /// <summary>A write to a disk that is not written; nothing was done.</summary>
    ReadOnly,

    /// <summary>The backend does not do this; nothing was done.</summary>
    NotSupported,

    /// <summary>The storage is full; what the range holds is unknown.</summary>
    NoSpace,
}

/// <summary>The host refused what a device backend needs, or the storage is not what was said.</summary>
public sealed class BackendException : Exception
{
    /// <summary>Says what failed and what would help.</summary>
    /// <param name="message">What was tried, with the file or address, and what came of it.</param>
    /// <param name="cure">What the user can do about it.</param>
    public BackendException(string message, string cure)
        : base($"{message} {cure}".TrimEnd()) => Cure = cure;

    /// <summary>What the user can do about it.</summary>
    public string Cure { get; }
}
