using System.IO.Hashing;
using Microsoft.Win32.SafeHandles;
using Tessera.Plugins.Block.Native;
using Tessera.Sdk.Devices;

namespace Tessera.Plugins.Block.CopyOnWrite;

/// <summary>The disk beneath overlays: only read, locked against writers, zeroes beyond its end.</summary>
internal sealed class BaseImage : IDisposable
{
    private const string What = "copy-on-write: the base";
    private const int SampleBytes = 4096;

    /// <summary>Its beginning is read whole (partition tables, boot blocks, superblocks with their time of last mount), the rest in samples.</summary>
    private const int BeginningBytes = 1 << 20;

    private const int Samples = 1024;

    private readonly SafeFileHandle _file;
    private readonly VectorIo[] _io;
    private readonly VectorIo _atOnce = new(alignment: 1);

    /// <summary>Opens it.</summary>
    /// <exception cref="BackendException">It cannot be opened, or somebody writes it.</exception>
    public BaseImage(string path, int workers, bool raw = false)
    {
        Path = path;
        _file = StorageFile.Open(path, BlockAccess.ReadOnly, direct: false, What);
        try
        {
            if (!raw)
                ImageFormat.Refuse(_file, path, What);
            Size = StorageFile.Size(_file, path, What);
            Device = DeviceLimits.Of(_file, path);
        }
        catch
        {
            _file.Dispose();
            throw;
        }

        _io = [.. Enumerable.Range(0, workers).Select(_ => new VectorIo(alignment: 1))];
    }

    public string Path { get; }

    /// <summary>What it says of itself; null for a regular file.</summary>
    public DeviceLimits? Device { get; }

    /// <summary>Bytes.</summary>
    public long Size { get; }

    /// <summary>Reads a part of a request.</summary>
    public BlockStatus Read(long position, ReadOnlySpan<Memory<byte>> segments, long skip, long length, int worker)
    {
        long there = Math.Clamp(Size - position, 0, length);
        BlockStatus status = there > 0 ? _io[worker].Read(_file, position, segments, skip, there) : BlockStatus.Ok;
        if (status == BlockStatus.Ok && there < length)
            Clear(segments, skip + there, length - there);
        return status;
    }

    /// <summary>Reads without waiting for storage, or not at all.</summary>
    public bool TryReadCached(long position, ReadOnlySpan<Memory<byte>> segments, long length) =>
        position + length <= Size && _atOnce.TryReadCached(_file, position, segments, length);

    /// <summary>
    /// XXH128 over its size, its first MiB and 1024 blocks of 4 KiB spread evenly over the rest: tells a base that was exchanged or
    /// mounted for writing, at a cost that does not grow with it. It guards against accidents, not against somebody who wants two disks to look alike.
    /// </summary>
    /// <exception cref="BackendException">It cannot be read.</exception>
    public byte[] Fingerprint()
    {
        XxHash128 hash = new();
        hash.Append(BitConverter.GetBytes(Size));
        byte[] sample = new byte[SampleBytes];
        Memory<byte>[] segments = [sample];
        long step = Math.Max(SampleBytes, (Size - BeginningBytes) / Samples);
        for (long position = 0; position < Size; position += position < BeginningBytes ? SampleBytes : step)
        {
            if (Read(position, segments, 0, SampleBytes, 0) != BlockStatus.Ok)
                throw new BackendException($"{What} {Path} cannot be read at byte {position}.", "Check the storage it is on.");
            hash.Append(sample);
        }

        return hash.GetCurrentHash();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (VectorIo io in _io)
            io.Dispose();
        _atOnce.Dispose();
        _file.Dispose();
    }

    private static void Clear(ReadOnlySpan<Memory<byte>> segments, long skip, long length)
    {
        foreach (ref readonly Memory<byte> segment in segments)
        {
            if (skip >= segment.Length)
            {
                skip -= segment.Length;
                continue;
            }

            Span<byte> part = segment.Span[(int)skip..];
            int size = (int)Math.Min(part.Length, length);
            part[..size].Clear();
            length -= size;
            skip = 0;
            if (length == 0)
                return;
        }
    }
}
