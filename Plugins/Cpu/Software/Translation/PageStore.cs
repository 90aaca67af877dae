using System.Numerics;
using System.Runtime.InteropServices;
using Tessera.Plugins.Cpu.Software.Native;

namespace Tessera.Plugins.Cpu.Software.Translation;

/// <summary>Finds the code of a page by the page's contents.</summary>
internal sealed unsafe class PageStore : IDisposable
{
    // SAFETY: reads the page given, 4 KiB, and the copies, which lie in slabs that are freed in Dispose.

    /// <summary>Pages with the same hash: a guest that knew how to make them would have no more than these compared.</summary>
    private const int MostWithOneHash = 8;
    private const int Lanes = 4;
    private const int SlabPages = 64;

    private readonly Dictionary<ulong, PageCode> _byHash = [];
    private readonly List<nint> _slabs = [];
    private readonly ulong _seed = (ulong)Random.Shared.NextInt64() | 1;

    /// <summary>How many there are.</summary>
    public int Count { get; private set; }

    /// <summary>The code of a page with these contents; a new one if there is none yet.</summary>
    public PageCode Of(byte* contents)
    {
        // Copied first: the guest may write it meanwhile.
        byte* copy = Room();
        Buffer.MemoryCopy(contents, copy, PageCode.Bytes, PageCode.Bytes);
        ulong hash = HashOf(copy);
        int compared = 0;
        for (PageCode? page = _byHash.GetValueOrDefault(hash); page is not null; page = page.Next)
        {
            if (new ReadOnlySpan<byte>(page.Contents, PageCode.Bytes).SequenceEqual(new ReadOnlySpan<byte>(copy, PageCode.Bytes)))
                return page;
            compared++;
        }

        Count++;
        PageCode added = new(copy);
        if (compared < MostWithOneHash)
        {
            added.Next = _byHash.GetValueOrDefault(hash);
            _byHash[hash] = added;
        }

        return added;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (nint slab in _slabs)
            NativeMemory.AlignedFree((void*)slab);
    }

    /// <summary>Room for the next copy.</summary>
    private byte* Room()
    {
        if (Count == _slabs.Count * SlabPages)
        {
            nint slab = (nint)NativeMemory.AlignedAlloc(SlabPages * PageCode.Bytes, PageCode.Bytes);
            NativeCalls.Populate(slab, SlabPages * PageCode.Bytes, write: true);
            _slabs.Add(slab);
        }

        return (byte*)_slabs[^1] + (Count % SlabPages * PageCode.Bytes);
    }

    private ulong HashOf(byte* contents)
    {
        ulong* words = (ulong*)contents;
        ulong hash = _seed;
        for (int word = 0; word < PageCode.Bytes / sizeof(ulong); word += Lanes)
        {
            ulong first = Fold(words[word] ^ _seed, words[word + 1] ^ hash);
            ulong second = Fold(words[word + 2] ^ BitOperations.RotateLeft(_seed, 23), words[word + 3] ^ BitOperations.RotateLeft(hash, 41));
            hash = BitOperations.RotateLeft(hash, 7) ^ first ^ second;
        }

        return hash;
    }

    private static ulong Fold(ulong left, ulong right)
    {
        ulong high = Math.BigMul(left, right, out ulong low);
        return high ^ low;
    }
}
