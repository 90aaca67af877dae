namespace Tessera.Plugins.Cpu.Kvm.Paging;

/// <summary>What <see cref="RewriteNotifier"/> needs from a machine.</summary>
internal interface IEntryRewriter
{
    /// <summary>Whether the ring-0 stub can write this machine address.</summary>
    bool CanReach(ulong entryAddress);

    /// <summary>Writes entries as they are from inside the machine. <see cref="RewritePlan.DropTable"/> in an address asks for a write that makes KVM forget the whole table.</summary>
    void Rewrite(ReadOnlySpan<ulong> plan);

    /// <summary>Makes KVM forget every shadow page of the machine.</summary>
    void DropEverything();
}

/// <summary>
/// For hosts where KVM shadows guest page tables and does not see the VMM's own writes: downgrades are queued, and before any CPU of
/// the machine enters again, ring-0 code writes each entry from inside, where KVM traps it. Upgrades need nothing: a fault makes KVM
/// look again.
/// </summary>
/// <remarks>
/// Which entries, not which values, are queued: the stub's locked OR of zero keeps whatever is there, so nothing stale comes back. KVM
/// drops its shadow for all CPUs of the VM, so one run by whoever enters first serves all; the lock makes the others wait for it.
/// A KVM may answer a write by letting the table go out of step until the CPU's next TLB flush ("unsync"); there each CPU flushes too.
/// The stub has a CPU of its own (<see cref="EntryRewriter"/>), so a CPU in the middle of a trap's delivery is never disturbed.
/// </remarks>
internal sealed class RewriteNotifier(IEntryRewriter rewriter, bool flushAfter) : IEntryNotifier
{
    /// <summary>Beyond this many a full drop is not dearer than the rewrites (2 to 3 µs each against 260 µs and the faults after it).</summary>
    public const int Capacity = 1024;

    private readonly Lock _lock = new();
    private readonly ulong[] _queue = new ulong[Capacity];
    private long _changes;
    private int _count;
    private bool _dropEverything;
    private bool _pending;

    /// <inheritdoc/>
    public long Changes => Volatile.Read(ref _changes);

    /// <inheritdoc/>
    public void EntryChanged(ulong entryAddress, ulong oldEntry, ulong newEntry)
    {
        if (!EntryChange.IsDowngrade(oldEntry, newEntry))
            return;
        lock (_lock)
        {
            if (_count == Capacity || !rewriter.CanReach(entryAddress))
                _dropEverything = true;
            else if (_count == 0 || _queue[_count - 1] != entryAddress)
                _queue[_count++] = entryAddress;
            Volatile.Write(ref _changes, _changes + 1);
            Volatile.Write(ref _pending, true);
        }
    }

    /// <inheritdoc/>
    public bool BeforeEntry(ref long seen)
    {
        if (Volatile.Read(ref _pending))
            Settle();
        if (!flushAfter)
            return false;
        long now = Changes;
        bool flush = now != seen;
        seen = now;
        return flush;
    }

    private void Settle()
    {
        lock (_lock)
        {
            if (_dropEverything)
                rewriter.DropEverything();
            else if (_count > 0)
                rewriter.Rewrite(_queue.AsSpan(0, RewritePlan.Compact(_queue.AsSpan(0, _count))));
            _count = 0;
            _dropEverything = false;
            Volatile.Write(ref _pending, false);
        }
    }
}
