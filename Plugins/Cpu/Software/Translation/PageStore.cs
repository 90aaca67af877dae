using System.Numerics;

namespace Tessera.Plugins.Cpu.Software.Translation;

/// <summary>Finds the code of a page by the page's contents.</summary>
internal sealed unsafe class PageStore : IDisposable
{
    // SAFETY: reads the page given, 4 KiB, and the copies.

    /// <summary>Pages with the same hash: a guest that knew how to make them would have no more than these compared.</summary>
    private const int MostWithOneHash = 8;
    private const int Lanes = 4;

    private readonly Dictionary<ulong, PageCode> _byHash = [];
    private readonly List<PageCode> _all = [];
    private readonly ulong _seed = (ulong)Random.Shared.NextInt64() | 1;

    /// <summary>How many there are.</summary>
    public int Count => _all.Count;

    /// <summary>The code of a page with these contents; a new one if there is none yet.</summary>
    public PageCode Of(byte* contents)
    {
        PageCode added = new(contents);
        ulong hash = HashOf(added.Contents);
        int compared = 0;
        for (PageCode? page = _byHash.GetValueOrDefault(hash); page is not null; page = page.Next)
        {
            if (new ReadOnlySpan<byte>(page.Contents, PageCode.Bytes).SequenceEqual(new ReadOnlySpan<byte>(added.Contents, PageCode.Bytes)))
            {
                added.Dispose();
                return page;
            }

            compared++;
        }

        _all.Add(added);
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
        foreach (PageCode page in _all)
            page.Dispose();
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
