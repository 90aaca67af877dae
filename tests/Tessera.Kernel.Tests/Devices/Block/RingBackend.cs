using System.Runtime.InteropServices;
using Tessera.Sdk.Devices;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Tests.Devices.Block;

/// <summary>
/// A whole blkback as if it were a backend: what is submitted goes through a hand-played frontend's ring to the backend beneath, so that the
/// conformance suite holds the ring to what it holds backends to. Requests are cut to what the ring carries, several at once.
/// </summary>
internal sealed class RingBackend(IBlockBackend inner, int order, bool persistent, bool indirect) : IBlockBackend
{
    private readonly Lock _gate = new();
    private HandMachine? _machine;
    private HandFrontend? _frontend;
    private BlockGeometry _geometry = new() { Size = 0 };

    public BlockGeometry Open(BlockAccess access)
    {
        _machine = new HandMachine();
        _frontend = new HandFrontend(_machine, _machine.Create(), inner, order, persistent, access == BlockAccess.ReadOnly);
        return _geometry = _frontend.Disk.Geometry;
    }

    public void Submit(BlockRequest request)
    {
        BlockStatus status;
        lock (_gate)
            status = _geometry.Check(request) is not BlockStatus.Ok and var wrong ? wrong : Carry(request);
        request.Complete(status);
    }

    public void Dispose()
    {
        _machine?.Dispose();
        _machine = null;
        inner.Dispose();
    }

    private BlockStatus Carry(BlockRequest request)
    {
        switch (request.Operation)
        {
            case BlockOperation.Flush:
                return Of(_frontend!.Run(new BlkifRequest { Operation = BlkifOp.FlushDiskcache, Id = 1 }));
            case BlockOperation.Discard:
                return Of(_frontend!.Run(new BlkifRequest { Operation = BlkifOp.Discard, Id = 2, Sector = (ulong)request.Offset / 512, DiscardSectors = (ulong)request.Length / 512 }));
            default:
                byte[] bytes = new byte[request.Length];
                if (request.Operation == BlockOperation.Write)
                    Gather(request, bytes);
                BlockStatus status = Move(request.Offset, bytes, request.Operation == BlockOperation.Read);
                if (status == BlockStatus.Ok && request.Operation == BlockOperation.Read)
                    Scatter(request, bytes);
                return status;
        }
    }

    private BlockStatus Move(long offset, byte[] bytes, bool isRead)
    {
        BlockStatus status = BlockStatus.Ok;
        int most = indirect ? 256 : Blkif.MaxSegments;
        for (int done = 0; done < bytes.Length;)
        {
            // Pages that begin in their middle, so that segments are of all lengths.
            int first = (int)((offset + done) / 512 % 8);
            List<BlkifSegment> segments = [];
            int start = done;
            while (done < bytes.Length && segments.Count < most)
            {
                int sectors = Math.Min(8 - first, (bytes.Length - done) / 512);
                if (!isRead)
                    bytes.AsSpan(done, sectors * 512).CopyTo(_frontend!.Data(segments.Count)[(first * 512)..]);
                segments.Add(HandFrontend.Segment(segments.Count, (byte)first, (byte)(first + sectors - 1)));
                done += sectors * 512;
                first = 0;
            }

            BlkifRequest request = Request(isRead ? BlkifOp.Read : BlkifOp.Write, (ulong)(offset + start) / 512, segments);
            BlockStatus part = Of(_frontend!.Run(request));
            status = part == BlockStatus.Ok ? status : part;
            if (!isRead)
                continue;
            int at = start;
            for (int index = 0; index < segments.Count; index++)
            {
                int length = (segments[index].LastSector - segments[index].FirstSector + 1) * 512;
                _frontend.Data(index).Slice(segments[index].FirstSector * 512, length).CopyTo(bytes.AsSpan(at));
                at += length;
            }
        }

        return status;
    }

    private BlkifRequest Request(BlkifOp operation, ulong sector, List<BlkifSegment> segments)
    {
        if (!indirect)
            return HandFrontend.Transfer(operation, sector, CollectionsMarshal.AsSpan(segments));
        MemoryMarshal.AsBytes(CollectionsMarshal.AsSpan(segments)).CopyTo(_frontend!.Guest.Page(HandFrontend.IndirectPage));
        BlkifRequest request = new() { Operation = BlkifOp.Indirect, IndirectOperation = operation, IndirectSegmentCount = (ushort)segments.Count, Sector = sector, Id = 3 };
        request.IndirectGrants[0] = 7;
        return request;
    }

    private static BlockStatus Of(BlkifStatus status) => status switch
    {
        BlkifStatus.Okay => BlockStatus.Ok,
        BlkifStatus.NotSupported => BlockStatus.NotSupported,
        _ => BlockStatus.IoError,
    };

    private static void Gather(BlockRequest request, Span<byte> bytes)
    {
        foreach (ref readonly Memory<byte> segment in request.Segments)
        {
            segment.Span.CopyTo(bytes);
            bytes = bytes[segment.Length..];
        }
    }

    private static void Scatter(BlockRequest request, ReadOnlySpan<byte> bytes)
    {
        foreach (ref readonly Memory<byte> segment in request.Segments)
        {
            bytes[..segment.Length].CopyTo(segment.Span);
            bytes = bytes[segment.Length..];
        }
    }
}
