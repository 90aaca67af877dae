using System.Collections.Immutable;
using System.Text;
using Tessera.Sdk;

namespace Tessera.Kernel.Store;

/// <summary>
/// The store: one tree a machine, with permissions, watches, transactions and quotas (Xen's docs/misc/xenstore.txt). Any thread; callers
/// are told by an error what they may not do, and learn nothing of what they may not see.
/// </summary>
internal sealed class XenStore
{
    /// <summary>Special watch: a domain came.</summary>
    public const string IntroduceDomain = "@introduceDomain";

    /// <summary>Special watch: a domain ended or went.</summary>
    public const string ReleaseDomain = "@releaseDomain";

    private static readonly DomainId Domain0 = new(0);

    private readonly Lock _gate = new();
    private readonly StoreBooks _books;
    private readonly StoreWatches _watches = new();
    private readonly StoreView _direct;
    private readonly Dictionary<string, ImmutableArray<StorePermission>> _specials = new()
    {
        [IntroduceDomain] = StorePermission.OwnedBy(Domain0),
        [ReleaseDomain] = StorePermission.OwnedBy(Domain0),
    };

    private StoreNode _root = new([], StorePermission.OwnedBy(Domain0), StoreNode.NoChildren, 0, 0);

    /// <summary>An empty store.</summary>
    public XenStore(StoreQuota? quota = null)
    {
        _books = new StoreBooks(quota ?? new StoreQuota());
        _direct = new StoreView(_root, _books);
    }

    /// <summary>Where watches of those inside the VMM are called back, from whatever thread writes here; on the thread pool unless set.</summary>
    public Action<IThreadPoolWorkItem> Post { get; init; } = static item => ThreadPool.UnsafeQueueUserWorkItem(item, preferLocal: false);

    /// <summary>What each domain may take.</summary>
    public StoreQuota Quota => _books.Quota;

    /// <summary>Reads a node.</summary>
    /// <param name="caller">Who asks.</param>
    /// <param name="transaction">In which transaction, or null.</param>
    /// <param name="path">An absolute path.</param>
    /// <param name="forChildren">The list of children is wanted too.</param>
    /// <param name="node">The node.</param>
    public XenErrno Look(DomainId caller, StoreTransaction? transaction, string path, bool forChildren, out StoreNode? node)
    {
        lock (_gate)
        {
            StoreView view = transaction?.View ?? _direct;
            node = null;
            if (transaction is null)
                _direct.Reset(_root);
            else if (!transaction.IsOpen)
                return XenErrno.ENOENT;
            else if (!transaction.Depend(path, forChildren))
                return XenErrno.ENOSPC;
            XenErrno error = view.Look(caller, path, StoreAccess.Read, out node);
            if (forChildren && node is not null)
                _books.Charge(caller, node.Children.Count);
            return error;
        }
    }

    /// <summary>Permissions of a node or of a special event.</summary>
    public XenErrno GetPermissions(DomainId caller, StoreTransaction? transaction, string path, out ImmutableArray<StorePermission> permissions)
    {
        if (path.StartsWith(StorePath.Special))
        {
            lock (_gate)
            {
                if (!_specials.TryGetValue(path, out permissions))
                    return XenErrno.EINVAL;
                return _books.May(caller, permissions, StoreAccess.Read) ? XenErrno.Success : XenErrno.EACCES;
            }
        }

        XenErrno error = Look(caller, transaction, path, forChildren: false, out StoreNode? node);
        permissions = node?.Permissions ?? [];
        return error;
    }

    /// <summary>Makes a change, in a transaction or for all to see.</summary>
    public XenErrno Update(DomainId caller, StoreTransaction? transaction, StoreUpdate update)
    {
        lock (_gate)
        {
            if (update.Path.StartsWith(StorePath.Special))
                return SetSpecial(caller, update);
            if (transaction is not null)
                return transaction.IsOpen ? transaction.Apply(update) : XenErrno.ENOENT;
            _direct.Reset(_root);
            XenErrno error = update.ApplyTo(_direct, caller);
            if (error == XenErrno.Success)
                TakeOver(_direct);
            return error;
        }
    }

