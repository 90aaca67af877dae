using System.Runtime.InteropServices;
using Tmds.Linux;

namespace Tessera.Kernel.Native;

/// <summary>
/// The machine's host memory behind guest frames: pieces of a few large mappings, zeroed, which cost nothing until touched. Every KVM machine
/// of a process looks at each change of its mappings, and each new one locks them all; so domains that come and go change none.
/// </summary>
/// <remarks>Any thread. The mappings go with the last piece after <see cref="Dispose"/>.</remarks>
internal sealed unsafe class HostArena : IDisposable
{
    // SAFETY: addresses are only handed on; what a piece covers stays mapped until it is returned, and belongs to no other piece meanwhile.
    private const long Page = 4096;
    private const long HugePage = 2 << 20;
    private const long LeastMapping = 256 << 20;

    private readonly Lock _gate = new();
    private readonly List<(nint Start, long Bytes)> _mappings = [];

    /// <summary>What is free, by address: in mappings of small pages, and in those that the host may back with huge ones.</summary>
    private readonly SortedList<nint, long>[] _free = [[], []];
    private int _pieces;
    private bool _closed;

    /// <summary>Takes a piece: from 2 MiB on aligned to that, so that the host can back it with huge pages.</summary>
    /// <exception cref="InvalidOperationException">The host refused.</exception>
    public nint Take(long bytes)
    {
        long size = SizeOf(bytes);
        lock (_gate)
        {
            ObjectDisposedException.ThrowIf(_closed, this);
            SortedList<nint, long> free = _free[size < HugePage ? 0 : 1];
            int index = 0;
            while (index < free.Count && free.Values[index] < size)
                index++;
            if (index == free.Count)
                index = Map(free, size);
            (nint start, long left) = (free.Keys[index], free.Values[index] - size);
            free.RemoveAt(index);
            if (left > 0)
                free.Add(start + (nint)size, left);
            _pieces++;
            return start;
        }
    }

    /// <summary>Gives a piece back; it reads as zero for whoever takes it next.</summary>
    public void Return(nint start, long bytes)
    {
        long size = SizeOf(bytes);
        bool isEmpty = LibC.madvise((void*)start, (size_t)(ulong)size, LibC.MADV_DONTNEED) == 0;
        lock (_gate)
        {
            // One that the host did not empty is nobody's any more.
            if (isEmpty)
                Free(_free[size < HugePage ? 0 : 1], start, size);
            if (--_pieces == 0 && _closed)
                Unmap();
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        lock (_gate)
        {
            if (!_closed && _pieces == 0)
                Unmap();
            _closed = true;
        }
    }

    private static long SizeOf(long bytes) => (bytes + (bytes < HugePage ? Page : HugePage) - 1) & -(bytes < HugePage ? Page : HugePage);

    private static void Free(SortedList<nint, long> free, nint start, long bytes)
    {
        free.Add(start, bytes);
        int index = free.IndexOfKey(start);
        if (index + 1 < free.Count && free.Keys[index + 1] == start + (nint)bytes)
        {
            free.SetValueAtIndex(index, bytes + free.Values[index + 1]);
            free.RemoveAt(index + 1);
        }

        if (index > 0 && free.Keys[index - 1] + (nint)free.Values[index - 1] == start)
        {
            free.SetValueAtIndex(index - 1, free.Values[index - 1] + free.Values[index]);
            free.RemoveAt(index);
        }
    }

    /// <summary>Makes one more mapping; where in the list it is.</summary>
    private int Map(SortedList<nint, long> free, long size)
    {
        // More than is asked for, if the host has that much address space for it.
        if (!TryMap(Math.Max(size, LeastMapping), out nint start, out long bytes) && !TryMap(size, out start, out bytes))
            throw new InvalidOperationException($"The host refused {size >> 20} MiB of address space (mmap: {Marshal.GetPInvokeErrorMessage(LibC.errno)}). Give the domains less memory.");
        _ = LibC.madvise((void*)start, (size_t)(ulong)bytes, LibC.MADV_DONTFORK);
        if (size >= HugePage)
            _ = LibC.madvise((void*)start, (size_t)(ulong)bytes, LibC.MADV_HUGEPAGE);
        free.Add(start, bytes);
        return free.IndexOfKey(start);
    }

    private bool TryMap(long size, out nint start, out long bytes)
    {
        long mapped = size + HugePage;
        void* mapping = LibC.mmap(
            null, (size_t)(ulong)mapped, LibC.PROT_READ | LibC.PROT_WRITE, LibC.MAP_PRIVATE | LibC.MAP_ANONYMOUS | LibC.MAP_NORESERVE, -1, 0);
        (start, bytes) = (0, size);
        if (mapping == LibC.MAP_FAILED)
            return false;
        _mappings.Add(((nint)mapping, mapped));
        start = (nint)(((nuint)mapping + HugePage - 1) & ~(nuint)(HugePage - 1));
        return true;
    }

    private void Unmap()
    {
        foreach ((nint start, long bytes) in _mappings)
            _ = LibC.munmap((void*)start, (size_t)(ulong)bytes);
        _mappings.Clear();
    }
}
