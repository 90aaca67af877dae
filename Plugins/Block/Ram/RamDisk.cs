using Tessera.Sdk.Devices;
using Tessera.Sdk.Plugins;

namespace Tessera.Plugins.Block.Ram;

/// <summary>Options of the ram backend.</summary>
public sealed record RamOptions
{
    [Option("The disk's size, in whole KiB.", Min = "4 KiB", Max = "1 TiB")]
    public ByteSize Size { get; init; } = new(64 << 20);
}

/// <summary>
/// A disk in the VMM's memory, gone when the disk goes: a template for backends and the floor of benchmarks. Memory is taken in chunks
/// when first written, and given back when a whole chunk is discarded or zeroed.
/// </summary>
/// <param name="options">Its options.</param>
[Plugin("ram", PluginKind.BlockBackend, "1.0.0", Summary = "A disk in memory, sparse, gone with the domain.", Options = typeof(RamOptions))]
public sealed class RamDisk(RamOptions options) : IBlockBackend
{
    private const int ChunkBytes = 64 << 10;

    private readonly byte[]?[] _chunks = new byte[]?[(options.Size.Bytes + ChunkBytes - 1) / ChunkBytes];
    private BlockGeometry _geometry = new() { Size = options.Size.Bytes, VolatileCache = false, DiscardGranularity = ChunkBytes };

    /// <inheritdoc/>
    public BlockGeometry Open(BlockAccess access)
    {
        if (options.Size.Bytes % 1024 != 0)
            throw new BackendException($"size: {options.Size} is not a whole number of KiB.", "Round it.");
        return _geometry = _geometry with { ReadOnly = access == BlockAccess.ReadOnly };
    }

    /// <inheritdoc/>
    public void Submit(BlockRequest request)
    {
        BlockStatus status = _geometry.Check(request);
        if (status == BlockStatus.Ok)
            Execute(request);
        request.Complete(status);
    }

    /// <inheritdoc/>
    public void Dispose() => Array.Clear(_chunks);

    private void Execute(BlockRequest request)
    {
        long position = request.Offset;
        switch (request.Operation)
        {
            case BlockOperation.Read:
                foreach (ref readonly Memory<byte> segment in request.Segments)
                {
                    Read(position, segment.Span);
                    position += segment.Length;
                }

                break;
            case BlockOperation.Write:
                foreach (ref readonly Memory<byte> segment in request.Segments)
                {
                    Write(position, segment.Span);
                    position += segment.Length;
                }

                break;
            case BlockOperation.Discard or BlockOperation.WriteZeroes:
                Clear(position, request.Length);
                break;
        }
    }

    private void Read(long position, Span<byte> into)
    {
        while (!into.IsEmpty)
        {
            int start = (int)(position % ChunkBytes);
            int length = Math.Min(into.Length, ChunkBytes - start);
            if (Volatile.Read(ref _chunks[position / ChunkBytes]) is { } chunk)
                chunk.AsSpan(start, length).CopyTo(into);
            else
                into[..length].Clear();
            into = into[length..];
            position += length;
        }
    }

    private void Write(long position, ReadOnlySpan<byte> from)
    {
        while (!from.IsEmpty)
        {
            int start = (int)(position % ChunkBytes);
            int length = Math.Min(from.Length, ChunkBytes - start);
            ref byte[]? place = ref _chunks[position / ChunkBytes];
            // Two first writes to one chunk: the exchange lets both write into the same one.
            byte[] chunk = Volatile.Read(ref place) ?? Interlocked.CompareExchange(ref place, new byte[ChunkBytes], null) ?? place;
            from[..length].CopyTo(chunk.AsSpan(start));
            from = from[length..];
            position += length;
        }
    }

    private void Clear(long position, long length)
    {
        while (length > 0)
        {
            int start = (int)(position % ChunkBytes);
            int part = (int)Math.Min(length, ChunkBytes - start);
            ref byte[]? place = ref _chunks[position / ChunkBytes];
            if (part == ChunkBytes)
                Volatile.Write(ref place, null);
            else if (Volatile.Read(ref place) is { } chunk)
                chunk.AsSpan(start, part).Clear();
            position += part;
            length -= part;
        }
    }
}
