using Tmds.Linux;

namespace Tessera.Kernel.Native;

/// <summary>Zeroed host memory behind guest frames, a piece of the machine's.</summary>
internal sealed unsafe class HostMemory(HostArena arena, long bytes) : IDisposable
{
    private const int PopulateForWriting = 23; // MADV_POPULATE_WRITE, Linux 5.14

    private nint _start = arena.Take(bytes);

    /// <summary>Usable size.</summary>
    public long Bytes => bytes;

    /// <summary>The first byte; valid until disposal.</summary>
    public byte* Pointer => (byte*)_start;

    /// <summary>
    /// Has pages that are about to be written backed now. A page that is read before it is written is backed twice, and each KVM machine of
    /// the process is asked about the second time.
    /// </summary>
    public void Populate(long offset, long length) => _ = LibC.madvise(Pointer + offset, Size(length), PopulateForWriting);

    /// <summary>Gives pages back to the host; they read as zero afterwards.</summary>
    public void Discard(long offset, long length) => _ = LibC.madvise(Pointer + offset, Size(length), LibC.MADV_DONTNEED);

    /// <summary>How many of the first bytes the host has backed.</summary>
    public long ResidentBytes(long length)
    {
        long pages = length / Environment.SystemPageSize;
        byte[] map = new byte[pages];
        // SAFETY: the map has one byte for each page of the range, which is mapped for this object's life.
        fixed (byte* vector = map)
        {
            if (LibC.mincore(Pointer, Size(length), vector) != 0)
                return 0;
        }

        long resident = 0;
        foreach (byte page in map)
            resident += page & 1;
        return resident * Environment.SystemPageSize;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        nint start = Interlocked.Exchange(ref _start, 0);
        if (start != 0)
            arena.Return(start, bytes);
    }

    private static size_t Size(long length) => (size_t)(ulong)length;
}
