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

/// <summary>Decodes single instructions.</summary>
internal sealed unsafe class InstructionReader
{
    // SAFETY: reads as PageReader does.
    private readonly PageReader _reader = new();
    private readonly Decoder[] _decoders;

    public InstructionReader() => _decoders = [Decoder.Create(64, _reader), Decoder.Create(32, _reader)];

    /// <summary>Decodes one instruction whose bytes lie in one page.</summary>
    public Instruction Decode(CodeMode mode, ulong rip, byte* host)
    {
        _reader.Begin(host);
        return Decode(mode, rip);
    }

    /// <summary>Decodes one instruction whose bytes may lie in two pages.</summary>
    public Instruction Decode(CodeMode mode, ulong rip, byte* first, byte* second)
    {
        _reader.Begin(first, second);
        return Decode(mode, rip);
    }

    /// <summary>Whether the instruction at an address reaches into the next page.</summary>
    public bool Crosses(CodeMode mode, ulong rip, byte* host)
    {
        if ((rip & 4095) <= 4096 - PageReader.LongestInstruction)
            return false;
        Instruction instruction = Decode(mode, rip, host);
        return instruction.IsInvalid && Of(mode).LastError == DecoderError.NoMoreBytes;
    }

    /// <summary>The decoder of a mode, for what begins at an address of this process.</summary>
    public Decoder Begin(CodeMode mode, ulong rip, byte* host)
    {
        _reader.Begin(host);
        Decoder decoder = Of(mode);
        decoder.IP = rip;
        return decoder;
    }

    /// <summary>Goes on elsewhere in the same page.</summary>
    public void GoOn(byte* host) => _reader.Begin(host);

    private Decoder Of(CodeMode mode) => _decoders[(int)(mode & CodeMode.Compat)];

    private Instruction Decode(CodeMode mode, ulong rip)
    {
        Decoder decoder = Of(mode);
        decoder.IP = rip;
        decoder.Decode(out Instruction instruction);
        return instruction;
    }
}