    /// <summary>Begins a transaction.</summary>
    public XenErrno Begin(DomainId caller, out StoreTransaction? transaction)
    {
        lock (_gate)
        {
            transaction = null;
            StoreAccount account = _books.Of(caller);
            if (!StoreBooks.IsPrivileged(caller) && account.Transactions >= Quota.Transactions)
                return XenErrno.ENOSPC;
            account.Transactions++;
            transaction = new StoreTransaction(caller, _root, _books);
            return XenErrno.Success;
        }
    }

    /// <summary>Ends a transaction.</summary>
    /// <param name="transaction">Which.</param>
    /// <param name="commit">Whether its changes shall be seen.</param>
    /// <returns>EAGAIN when something it looked at has changed, ENOSPC when the domain owns too much by now; then nothing of it was done.</returns>
    public XenErrno End(StoreTransaction transaction, bool commit)
    {
        lock (_gate)
        {
            if (!transaction.End())
                return XenErrno.ENOENT;
            if (_books.Find(transaction.Caller) is { Transactions: > 0 } account)
                account.Transactions--;
            if (!commit || transaction.Updates.Count == 0)
                return XenErrno.Success;
            if (ReferenceEquals(transaction.Base, _root))
            {
                TakeOver(transaction.View);
                return XenErrno.Success;
            }

            if (!transaction.HoldsIn(_root))
                return XenErrno.EAGAIN;
            _direct.Reset(_root);
            foreach (StoreUpdate update in transaction.Updates)
            {
                XenErrno error = update.ApplyTo(_direct, transaction.Caller);
                if (error != XenErrno.Success)
                    return error == XenErrno.ENOSPC ? error : XenErrno.EAGAIN;
            }

            TakeOver(_direct);
            return XenErrno.Success;
        }
    }

    /// <summary>Sets a watch; it fires once at once.</summary>
    /// <param name="listener">Who takes its events, and whose watches have different tokens or paths.</param>
    /// <param name="caller">Whose watch.</param>
    /// <param name="given">The path as given: relative, absolute or special.</param>
    /// <param name="token">What the caller calls it.</param>
    /// <param name="accepted">Called when it is set, before its first event.</param>
    public XenErrno Watch(IStoreListener listener, DomainId caller, string given, string token, Action? accepted = null)
    {
        if (!TryResolveWatch(caller, given, out string path))
            return XenErrno.EINVAL;
        lock (_gate)
        {
            if (_watches.Contains(listener, path, token))
                return XenErrno.EEXIST;
            StoreAccount account = _books.Of(caller);
            if (!StoreBooks.IsPrivileged(caller) && account.Watches >= Quota.Watches)
                return XenErrno.E2BIG;
            account.Watches++;
            StoreSubscription watch = new(caller, path, given, token, listener);
            _watches.Add(watch);
            accepted?.Invoke();
            watch.Fire(path);
            return XenErrno.Success;
        }
    }

    /// <summary>Takes a watch away; its events under way are void.</summary>
    public XenErrno Unwatch(IStoreListener listener, DomainId caller, string given, string token)
    {
        if (!TryResolveWatch(caller, given, out string path))
            return XenErrno.EINVAL;
        lock (_gate)
        {
            if (!_watches.Remove(listener, path, token))
                return XenErrno.ENOENT;
            if (_books.Find(caller) is { } account)
                account.Watches--;
            return XenErrno.Success;
        }
    }

    /// <summary>Makes a domain known: its home, owned by domain 0 and readable to it, and in it what is its own to write, as xl lays it out.</summary>
    public void Introduce(DomainId domain, string name)
    {
        lock (_gate)
            _books.Of(domain).IsIntroduced = true;
        string home = StorePath.HomeOf(domain);
        Put(home, "", StorePermission.OwnedAndReadBy(Domain0, domain));
        Put($"{home}/name", name, StorePermission.OwnedAndReadBy(Domain0, domain));
        Put($"{home}/domid", $"{domain.Value}", StorePermission.OwnedAndReadBy(Domain0, domain));
        foreach (string readOnly in (ReadOnlySpan<string>)["control", "device", "memory"])
            Put($"{home}/{readOnly}", "", StorePermission.OwnedAndReadBy(Domain0, domain));
        foreach (string own in (ReadOnlySpan<string>)["control/shutdown", "control/feature-poweroff", "control/feature-reboot", "control/feature-suspend", "control/sysrq", "data", "drivers", "feature", "attr", "error"])
            Put($"{home}/{own}", "", StorePermission.OwnedBy(domain));
        Announce(IntroduceDomain);
    }

