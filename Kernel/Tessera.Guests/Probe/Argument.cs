namespace Tessera.Guests.Probe;

/// <summary>Where a value of the probe comes from when it runs.</summary>
internal enum ArgumentKind
{
    /// <summary>The value itself.</summary>
    Constant,

    /// <summary>The machine frame of one of the image's pages, shifted and added to.</summary>
    Frame,

    /// <summary>Eight bytes of memory, added to.</summary>
    Slot,
}

/// <summary>A value that the probe hands to a call or puts into memory.</summary>
/// <param name="Kind">Where it comes from.</param>
/// <param name="Value">The constant, or an address of the image.</param>
/// <param name="Shift">How far a frame's number is shifted to the left.</param>
/// <param name="Plus">What is added at the end.</param>
internal readonly record struct Argument(ArgumentKind Kind, ulong Value, int Shift = 0, long Plus = 0)
{
    public static implicit operator Argument(ulong value) => new(ArgumentKind.Constant, value);

    public static implicit operator Argument(long value) => new(ArgumentKind.Constant, (ulong)value);

    public static implicit operator Argument(int value) => new(ArgumentKind.Constant, (ulong)value);

    public static implicit operator Argument(ushort value) => new(ArgumentKind.Constant, value);

    /// <summary>The frame number of a page of the image.</summary>
    public static Argument Frame(ulong address) => new(ArgumentKind.Frame, address);

    /// <summary>The page-table entry that maps a page of the image.</summary>
    public static Argument Entry(ulong address, int flags) => new(ArgumentKind.Frame, address, 12, flags);

    /// <summary>The machine address of a place in the image.</summary>
    public static Argument Machine(ulong address) => new(ArgumentKind.Frame, address & ~4095UL, 12, (long)(address & 4095));

    /// <summary>What memory holds when it is asked for.</summary>
    public static Argument Slot(ulong address, long plus = 0) => new(ArgumentKind.Slot, address, 0, plus);
}
