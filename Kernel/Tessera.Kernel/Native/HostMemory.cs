using System.Runtime.InteropServices;
using Tmds.Linux;

namespace Tessera.Kernel.Native;

/// <summary>Zeroed anonymous host memory behind guest frames; pages cost nothing until touched.</summary>
internal sealed unsafe class HostMemory : SafeHandle
{
    private const long HugePage = 2 << 20;

    private readonly byte* _mapping;
    private readonly long _mappedBytes;

    /// <summary>Maps memory aligned to 2 MiB, so that the host can back it with huge pages.</summary>
    /// <exception cref="InvalidOperationException">The host refused.</exception>
    public HostMemory(long bytes)
        : base(-1, ownsHandle: true)
    {
        Bytes = bytes;
        _mappedBytes = bytes + HugePage;
        // SAFETY: a new mapping, where the kernel has room for it; it lives until the handle is released.
        _mapping = (byte*)LibC.mmap(null, Size(_mappedBytes), LibC.PROT_READ | LibC.PROT_WRITE, LibC.MAP_PRIVATE | LibC.MAP_ANONYMOUS | LibC.MAP_NORESERVE, -1, 0);
        if (_mapping == LibC.MAP_FAILED)
            throw new InvalidOperationException($"The host refused {bytes >> 20} MiB of address space (mmap: errno {LibC.errno}). Give the domains less memory.");
        SetHandle((nint)(((nuint)_mapping + HugePage - 1) & ~(nuint)(HugePage - 1)));
        _ = LibC.madvise(Pointer, Size(bytes), LibC.MADV_DONTFORK);
        if (bytes >= HugePage)
            _ = LibC.madvise(Pointer, Size(bytes), LibC.MADV_HUGEPAGE);
    }

    /// <summary>Usable size.</summary>
    public long Bytes { get; }

    /// <inheritdoc/>
    public override bool IsInvalid => handle == -1;

    /// <summary>The first byte; valid until disposal.</summary>
    public byte* Pointer => (byte*)handle;

    /// <summary>Gives pages back to the host; they read as zero afterwards.</summary>
    public void Discard(long offset, long bytes) => _ = LibC.madvise(Pointer + offset, Size(bytes), LibC.MADV_DONTNEED);

    /// <summary>How many of the bytes the host has backed.</summary>
    public long ResidentBytes()
    {
        long pages = Bytes / Environment.SystemPageSize;
        byte[] map = new byte[pages];
        // SAFETY: the map has one byte for each page of the range, which is mapped for this object's life.
        fixed (byte* vector = map)
        {
            if (LibC.mincore(Pointer, Size(Bytes), vector) != 0)
                return 0;
        }

        long resident = 0;
        foreach (byte page in map)
            resident += page & 1;
        return resident * Environment.SystemPageSize;
    }

    /// <inheritdoc/>
    protected override bool ReleaseHandle() => LibC.munmap(_mapping, Size(_mappedBytes)) == 0;

    private static size_t Size(long bytes) => (size_t)(ulong)bytes;
}
