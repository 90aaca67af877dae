using System.Globalization;

namespace Tessera.Sdk.Conformance.Block;

/// <summary>What a disk must hold: each sector's bytes now, and those that a crash may leave.</summary>
internal sealed class BlockModel
{
    private readonly byte[] _now;
    private readonly List<byte[]>?[] _older;
    private readonly bool[] _maybeZero;
    private readonly byte[] _zero;

    /// <summary>A disk of which this is what it holds, stable.</summary>
    public BlockModel(byte[] contents, int sector)
    {
        _now = contents;
        Sector = sector;
        _older = new List<byte[]>?[contents.Length / sector];
        _maybeZero = new bool[_older.Length];
        _zero = new byte[sector];
    }

    /// <summary>Bytes of a sector.</summary>
    public int Sector { get; }

    public int Sectors => _older.Length;

    public void Write(int first, ReadOnlySpan<byte> bytes)
    {
        for (int index = 0; index < bytes.Length / Sector; index++)
            Set(first + index, bytes.Slice(index * Sector, Sector));
    }

    public void Zero(int first, int count)
    {
        for (int index = first; index < first + count; index++)
            Set(index, _zero);
    }

    public void Discard(int first, int count)
    {
        for (int index = first; index < first + count; index++)
        {
            _maybeZero[index] = true;
            Remember(index);
            _older[index]!.Add(_zero);
        }
    }

    public void Flush() => Array.Clear(_older);

    /// <summary>Compares with what was read; null when it may be so.</summary>
    public string? Look(int first, ReadOnlySpan<byte> bytes)
    {
        for (int index = 0; index < bytes.Length / Sector; index++)
        {
            ReadOnlySpan<byte> found = bytes.Slice(index * Sector, Sector);
            int sector = first + index;
            if (found.SequenceEqual(Now(sector)))
                continue;
            if (!_maybeZero[sector] || !found.SequenceEqual(_zero))
                return $"sector {sector} reads {Name(found)}, and {Name(Now(sector))} was written there last";
            found.CopyTo(Now(sector));
        }

        return null;
    }

    /// <summary>Compares the whole disk with what a crash may leave, and goes on from there.</summary>
    public string? LookAfterCrash(ReadOnlySpan<byte> disk)
    {
        for (int sector = 0; sector < Sectors; sector++)
        {
            ReadOnlySpan<byte> found = disk.Slice(sector * Sector, Sector);
            if (!found.SequenceEqual(Now(sector)) && !IsOlder(sector, found) && !(_maybeZero[sector] && found.SequenceEqual(_zero)))
            {
                return $"after the crash sector {sector} reads {Name(found)}; at the last flush or since, it held "
                    + string.Join(", ", (_older[sector] ?? []).Append(Now(sector).ToArray()).Select(bytes => Name(bytes)).Distinct());
            }

            found.CopyTo(Now(sector));
        }

        Array.Clear(_older);
        Array.Clear(_maybeZero);
        return null;
    }

    /// <summary>Something short to tell contents apart by: FNV-1a.</summary>
    private static string Name(ReadOnlySpan<byte> bytes)
    {
        if (bytes.IndexOfAnyExcept((byte)0) < 0)
            return "zeroes";
        uint sum = 2166136261;
        foreach (byte value in bytes)
            sum = unchecked((sum ^ value) * 16777619);
        return sum.ToString("x8", CultureInfo.InvariantCulture);
    }

    private bool IsOlder(int sector, ReadOnlySpan<byte> found)
    {
        foreach (byte[] older in _older[sector] ?? [])
        {
            if (found.SequenceEqual(older))
                return true;
        }

        return false;
    }

    private Span<byte> Now(int sector) => _now.AsSpan(sector * Sector, Sector);

    private void Remember(int sector) => (_older[sector] ??= []).Add(Now(sector).ToArray());

    private void Set(int sector, ReadOnlySpan<byte> bytes)
    {
        Remember(sector);
        if (_maybeZero[sector])
            _older[sector]!.Add(_zero);
        _maybeZero[sector] = false;
        bytes.CopyTo(Now(sector));
    }
}
