using Tessera.Sdk.Devices;

namespace Tessera.Plugins.Block.CopyOnWrite;

/// <summary>
/// A disk of which the written blocks are in an overlay and the others in the base. All calls block; each is made by one of the workers.
/// </summary>
/// <remarks>
/// What makes a crash harmless: data is written before its bit is set in memory, and a flush writes to the file only bits whose data
/// was stable before (synchronize, write the bitmap's changed pages, synchronize). So a bit in the file always has its data, a block
/// whose bit did not get there reads from the base as before its first write, and a torn page of the bitmap is a mixture of two right ones.
/// </remarks>
internal sealed class Overlay : IDisposable
{
    private const int Block = OverlayHeader.BlockBytes;
    private const int Stripes = 64;

    /// <summary>Blocks under one lock, before the locks repeat: 1 MiB.</summary>
    private const int StripeBlocks = 256;

    private readonly BaseImage _base;
    private readonly IOverlayFile _file;
    private readonly OverlayHeader _header;
    private readonly OverlayMap _map;
    private readonly Lock _flushGate = new();
    private readonly Memory<byte>[] _page = new Memory<byte>[1];
    private readonly List<(int Page, byte[] Copy)> _taken = [];
    private readonly Stack<byte[]> _spare = new();
    private readonly Memory<byte>[][] _fill;

    // Held while blocks get into the overlay: two first writes to parts of one block would each bring the other part from the base.
    private readonly Lock[] _stripes = [.. Enumerable.Range(0, Stripes).Select(_ => new Lock())];

    /// <summary>Opens an overlay that is there, over the base it was made for.</summary>
    /// <exception cref="BackendException">It is damaged, or of another base.</exception>
    public Overlay(BaseImage image, IOverlayFile file, string name, int workers)
    {
        (_base, _file) = (image, file);
        _fill = [.. Enumerable.Range(0, workers).Select(_ => new Memory<byte>[] { new byte[Block] })];
        byte[] header = new byte[OverlayHeader.Bytes];
        ReadWhole(0, header, name);
        _header = OverlayHeader.Read(header, out string problem) ?? throw new BackendException($"copy-on-write: the overlay {name} is not usable: {problem}.", "Name another file; the disk's base is untouched.");
        if (_header.BaseSize != image.Size || !_header.Fingerprint.Span.SequenceEqual(image.Fingerprint()))
        {
            throw new BackendException(
                $"copy-on-write: the overlay {name} was made for the base {_header.BasePath} of {_header.BaseSize} bytes, and {image.Path} ({image.Size} bytes) is another or has been changed since.",
                "Give it the base it was made for, or make a new overlay.");
        }

        byte[] bitmap = new byte[_header.BitmapBytes];
        ReadWhole(OverlayHeader.BitmapOffset, bitmap, name);
        _map = new OverlayMap(bitmap);
    }

    /// <summary>Bytes of the guest's sectors.</summary>
    public int SectorSize { get; init; } = BlockGeometry.SmallestSector;

    /// <summary>Bytes of the disk.</summary>
    public long Size => _header.Size;

    /// <summary>Writes an empty overlay into an empty file, stable when this returns. The file has its full size and reads as zeroes.</summary>
    public static BlockStatus Format(IOverlayFile file, OverlayHeader header)
    {
        Memory<byte>[] bytes = [header.Write()];
        BlockStatus status = file.Write(0, bytes, 0, OverlayHeader.Bytes, 0);
        return status == BlockStatus.Ok ? file.Synchronize() : status;
    }

    /// <summary>Reads.</summary>
    public BlockStatus Read(BlockRequest request, int worker)
    {
        long end = request.Offset + request.Length;
        for (long position = request.Offset; position < end;)
        {
            long block = position / Block;
            bool present = _map.Has(block);

            // A write may have brought this very block since: the read began before that write ended, and may see what was there.
            long stop = Math.Min(end, Math.Max(block + 1, _map.RunEnd(block, (end + Block - 1) / Block, present)) * Block);
            BlockStatus status = present
                ? _file.Read(_header.DataOffset + position, request.Segments, position - request.Offset, stop - position, worker)
                : _base.Read(position, request.Segments, position - request.Offset, stop - position, worker);
            if (status != BlockStatus.Ok)
                return status;
            position = stop;
        }

        return BlockStatus.Ok;
    }

    /// <summary>Reads what the host has in memory and what lies in one place, or not at all. One caller at a time.</summary>
    public bool TryReadCached(BlockRequest request)
    {
        long first = request.Offset / Block;
        long end = (request.Offset + request.Length + Block - 1) / Block;
        bool present = first < end && _map.Has(first);
        if (_map.RunEnd(first, end, present) != end)
            return false;
        return present
            ? _file.TryReadCached(_header.DataOffset + request.Offset, request.Segments, request.Length)
            : _base.TryReadCached(request.Offset, request.Segments, request.Length);
    }

    /// <summary>Writes.</summary>
    public BlockStatus Write(BlockRequest request, int worker) => Change(request, worker, zero: false);

    /// <summary>Writes zeroes: holes in the overlay.</summary>
    public BlockStatus WriteZeroes(BlockRequest request, int worker) => Change(request, worker, zero: true);

