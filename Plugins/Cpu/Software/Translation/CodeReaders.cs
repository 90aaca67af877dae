using Iced.Intel;

namespace Tessera.Plugins.Cpu.Software.Translation;

/// <summary>Reads guest code from one page, or the bytes of an instruction that lies across two.</summary>
internal sealed unsafe class PageReader : CodeReader
{
    // SAFETY: reads stay between the address given and the end of its page, or in the array.
    public const int LongestInstruction = 15;
    private readonly byte[] _crossing = new byte[2 * LongestInstruction];
    private byte* _next;
    private byte* _end;
    private int _crossingNext;
    private int _crossingEnd;

    /// <summary>Reads from a host address to the end of its page.</summary>
    public void Begin(byte* host)
    {
        _next = host;
        _end = (byte*)(((nint)host | 4095) + 1);
        _crossingNext = _crossingEnd = 0;
    }

    /// <summary>Reads an instruction that begins in one page and ends in another.</summary>
    public void Begin(byte* first, byte* second)
    {
        int bytes = Math.Min(4096 - (int)((nint)first & 4095), LongestInstruction);
        new ReadOnlySpan<byte>(first, bytes).CopyTo(_crossing);
        new ReadOnlySpan<byte>(second, LongestInstruction).CopyTo(_crossing.AsSpan(bytes));
        _next = _end = null;
        (_crossingNext, _crossingEnd) = (0, bytes + LongestInstruction);
    }

    /// <inheritdoc/>
    public override int ReadByte() =>
        _next < _end ? *_next++ : _crossingNext < _crossingEnd ? _crossing[_crossingNext++] : -1;
}
