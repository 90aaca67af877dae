using System.Collections.Concurrent;
using System.Numerics;
using Tessera.Sdk.Devices;
using Tessera.Sdk.Plugins;

namespace ChecksumDisk;

/// <summary>
/// Notices storage that gives back something else than was written: remembers a CRC-32C of each sector it writes, as long as the disk is
/// open, and ends a read that does not agree with an I/O error. A decorating backend: the one beneath comes in by the constructor.
/// </summary>
/// <param name="inner">The backend beneath.</param>
[Plugin("checksum", PluginKind.BlockBackend, "1.0.0", Summary = "Ends reads that are not what was written with an error.")]
public sealed class ChecksumDisk(IBlockBackend inner) : IBlockBackend
{
    private const int MaxSegments = 1024;
    private const int SectorsPerPart = 1 << 16;

    private readonly ConcurrentBag<BlockRequest> _idle = [];
    private volatile BlockGeometry _geometry = new() { Size = 0 };

    /// <summary>
    /// A sum for each sector, in parts that stay where they are when the disk grows; 0 says that nothing is known of it, a sum that is 0
    /// counts as 1.
    /// </summary>
    private volatile uint[][] _sums = [];

    /// <inheritdoc/>
    public string? Problem => inner.Problem;

    /// <inheritdoc/>
    public BlockGeometry Open(BlockAccess access)
    {
        BlockGeometry geometry = inner.Open(access);
        Cover(geometry);
        return geometry;
    }

    /// <inheritdoc/>
    public void Submit(BlockRequest request)
    {
        bool isTransfer = request.Operation is BlockOperation.Read or BlockOperation.Write;
        if (_geometry.Check(request) != BlockStatus.Ok || request.Segments.Length > MaxSegments)
        {
            inner.Submit(request);
            return;
        }

        // While a sector changes, and if that fails, nothing is known of it.
        if (request.Operation is not (BlockOperation.Read or BlockOperation.Flush))
            Forget(request.Offset / _geometry.SectorSize, request.Length / _geometry.SectorSize);
        if (!isTransfer)
        {
            inner.Submit(request);
            return;
        }

        // The request beneath is this disk's own, so that it hears of the end first; it is used again and again.
        BlockRequest beneath = _idle.TryTake(out BlockRequest? used) ? used : new BlockRequest(MaxSegments, Completed);
        beneath.Tag = request;
        beneath.Prepare(request.Operation, request.Offset);
        foreach (Memory<byte> segment in request.Segments)
            beneath.Append(segment);
        inner.Submit(beneath);
    }

    /// <summary>It grows if the disk beneath does; whatever else that can would go past the sums.</summary>
    public T? TryGet<T>()
        where T : class => inner.TryGet<IGrowingStorage>() is { } growing ? new Growth(this, growing) as T : null;

    /// <inheritdoc/>
    public void Dispose() => inner.Dispose();

    private void Cover(BlockGeometry geometry)
    {
        long parts = ((geometry.Size / geometry.SectorSize) + SectorsPerPart - 1) / SectorsPerPart;
        _sums = [.. Enumerable.Range(0, (int)parts).Select(part => part < _sums.Length ? _sums[part] : new uint[SectorsPerPart])];
        _geometry = geometry;
    }

    private ref uint SumOf(long sector) => ref _sums[sector / SectorsPerPart][sector % SectorsPerPart];

    private void Forget(long first, long count)
    {
        for (long sector = first; sector < first + count; sector++)
            SumOf(sector) = 0;
    }

    private void Completed(BlockRequest beneath)
    {
        BlockRequest request = (BlockRequest)beneath.Tag!;
        BlockStatus status = beneath.Status;
        _idle.Add(beneath);
        if (status == BlockStatus.Ok && !Sum(request))
            status = BlockStatus.IoError;
        request.Complete(status);
    }

    /// <summary>Remembers the sums of a write, compares those of a read.</summary>
    private bool Sum(BlockRequest request)
    {
        long sector = request.Offset / _geometry.SectorSize;
        int left = _geometry.SectorSize;
        uint sum = 0;
        foreach (Memory<byte> segment in request.Segments)
        {
            foreach (byte value in segment.Span)
            {
                sum = BitOperations.Crc32C(sum, value);
                if (--left > 0)
                    continue;
                uint known = sum == 0 ? 1 : sum;
                if (request.Operation == BlockOperation.Write)
                    SumOf(sector) = known;
                else if (SumOf(sector) != 0 && SumOf(sector) != known)
                    return false;
                (sector, left, sum) = (sector + 1, _geometry.SectorSize, 0);
            }
        }

        return true;
    }

    private sealed class Growth(ChecksumDisk disk, IGrowingStorage beneath) : IGrowingStorage
    {
        public long Grow()
        {
            long size = beneath.Grow();
            disk.Cover(disk._geometry with { Size = size });
            return size;
        }
    }
}
