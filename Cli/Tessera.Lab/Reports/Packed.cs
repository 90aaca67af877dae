namespace Tessera.Lab.Reports;

/// <summary>Whole numbers, 7 bits a byte with the least significant first (LEB128), as base64: a tenth of what JSON would take.</summary>
internal sealed class Packed
{
    private readonly List<byte> _bytes = [];

    /// <summary>Adds a number that is not negative.</summary>
    public void Add(long value)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(value);
        for (; value >= 128; value >>= 7)
            _bytes.Add((byte)(value | 128));
        _bytes.Add((byte)value);
    }

    /// <summary>All numbers.</summary>
    public string ToBase64() => Convert.ToBase64String(System.Runtime.InteropServices.CollectionsMarshal.AsSpan(_bytes));
}