    /// <summary>Whether a domain was introduced and not released.</summary>
    public bool IsIntroduced(DomainId domain)
    {
        lock (_gate)
            return StoreBooks.IsPrivileged(domain) || _books.Find(domain) is { IsIntroduced: true };
    }

    /// <summary>Announces a domain's end, once.</summary>
    public void Ended(DomainId domain)
    {
        lock (_gate)
        {
            if (_books.Find(domain) is not { IsIntroduced: true, IsEndAnnounced: false } account)
                return;
            account.IsEndAnnounced = true;
        }

        Announce(ReleaseDomain);
    }

    /// <summary>A domain that had ended lives on: its next end is announced again.</summary>
    public XenErrno Resume(DomainId domain)
    {
        lock (_gate)
        {
            if (_books.Find(domain) is not { IsIntroduced: true } account)
                return XenErrno.ENOENT;
            account.IsEndAnnounced = false;
            return XenErrno.Success;
        }
    }

    /// <summary>Gives a domain another one's rights beside its own.</summary>
    public XenErrno SetTarget(DomainId domain, DomainId target)
    {
        lock (_gate)
        {
            if (_books.Find(domain) is not { IsIntroduced: true } account || _books.Find(target) is not { IsIntroduced: true })
                return XenErrno.ENOENT;
            account.Target = target;
            return XenErrno.Success;
        }
    }

    /// <summary>Removes a domain's home and every word of it in others' nodes.</summary>
    public void Release(DomainId domain)
    {
        lock (_gate)
        {
            if (_books.Find(domain) is null)
                return;
            _direct.Reset(_root);
            if (_direct.Remove(Domain0, StorePath.HomeOf(domain)) == XenErrno.Success)
                TakeOver(_direct);
            _root = _root.Forgetting(domain, _books.NextStamp());
            _books.Forget(domain);
        }

        Announce(ReleaseDomain);
    }

    /// <summary>Nodes, watches and transactions a domain has now.</summary>
    public (int Nodes, int Watches, int Transactions) UsageOf(DomainId domain)
    {
        lock (_gate)
            return _books.Find(domain) is { } account ? (account.Nodes, account.Watches, account.Transactions) : default;
    }

    /// <summary>Nodes that were walked, copied or fired at for a domain so far.</summary>
    public long StepsOf(DomainId domain)
    {
        lock (_gate)
            return _books.Find(domain)?.Steps ?? 0;
    }

    private static bool TryResolveWatch(DomainId caller, string given, out string path)
    {
        path = given;
        return given.StartsWith(StorePath.Special) ? given.Length is > 1 and <= StorePath.MaxRelative : StorePath.TryResolve(caller, given, out path);
    }

    private void Put(string path, string value, ImmutableArray<StorePermission> permissions)
    {
        _ = Update(Domain0, null, new StoreUpdate(StoreUpdateKind.Write, path, Encoding.UTF8.GetBytes(value), default));
        _ = Update(Domain0, null, new StoreUpdate(StoreUpdateKind.SetPermissions, path, [], permissions));
    }

    private void Announce(string special)
    {
        lock (_gate)
            _watches.FireSpecial(special, domain => _books.May(domain, _specials[special], StoreAccess.Read));
    }

    private XenErrno SetSpecial(DomainId caller, StoreUpdate update)
    {
        if (update.Kind != StoreUpdateKind.SetPermissions || !_specials.TryGetValue(update.Path, out ImmutableArray<StorePermission> before))
            return XenErrno.EINVAL;
        XenErrno error = StoreView.CheckPermissions(_books, caller, before, update.Permissions);
        if (error == XenErrno.Success)
            _specials[update.Path] = update.Permissions;
        return error;
    }

    private void TakeOver(StoreView view)
    {
        _root = view.Root;
        foreach ((DomainId domain, int nodes) in view.Owned)
            _books.Of(domain).Nodes += nodes;
        foreach (StoreChange change in view.Changes)
            _watches.Fire(change, _books);
    }
}
