using System.Runtime.InteropServices;
using Tessera.Sdk;

namespace Tessera.Kernel.Native;

/// <summary>Zeroed anonymous host memory behind guest frames; pages cost nothing until touched.</summary>
internal sealed unsafe partial class HostMemory : SafeHandle
{
    private const int ProtReadWrite = 3;
    private const int MapPrivateAnonymousNoReserve = 0x02 | 0x20 | 0x4000;
    private const int AdviceHugePage = 14;
    private const int AdviceDontNeed = 4;
    private const int AdviceDontFork = 10;
    private const nuint HugePage = 2 << 20;

    private readonly nint _mapping;
    private readonly nuint _mappedBytes;

    /// <summary>Maps memory aligned to 2 MiB, so that the host can back it with huge pages.</summary>
    /// <exception cref="InvalidOperationException">The host refused.</exception>
    public HostMemory(long bytes)
        : base(-1, ownsHandle: true)
    {
        Bytes = bytes;
        _mappedBytes = (nuint)bytes + HugePage;
        _mapping = Mmap(0, _mappedBytes, ProtReadWrite, MapPrivateAnonymousNoReserve, -1, 0);
        if (_mapping == -1)
            throw new InvalidOperationException($"The host refused {bytes >> 20} MiB of address space (mmap: errno {Marshal.GetLastPInvokeError()}). Give the domains less memory.");
        SetHandle((nint)(((nuint)_mapping + HugePage - 1) & ~(HugePage - 1)));
        _ = Madvise(handle, (nuint)bytes, AdviceDontFork);
        if (bytes >= (long)HugePage)
            _ = Madvise(handle, (nuint)bytes, AdviceHugePage);
    }

    /// <summary>Usable size.</summary>
    public long Bytes { get; }

    /// <inheritdoc/>
    public override bool IsInvalid => handle == -1;

    /// <summary>The first byte; valid until disposal.</summary>
    public byte* Pointer => (byte*)handle;

    /// <summary>Gives pages back to the host; they read as zero afterwards.</summary>
    public void Discard(long offset, long bytes) => _ = Madvise(handle + (nint)offset, (nuint)bytes, AdviceDontNeed);

    /// <summary>How many of the bytes the host has backed.</summary>
    public long ResidentBytes()
    {
        long pages = Bytes / Environment.SystemPageSize;
        byte[] map = new byte[pages];
        // SAFETY: the map has one byte for each page of the range, which is mapped for this object's life.
        fixed (byte* vector = map)
        {
            if (Mincore(handle, (nuint)Bytes, vector) != 0)
                return 0;
        }

        long resident = 0;
        foreach (byte page in map)
            resident += page & 1;
        return resident * Environment.SystemPageSize;
    }

    /// <inheritdoc/>
    protected override bool ReleaseHandle() => Munmap(_mapping, _mappedBytes) == 0;

    [LibraryImport("libc", EntryPoint = "mmap", SetLastError = true)]
    private static partial nint Mmap(nint address, nuint length, int protection, int flags, int file, nint offset);

    [LibraryImport("libc", EntryPoint = "munmap", SetLastError = true)]
    private static partial int Munmap(nint address, nuint length);

    [LibraryImport("libc", EntryPoint = "madvise", SetLastError = true)]
    private static partial int Madvise(nint address, nuint length, int advice);

    [LibraryImport("libc", EntryPoint = "mincore", SetLastError = true)]
    private static partial int Mincore(nint address, nuint length, byte* vector);
}
