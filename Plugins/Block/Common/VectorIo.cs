using System.Buffers;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;
using Tessera.Plugins.Block.Native;
using Tessera.Sdk.Devices;

namespace Tessera.Plugins.Block;

/// <summary>
/// Moves data between a file and the segments of a request, without copying where the file allows. Holds what one thread needs for it;
/// not thread-safe.
/// </summary>
internal sealed unsafe class VectorIo : IDisposable
{
    /// <summary>The most pieces of memory in one call: IOV_MAX.</summary>
    private const int MostVectors = 1024;

    private const int BounceBytes = 256 << 10;

    private readonly MemoryHandle[] _pins = new MemoryHandle[MostVectors];
    private readonly nuint _alignment;
    private IoVector* _vectors;
    private byte* _bounce;

    /// <summary>Takes the native memory it works with.</summary>
    /// <param name="alignment">What the file wants memory and lengths aligned to (O_DIRECT); 1 for none.</param>
    public VectorIo(int alignment)
    {
        _alignment = (nuint)alignment;
        // SAFETY: freed in Dispose, which the owner calls when no transfer runs.
        _vectors = (IoVector*)NativeMemory.Alloc(MostVectors, (nuint)sizeof(IoVector));
        _bounce = (byte*)NativeMemory.AlignedAlloc(BounceBytes, 4096);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        NativeMemory.Free(_vectors);
        NativeMemory.AlignedFree(_bounce);
        _vectors = null;
        _bounce = null;
    }

    /// <summary>Reads a part of a request's range from a file.</summary>
    /// <param name="file">The file.</param>
    /// <param name="position">Where in the file.</param>
    /// <param name="segments">The request's memory.</param>
    /// <param name="skip">Bytes of it that come before the part.</param>
    /// <param name="length">The part's length.</param>
    public BlockStatus Read(SafeFileHandle file, long position, ReadOnlySpan<Memory<byte>> segments, long skip, long length) =>
        Transfer(file, position, segments, skip, length, write: false);

    /// <summary>Writes a part of a request's range to a file; parameters as of <see cref="Read"/>.</summary>
    public BlockStatus Write(SafeFileHandle file, long position, ReadOnlySpan<Memory<byte>> segments, long skip, long length) =>
        Transfer(file, position, segments, skip, length, write: true);

    /// <summary>Reads everything if the host has it in memory; false, with some of the segments written or none, if it would have to wait.</summary>
    public bool TryReadCached(SafeFileHandle file, long position, ReadOnlySpan<Memory<byte>> segments, long length)
    {
        if (segments.Length > MostVectors)
            return false;
        int count = Pin(segments, 0, length, out long pinned, out _);
        long done = FileNative.Read(file, _vectors, count, position, FileNative.NoWait);
        Unpin(count);
        return pinned == length && done == length;
    }

    /// <summary>Writes zeroes the long way, for files that cannot do it themselves.</summary>
    public BlockStatus WriteZeroes(SafeFileHandle file, long position, long length)
    {
        new Span<byte>(_bounce, BounceBytes).Clear();
        while (length > 0)
        {
            long done = WriteBounce(file, position, Math.Min(length, BounceBytes));
            if (done <= 0)
                return StatusOf(done);
            position += done;
            length -= done;
        }

        return BlockStatus.Ok;
    }

    /// <summary>What an errno means to a guest.</summary>
    /// <param name="result">Minus errno, or 0 for an end of the file that should not be there.</param>
    public static BlockStatus StatusOf(long result) => -result switch
    {
        FileNative.NoSpace or FileNative.QuotaExceeded => BlockStatus.NoSpace,
        FileNative.ReadOnlyFileSystem => BlockStatus.ReadOnly,
        FileNative.NotSupported => BlockStatus.NotSupported,
        _ => BlockStatus.IoError,
    };

    private BlockStatus Transfer(SafeFileHandle file, long position, ReadOnlySpan<Memory<byte>> segments, long skip, long length, bool write)
    {
        while (length > 0)
        {
            int count = Pin(segments, skip, length, out long pinned, out bool aligned);
            long done;
            try
            {
                if (!aligned)
                    done = write ? WriteThrough(file, position, segments, skip, Math.Min(pinned, BounceBytes)) : ReadThrough(file, position, segments, skip, Math.Min(pinned, BounceBytes));
                else
                    done = write ? FileNative.Write(file, _vectors, count, position) : FileNative.Read(file, _vectors, count, position, 0);
            }
            finally
            {
                Unpin(count);
            }

            if (done <= 0)
                return StatusOf(done);
            position += done;
            skip += done;
            length -= done;
        }

        return BlockStatus.Ok;
    }

    private int Pin(ReadOnlySpan<Memory<byte>> segments, long skip, long length, out long pinned, out bool aligned)
    {
        int count = 0;
        nuint bits = 0;
        pinned = 0;
        foreach (ref readonly Memory<byte> segment in segments)
        {
            if (skip >= segment.Length)
            {
                skip -= segment.Length;
                continue;
            }

            int size = (int)Math.Min(segment.Length - skip, length - pinned);
            if (size == 0 || count == MostVectors)
                break;
            _pins[count] = segment.Slice((int)skip, size).Pin();
            // SAFETY: the segment is pinned until Unpin, which follows the call that uses the vectors.
            _vectors[count] = new IoVector { Address = (nint)_pins[count].Pointer, Length = (nuint)size };
            bits |= (nuint)_vectors[count].Address | (nuint)size;
            count++;
            pinned += size;
            skip = 0;
        }

        aligned = (bits & (_alignment - 1)) == 0;
        return count;
    }

    private void Unpin(int count)
    {
        for (int index = 0; index < count; index++)
            _pins[index].Dispose();
    }

    private long ReadThrough(SafeFileHandle file, long position, ReadOnlySpan<Memory<byte>> segments, long skip, long length)
    {
        IoVector vector = new() { Address = (nint)_bounce, Length = (nuint)length };
        long done = FileNative.Read(file, &vector, 1, position, 0);
        if (done > 0)
            Spread(segments, skip, new Span<byte>(_bounce, (int)done), intoSegments: true);
        return done;
    }

    private long WriteThrough(SafeFileHandle file, long position, ReadOnlySpan<Memory<byte>> segments, long skip, long length)
    {
        Spread(segments, skip, new Span<byte>(_bounce, (int)length), intoSegments: false);
        return WriteBounce(file, position, length);
    }

    private long WriteBounce(SafeFileHandle file, long position, long length)
    {
        IoVector vector = new() { Address = (nint)_bounce, Length = (nuint)length };
        return FileNative.Write(file, &vector, 1, position);
    }

    private static void Spread(ReadOnlySpan<Memory<byte>> segments, long skip, Span<byte> bytes, bool intoSegments)
    {
        foreach (ref readonly Memory<byte> segment in segments)
        {
            if (skip >= segment.Length)
            {
                skip -= segment.Length;
                continue;
            }

            Span<byte> part = segment.Span[(int)skip..];
            int size = Math.Min(part.Length, bytes.Length);
            if (intoSegments)
                bytes[..size].CopyTo(part);
            else
                part[..size].CopyTo(bytes);
            bytes = bytes[size..];
            if (bytes.IsEmpty)
                return;
            skip = 0;
        }
    }
}
