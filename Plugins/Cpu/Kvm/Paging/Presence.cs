namespace Tessera.Plugins.Cpu.Kvm.Paging;

/// <summary>
/// Whether one CPU of a machine with several is inside its Run, and up to which change of page tables it has followed. A machine with one
/// CPU has none of this: whoever asks there is that CPU's own thread.
/// </summary>
internal sealed class Presence(IEntryNotifier notifier)
{
    private KvmThread? _inside;
    private long _followed;

    /// <summary>A Run begins: before guest code, it makes effective whatever was changed by now.</summary>
    public void Enter(KvmThread thread)
    {
        // Full barrier: whoever changes an entry and finds nobody here is followed by this CPU, which reads the count afterwards.
        _ = Interlocked.Exchange(ref _inside, thread);
        Volatile.Write(ref _followed, notifier.Changes);
    }

    /// <summary>The Run is over.</summary>
    public void Leave() => Volatile.Write(ref _inside, null);

    /// <summary>Waits until the CPU is not in guest code, or has followed so many changes.</summary>
    public void Await(long changes)
    {
        if (HasFollowed(changes))
            return;
        Volatile.Read(ref _inside)?.Kick();
        SpinWait wait = default;
        while (!HasFollowed(changes))
            wait.SpinOnce();
    }

    private bool HasFollowed(long changes) => Volatile.Read(ref _inside) is null || Volatile.Read(ref _followed) >= changes;
}
