namespace Tessera.Plugins.Cpu.Kvm.Paging;

/// <summary>Makes changed page-table entries effective before guest code runs again. One a machine; any thread.</summary>
internal interface IEntryNotifier
{
    /// <summary>How many changes asked for something so far.</summary>
    long Changes { get; }

    /// <summary>An entry was changed by the VMM's own mapping.</summary>
    void EntryChanged(ulong entryAddress, ulong oldEntry, ulong newEntry);

    /// <summary>Called by a CPU before it enters the guest.</summary>
    /// <param name="seen">The CPU's own note of what it has made effective; starts at 0.</param>
    /// <returns>Whether the CPU must flush its TLB now.</returns>
    bool BeforeEntry(ref long seen);
}

/// <summary>How entries become effective on this host.</summary>
internal enum PagingStrategy
{
    /// <summary><see cref="FlushNotifier"/>.</summary>
    Flush,

    /// <summary><see cref="RewriteNotifier"/>.</summary>
    Rewrite,

    /// <summary><see cref="RewriteNotifier"/>, and a TLB flush of each CPU after it.</summary>
    RewriteAndFlush,
}
