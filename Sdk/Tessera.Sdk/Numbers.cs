namespace Tessera.Sdk;

/// <summary>Machine frame number: a 4 KiB frame of one domain's machine. Each domain has numbers of its own, the same in all.</summary>
/// <param name="Value">The frame number; its machine address is this times 4096.</param>
public readonly record struct Mfn(long Value) : IComparable<Mfn>
{
    /// <summary>No frame.</summary>
    public static readonly Mfn None = new(-1);

    /// <summary>The machine address of the frame's first byte.</summary>
    public ulong Address => (ulong)Value << 12;

    /// <summary>The frame some frames further on.</summary>
    public static Mfn operator +(Mfn frame, long count) => new(frame.Value + count);

    /// <inheritdoc/>
    public int CompareTo(Mfn other) => Value.CompareTo(other.Value);

    /// <inheritdoc/>
    public override string ToString() => $"mfn {Value:x}";
}

/// <summary>Pseudo-physical frame number: a frame as its domain numbers it, from 0.</summary>
/// <param name="Value">The frame number.</param>
public readonly record struct Pfn(long Value)
{
    /// <inheritdoc/>
    public override string ToString() => $"pfn {Value:x}";
}

/// <summary>An address in a guest's virtual address space.</summary>
/// <param name="Value">The address; canonical addresses only mean something.</param>
public readonly record struct VirtualAddress(ulong Value)
{
    /// <summary>True when bits 48 to 63 repeat bit 47.</summary>
    public bool IsCanonical => (ulong)((long)(Value << 16) >> 16) == Value;

    /// <inheritdoc/>
    public override string ToString() => $"0x{Value:x16}";
}

/// <summary>A domain's number, unique while the machine runs.</summary>
/// <param name="Value">0 is reserved for the VMM itself; guests are numbered from 1.</param>
public readonly record struct DomainId(ushort Value) : IComparable<DomainId>
{
    /// <inheritdoc/>
    public int CompareTo(DomainId other) => Value.CompareTo(other.Value);

    /// <inheritdoc/>
    public override string ToString() => $"d{Value}";
}

/// <summary>One virtual CPU of one domain.</summary>
/// <param name="Domain">The domain it belongs to.</param>
/// <param name="Index">Its index in the domain, from 0.</param>
public readonly record struct VcpuId(DomainId Domain, int Index)
{
    /// <inheritdoc/>
    public override string ToString() => $"{Domain}v{Index}";
}

/// <summary>One physical CPU of the machine: an index into the host CPUs in use, from 0.</summary>
/// <param name="Index">The index.</param>
public readonly record struct PcpuId(int Index)
{
    /// <inheritdoc/>
    public override string ToString() => $"p{Index}";
}

/// <summary>An event channel's port number within one domain.</summary>
/// <param name="Value">The port; 0 is never bound.</param>
public readonly record struct EventPort(int Value);

/// <summary>A grant reference within one domain's grant table.</summary>
/// <param name="Value">The index of the grant entry.</param>
public readonly record struct GrantRef(uint Value);
