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

    private readonly ConcurrentBag<BlockRequest> _idle = [];
    private BlockGeometry _geometry = new() { Size = 0 };
    private uint[] _sums = [];

    /// <inheritdoc/>
    public string? Problem => inner.Problem;

    /// <inheritdoc/>
    public BlockGeometry Open(BlockAccess access)
    {
        _geometry = inner.Open(access);
        // 0 says that nothing is known of a sector; a sum that is 0 counts as 1.
        _sums = new uint[_geometry.Size / _geometry.SectorSize];
        return _geometry;
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
            _sums.AsSpan((int)(request.Offset / _geometry.SectorSize), (int)(request.Length / _geometry.SectorSize)).Clear();
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

    /// <inheritdoc/>
    public void Dispose() => inner.Dispose();

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
                    _sums[sector] = known;
                else if (_sums[sector] != 0 && _sums[sector] != known)
                    return false;
                (sector, left, sum) = (sector + 1, _geometry.SectorSize, 0);
            }
        }

        return true;
    }
}
