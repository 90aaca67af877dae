namespace Tessera.Plugins.Cpu.Software.Translation;

/// <summary>
/// What is translated of a page with certain contents. It belongs to no address and to no domain: whoever runs a page with these bytes, wherever it is mapped,
/// runs this code. The bytes are a copy, so that nobody changes them while they are translated.
/// </summary>
internal sealed unsafe class PageCode
{
    // SAFETY: the copy belongs to the store of pages, which frees it when nobody runs or makes code of the generation any more.
    public const int Bytes = 4096;

    /// <summary>In place of code: the instruction there lies across two pages.</summary>
    public const nint Crossing = -1;

    private const int BucketShift = 6;
    private const int BucketSize = 1 << BucketShift;

    private readonly nint[]?[] _blocks = new nint[Bytes >> BucketShift][];
    private readonly Lock _gate = new();
    private Dictionary<(CodeMode Mode, int Offset), nint>? _otherModes;
    private Dictionary<(CodeMode Mode, int Offset, PageCode Second), nint>? _crossing;

    /// <param name="contents">The copy.</param>
    public PageCode(byte* contents) => Contents = contents;

    /// <summary>The page's bytes.</summary>
    public byte* Contents { get; }

    /// <summary>The next one with the same hash.</summary>
    public PageCode? Next { get; set; }

    /// <summary>The block that begins at an offset, <see cref="Crossing"/>, or 0.</summary>
    public nint At(CodeMode mode, int offset)
    {
        if (mode == CodeMode.Long)
            return _blocks[offset >> BucketShift] is { } bucket ? Volatile.Read(ref bucket[offset & (BucketSize - 1)]) : 0;
        lock (_gate)
            return _otherModes?.GetValueOrDefault((mode, offset)) ?? 0;
    }

    /// <summary>The block of the instruction that begins at an offset and ends in another page, or 0.</summary>
    public nint At(CodeMode mode, int offset, PageCode second)
    {
        lock (_gate)
            return _crossing?.GetValueOrDefault((mode, offset, second)) ?? 0;
    }

    /// <summary>Adds a block whose code is written.</summary>
    public void Add(CodeMode mode, int offset, nint code)
    {
        if (mode == CodeMode.Long)
        {
            nint[] bucket = _blocks[offset >> BucketShift] ?? new nint[BucketSize];
            Volatile.Write(ref bucket[offset & (BucketSize - 1)], code);
            Volatile.Write(ref _blocks[offset >> BucketShift], bucket);
            return;
        }

        lock (_gate)
            (_otherModes ??= [])[(mode, offset)] = code;
    }

    /// <summary>Adds the block of an instruction that ends in another page.</summary>
    public void Add(CodeMode mode, int offset, PageCode second, nint code)
    {
        lock (_gate)
            (_crossing ??= [])[(mode, offset, second)] = code;
    }
}
