using Tessera.Kernel.Memory;
using Tessera.Sdk;

namespace Tessera.Kernel.Grants;

/// <summary>What a grant is wanted for.</summary>
internal enum GrantUse
{
    /// <summary>A mapping: whole pages only, no grants passed on.</summary>
    Map,

    /// <summary>A copy, which may also use part of a page or a grant that was passed on.</summary>
    Copy,
}

/// <summary>Finds the grant table of a live domain; null for domains that are none.</summary>
internal interface IGrantDirectory
{
    /// <summary>Any thread.</summary>
    GrantTable? FindGrants(ushort domain);
}

/// <summary>One use of a grant: as long as it is held, the frame is the granter's and its memory is there. To be given back once, by <see cref="GrantTable.Unpin"/>.</summary>
internal struct GrantPin
{
    /// <summary>Whose grant.</summary>
    public GrantTable Table;

    /// <summary>Which.</summary>
    public uint Reference;

    /// <summary>Nothing may be written.</summary>
    public bool IsReadOnly;

    /// <summary>First byte of the page that may be used.</summary>
    public ushort Offset;

    /// <summary>How many bytes from there.</summary>
    public ushort Length;

    /// <summary>The frame, of <see cref="Table"/>'s domain or of <see cref="Behind"/>'s.</summary>
    public Mfn Frame;

    /// <summary>For a grant passed on: whose it is at the end; null otherwise.</summary>
    public GrantTable? Behind;

    /// <summary>For a grant passed on: which of <see cref="Behind"/>'s.</summary>
    public uint BehindReference;

    /// <summary>The memory that the frame is in.</summary>
    public readonly DomainMemory Memory => (Behind ?? Table).Memory;

    /// <summary>The frame's first byte in this process.</summary>
    // SAFETY: written to only when the pin is not read-only, and then the frame is held as writable. The pin keeps the memory mapped; frames do not change their owner.
    public readonly unsafe byte* Address => Memory.PageForWriting(Frame);
}

/// <summary>What the VMM keeps of one grant that is in use. The guest's own entry is a wish; this is what holds.</summary>
internal struct ActiveGrant
{
    public int Readers;
    public int Writers;
    public ushort Grantee;
    public ushort Offset;
    public ushort Length;
    public bool IsSubPage;
    public bool IsTransitive;
    public ushort BehindDomain;
    public uint BehindReference;
    public Mfn Frame;

    public readonly int Pins => Readers + Writers;
}
