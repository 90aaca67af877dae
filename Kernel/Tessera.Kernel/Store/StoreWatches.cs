using Tessera.Sdk;

namespace Tessera.Kernel.Store;

/// <summary>Takes a watch's events. Called under the store's gate: keep it and return.</summary>
internal interface IStoreListener
{
    /// <param name="watch">Which watch.</param>
    /// <param name="path">What changed, as the watch's owner names it: relative when the watch is.</param>
    void OnEvent(StoreSubscription watch, string path);
}

/// <summary>One watch.</summary>
/// <param name="domain">Whose.</param>
/// <param name="path">What is watched, absolute or special.</param>
/// <param name="given">The same as it was given.</param>
/// <param name="token">What its owner calls it.</param>
/// <param name="listener">Who takes the events.</param>
internal sealed class StoreSubscription(DomainId domain, string path, string given, string token, IStoreListener listener)
{
    public DomainId Domain => domain;

    public string Path => path;

    public string Given => given;

    public string Token => token;

    public IStoreListener Listener => listener;

    /// <summary>Set when it was taken away: events under way are void.</summary>
    public bool IsRemoved { get; set; }

    /// <summary>Reports a change at an absolute path at or below the watched one.</summary>
    public void Fire(string changed) =>
        listener.OnEvent(this, changed.Length == path.Length ? given : path == "/" ? changed : string.Concat(given, changed.AsSpan(path.Length)));
}

/// <summary>The watches by path. Guarded by the store's gate.</summary>
internal sealed class StoreWatches
{
    private readonly Dictionary<string, List<StoreSubscription>> _byPath = [];
    private readonly Dictionary<string, List<StoreSubscription>>.AlternateLookup<ReadOnlySpan<char>> _byPiece;

    public StoreWatches() => _byPiece = _byPath.GetAlternateLookup<ReadOnlySpan<char>>();

    public bool Contains(IStoreListener listener, string path, string token) => Find(listener, path, token) is not null;

    public void Add(StoreSubscription watch)
    {
        if (!_byPath.TryGetValue(watch.Path, out List<StoreSubscription>? watches))
            _byPath[watch.Path] = watches = [];
        watches.Add(watch);
    }

    public bool Remove(IStoreListener listener, string path, string token)
    {
        StoreSubscription? watch = Find(listener, path, token);
        if (watch is null)
            return false;
        watch.IsRemoved = true;
        List<StoreSubscription> watches = _byPath[path];
        _ = watches.Remove(watch);
        if (watches.Count == 0)
            _ = _byPath.Remove(path);
        return true;
    }

    /// <summary>Fires what a change concerns and its owner may know of.</summary>
    public void Fire(in StoreChange change, StoreBooks books)
    {
        if (_byPath.Count == 0)
            return;
        FireAt("/", change.Path, change, books);
        for (int slash = change.Path.IndexOf('/', 1); slash > 0; slash = change.Path.IndexOf('/', slash + 1))
            FireAt(change.Path.AsSpan(0, slash), change.Path, change, books);
        if (change.Path.Length > 1)
            FireAt(change.Path, change.Path, change, books);
        if (change.Removed is not null)
            FireBelow(change.Path, change.Removed, books);
    }

    /// <summary>Fires a special event.</summary>
    public void FireSpecial(string name, Func<DomainId, bool> may)
    {
        if (!_byPath.TryGetValue(name, out List<StoreSubscription>? watches))
            return;
        foreach (StoreSubscription watch in watches)
        {
            if (may(watch.Domain))
                watch.Fire(name);
        }
    }

    private static bool May(StoreBooks books, DomainId domain, in StoreChange change) =>
        (!change.Before.IsDefault && books.May(domain, change.Before, StoreAccess.Read))
        || (!change.After.IsDefault && books.May(domain, change.After, StoreAccess.Read))
        || (!change.Parent.IsDefault && books.May(domain, change.Parent, StoreAccess.Read));

    private StoreSubscription? Find(IStoreListener listener, string path, string token) =>
        _byPath.TryGetValue(path, out List<StoreSubscription>? watches)
            ? watches.Find(watch => ReferenceEquals(watch.Listener, listener) && watch.Token == token)
            : null;

    private void FireAt(ReadOnlySpan<char> watched, string changed, in StoreChange change, StoreBooks books)
    {
        if (!_byPiece.TryGetValue(watched, out List<StoreSubscription>? watches))
            return;
        // A domain's hundred watches of one path are asked for once.
        DomainId? asked = null;
        bool may = false;
        foreach (StoreSubscription watch in watches)
        {
            if (asked != watch.Domain)
                (asked, may) = (watch.Domain, May(books, watch.Domain, change));
            if (may)
                watch.Fire(changed);
        }
    }

    /// <summary>What was watched below a removed node went with it: its watches hear of the watched path.</summary>
    private void FireBelow(string path, StoreNode removed, StoreBooks books)
    {
        foreach ((string name, StoreNode child) in removed.Children)
        {
            string below = StorePath.Join(path, name);
            FireAt(below, below, new StoreChange(below, child.Permissions, default, removed.Permissions, null), books);
            FireBelow(below, child, books);
        }
    }
}
