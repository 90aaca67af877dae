namespace Tessera.Plugins.Cpu.Kvm.Paging;

/// <summary>
/// For hosts where the CPU walks guest page tables itself (EPT, NPT): memory is coherent, only TLBs go stale. Each CPU flushes once
/// before its next entry, however many entries changed.
/// </summary>
internal sealed class FlushNotifier : IEntryNotifier
{
    private long _changes;

    /// <inheritdoc/>
    public long Changes => Volatile.Read(ref _changes);

    /// <inheritdoc/>
    public void EntryChanged(ulong entryAddress, ulong oldEntry, ulong newEntry)
    {
        if (EntryChange.NeedsFlush(oldEntry, newEntry))
            Interlocked.Increment(ref _changes);
    }

    /// <inheritdoc/>
    public bool BeforeEntry(ref long seen)
    {
        long now = Changes;
        if (now == seen)
            return false;
        seen = now;
        return true;
    }
}
