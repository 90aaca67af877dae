using System.Buffers.Binary;

namespace Tessera.Plugins.Block.CopyOnWrite;

/// <summary>
/// Which blocks are in the overlay: one bit each, only ever set. Knows which of its pages have changed since they were last written.
/// Thread-safe without locks: a bit is set after its block's data has been written, and a page is copied after its mark has been taken.
/// </summary>
internal sealed class OverlayMap
{
    /// <summary>Bytes of the bitmap that are written at once.</summary>
    public const int PageBytes = 4096;

    private const int PageWords = PageBytes / sizeof(ulong);

    private readonly ulong[] _words;
    private readonly int[] _changed;

    /// <summary>Takes the bitmap as read from the file.</summary>
    public OverlayMap(ReadOnlySpan<byte> bitmap)
    {
        _words = new ulong[bitmap.Length / sizeof(ulong)];
        for (int index = 0; index < _words.Length; index++)
            _words[index] = BinaryPrimitives.ReadUInt64LittleEndian(bitmap[(index * sizeof(ulong))..]);
        _changed = new int[bitmap.Length / PageBytes];
    }

    /// <summary>Pages of the bitmap.</summary>
    public int Pages => _changed.Length;

    /// <summary>Whether a block is in the overlay.</summary>
    public bool Has(long block) => (Volatile.Read(ref _words[block >> 6]) >> (int)(block & 63) & 1) != 0;

    /// <summary>Whether all of some blocks are.</summary>
    public bool HasAll(long first, long end) => RunEnd(first, end, present: true) == end;

    /// <summary>The first block from some block on, before an end, that is not as asked.</summary>
    public long RunEnd(long first, long end, bool present)
    {
        ulong same = present ? ulong.MaxValue : 0;
        long block = first;
        while (block < end)
        {
            if ((block & 63) == 0 && block + 64 <= end && Volatile.Read(ref _words[block >> 6]) == same)
                block += 64;
            else if (Has(block) == present)
                block++;
            else
                break;
        }

        return block;
    }

    /// <summary>Marks blocks as present; their data has been written.</summary>
    public void Add(long first, long end)
    {
        for (long block = first; block < end;)
        {
            int bit = (int)(block & 63);
            int count = (int)Math.Min(64 - bit, end - block);
            ulong mask = (count == 64 ? ulong.MaxValue : (1UL << count) - 1) << bit;
            _ = Interlocked.Or(ref _words[block >> 6], mask);
            Mark((int)((block >> 6) / PageWords));
            block += count;
        }
    }

    /// <summary>Says that a page has still to be written.</summary>
    public void Mark(int page) => Volatile.Write(ref _changed[page], 1);

    /// <summary>Whether a page has to be written.</summary>
    public bool HasChanged(int page) => Volatile.Read(ref _changed[page]) != 0;

    /// <summary>Takes a page to write: what it holds now.</summary>
    public void Take(int page, Span<byte> copy)
    {
        _ = Interlocked.Exchange(ref _changed[page], 0);
        Span<ulong> words = _words.AsSpan(page * PageWords, PageWords);
        for (int index = 0; index < words.Length; index++)
            BinaryPrimitives.WriteUInt64LittleEndian(copy[(index * sizeof(ulong))..], Volatile.Read(ref words[index]));
    }
}