    /// <summary>Gives back the space of whole blocks that are in the overlay; those of the base stay as they are.</summary>
    public BlockStatus Discard(BlockRequest request, int worker)
    {
        long end = (request.Offset + request.Length) / Block;
        for (long block = (request.Offset + Block - 1) / Block; block < end;)
        {
            bool present = _map.Has(block);
            long stop = _map.RunEnd(block, end, present);
            BlockStatus status = present ? _file.Zero(_header.DataOffset + (block * Block), (stop - block) * Block, worker) : BlockStatus.Ok;
            if (status != BlockStatus.Ok)
                return status;
            block = stop;
        }

        return BlockStatus.Ok;
    }

    /// <summary>Makes everything stable that completed before.</summary>
    public BlockStatus Flush(int worker)
    {
        lock (_flushGate)
        {
            Take();
            BlockStatus status = _file.Synchronize();
            if (_taken.Count > 0 && status == BlockStatus.Ok)
                status = WriteTaken(worker);
            foreach ((int page, byte[] copy) in _taken)
            {
                if (status != BlockStatus.Ok)
                    _map.Mark(page);
                _spare.Push(copy);
            }

            _taken.Clear();
            return status;
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _ = Flush(worker: 0);
        _file.Dispose();
        _base.Dispose();
    }

    private BlockStatus Change(BlockRequest request, int worker, bool zero)
    {
        if (request.Length == 0)
            return BlockStatus.Ok;
        long first = request.Offset / Block;
        long end = (request.Offset + request.Length + Block - 1) / Block;
        if (_map.HasAll(first, end))
            return Put(request, worker, zero);
        ulong stripes = StripesOf(first, end);
        Lock(stripes);
        try
        {
            BlockStatus status = Complete(first, request.Offset, request.Offset + request.Length, worker);
            if (status == BlockStatus.Ok && end - 1 != first)
                status = Complete(end - 1, request.Offset, request.Offset + request.Length, worker);
            if (status == BlockStatus.Ok)
                status = Put(request, worker, zero);
            if (status == BlockStatus.Ok)
                _map.Add(first, end);
            return status;
        }
        finally
        {
            Unlock(stripes);
        }
    }

    private BlockStatus Put(BlockRequest request, int worker, bool zero) => zero
        ? _file.Zero(_header.DataOffset + request.Offset, request.Length, worker)
        : _file.Write(_header.DataOffset + request.Offset, request.Segments, 0, request.Length, worker);

    /// <summary>Brings those parts of a block from the base that a first write leaves out.</summary>
    private BlockStatus Complete(long block, long from, long to, int worker)
    {
        long start = block * Block;
        if (_map.Has(block) || (from <= start && to >= start + Block))
            return BlockStatus.Ok;
        BlockStatus status = from > start ? Bring(start, from - start, worker) : BlockStatus.Ok;
        return status == BlockStatus.Ok && to < start + Block ? Bring(to, start + Block - to, worker) : status;
    }

    private BlockStatus Bring(long position, long length, int worker)
    {
        BlockStatus status = _base.Read(position, _fill[worker], 0, length, worker);
        return status == BlockStatus.Ok ? _file.Write(_header.DataOffset + position, _fill[worker], 0, length, worker) : status;
    }

    private void Take()
    {
        for (int page = 0; page < _map.Pages; page++)
        {
            if (!_map.HasChanged(page))
                continue;
            if (!_spare.TryPop(out byte[]? copy))
                copy = new byte[OverlayMap.PageBytes];
            _map.Take(page, copy);
            _taken.Add((page, copy));
        }
    }

    private BlockStatus WriteTaken(int worker)
    {
        foreach ((int page, byte[] copy) in _taken)
        {
            _page[0] = copy;
            BlockStatus status = _file.Write(OverlayHeader.BitmapOffset + ((long)page * OverlayMap.PageBytes), _page, 0, OverlayMap.PageBytes, worker);
            if (status != BlockStatus.Ok)
                return status;
        }

        return _file.Synchronize();
    }

    private void ReadWhole(long position, byte[] bytes, string name)
    {
        Memory<byte>[] segments = [bytes];
        if (_file.Read(position, segments, 0, bytes.Length, 0) != BlockStatus.Ok)
            throw new BackendException($"copy-on-write: the overlay {name} cannot be read at byte {position}: it is not an overlay, or it is cut short.", "Name another file; the disk's base is untouched.");
    }

    private static ulong StripesOf(long first, long end)
    {
        ulong stripes = 0;
        for (long stripe = first / StripeBlocks; stripe <= (end - 1) / StripeBlocks && stripes != ulong.MaxValue; stripe++)
            stripes |= 1UL << (int)(stripe % Stripes);
        return stripes;
    }

    private void Lock(ulong stripes)
    {
        // Always in the same order, so that nobody waits for one who waits for him.
        for (int stripe = 0; stripe < Stripes; stripe++)
        {
            if ((stripes >> stripe & 1) != 0)
                _stripes[stripe].Enter();
        }
    }

    private void Unlock(ulong stripes)
    {
        for (int stripe = 0; stripe < Stripes; stripe++)
        {
            if ((stripes >> stripe & 1) != 0)
                _stripes[stripe].Exit();
        }
    }
}
