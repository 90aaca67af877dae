namespace Tessera.Images;

/// <summary>
/// What a kernel says to the domain builder in its ELF notes of the name "Xen" (numbers and meanings: Xen's public elfnote.h).
/// A note that is absent is null.
/// </summary>
public sealed record XenNotes
{
    /// <summary>Note 1: virtual address of the entry point.</summary>
    public ulong? Entry { get; init; }

    /// <summary>Note 2: virtual address of the page to fill with hypercall entries of 32 bytes each; null when the kernel traps by itself.</summary>
    public ulong? HypercallPage { get; init; }

    /// <summary>Note 3: virtual address at which pseudo-physical address 0 is mapped.</summary>
    public ulong? VirtBase { get; init; }

    /// <summary>Note 4: what to take from p_paddr to get a pseudo-physical address.</summary>
    public ulong? PaddrOffset { get; init; }

    /// <summary>Note 5: the version of Xen the kernel was written for, such as "xen-3.0".</summary>
    public string? XenVersion { get; init; }

    /// <summary>Note 6: name of the guest operating system.</summary>
    public string? GuestOs { get; init; }

    /// <summary>Note 7: version of the guest operating system.</summary>
    public string? GuestVersion { get; init; }

    /// <summary>Note 8: the loader type; PV kernels say "generic".</summary>
    public string? Loader { get; init; }

    /// <summary>Note 9: PAE mode; of no meaning to 64-bit kernels.</summary>
    public string? PaeMode { get; init; }

    /// <summary>Note 10: feature names separated by '|', those with '!' in front are required.</summary>
    public string? Features { get; init; }

    /// <summary>Note 11: whether the symbol table must be loaded ("yes").</summary>
    public string? BsdSymtab { get; init; }

    /// <summary>Note 12: the lowest virtual address at which the hypervisor's own area may begin.</summary>
    public ulong? HvStartLow { get; init; }

    /// <summary>Note 13: mask and value pairs by which an L1 entry that is not present is known to carry a frame number.</summary>
    public IReadOnlyList<L1MfnValid> L1MfnValid { get; init; } = [];

    /// <summary>Note 14: 1 when a suspend can be cancelled.</summary>
    public ulong? SuspendCancel { get; init; }

    /// <summary>Note 15: virtual address at which the builder puts the physical-to-machine list.</summary>
    public ulong? InitP2M { get; init; }

    /// <summary>Note 16: not 0 when mod_start of start_info may be a frame number, the initrd being unmapped.</summary>
    public ulong? ModStartPfn { get; init; }

    /// <summary>Note 17: bit mask of XENFEAT numbers the kernel supports.</summary>
    public ulong? SupportedFeatures { get; init; }

    /// <summary>Note 18: physical entry point of a PVH guest; not used by PV.</summary>
    public ulong? Phys32Entry { get; init; }

    /// <summary>Note 0: free NAME=VALUE strings.</summary>
    public IReadOnlyList<string> Info { get; init; } = [];

    /// <summary>Note 1 of the name "Tessera": pseudo-physical address of the page in which the guest reports its work (docs/guests.md).</summary>
    public ulong? ReportPageAddress { get; init; }

    /// <summary>How many notes of the name "Xen" there were, known or not.</summary>
    public int Count { get; init; }
}

/// <summary>One pair of note 13: an L1 entry with (entry &amp; Mask) == Value carries a machine frame number.</summary>
/// <param name="Mask">Bits of the entry that are compared.</param>
/// <param name="Value">What they must be.</param>
public readonly record struct L1MfnValid(ulong Mask, ulong Value);
