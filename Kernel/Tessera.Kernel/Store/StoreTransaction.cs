using System.Collections.Immutable;
using Tessera.Sdk;

namespace Tessera.Kernel.Store;

/// <summary>What an update does.</summary>
internal enum StoreUpdateKind
{
    Write,
    MakeDirectory,
    Remove,
    SetPermissions,
}

/// <summary>One change as it was asked for, so that a transaction can make it again on a newer tree.</summary>
internal readonly record struct StoreUpdate(StoreUpdateKind Kind, string Path, byte[] Value, ImmutableArray<StorePermission> Permissions)
{
    public XenErrno ApplyTo(StoreView view, DomainId caller) => Kind switch
    {
        StoreUpdateKind.Write => view.Write(caller, Path, Value),
        StoreUpdateKind.MakeDirectory => view.MakeDirectory(caller, Path),
        StoreUpdateKind.Remove => view.Remove(caller, Path),
        _ => view.SetPermissions(caller, Path, Permissions),
    };
}

/// <summary>
/// A domain's transaction: a snapshot, the changes made on it, and what the answers depended on. It commits when none of that has changed
/// meanwhile, as if it had happened at that moment. One that only read has happened when it began. Guarded by the store's gate.
/// </summary>
internal sealed class StoreTransaction(DomainId caller, StoreNode root, StoreBooks books)
{
    // What is kept with a path or a change, beside its characters: entries of the two collections, the change seen by watches, objects' heads.
    private const int BytesBeside = 256;

    /// <summary>By path, whether the list of children mattered beside the node itself.</summary>
    private readonly Dictionary<string, bool> _looked = [];
    private readonly List<StoreUpdate> _updates = [];
    private int _names;
    private int _bytes;

    /// <summary>Whose it is.</summary>
    public DomainId Caller => caller;

    /// <summary>The tree it began with.</summary>
    public StoreNode Base => root;

    /// <summary>The tree as its owner sees it.</summary>
    public StoreView View { get; } = new(root, books);

    /// <summary>Neither committed nor given up.</summary>
    public bool IsOpen { get; private set; } = true;

    /// <summary>What it changes, in order.</summary>
    public IReadOnlyList<StoreUpdate> Updates => _updates;

    /// <summary>Notes that an answer depends on a node, or on its absence.</summary>
    /// <returns>False when the transaction has looked at as much as it may.</returns>
    public bool Depend(string path, bool onList)
    {
        if (_looked.TryGetValue(path, out bool list))
        {
            if (onList && !list)
                _looked[path] = true;
            return true;
        }

        if (!StoreBooks.IsPrivileged(caller) && (_looked.Count >= books.Quota.TransactionSteps || !TryKeep(path, 0)))
            return false;
        _looked[path] = onList;
        // Where there is nothing, the nearest node above decided what the caller was told.
        if (root.FindNearest(path, out int found) is not null && found < path.Length)
            _ = _looked.TryAdd(found == 0 ? "/" : path[..found], false);
        return true;
    }

    /// <summary>Makes a change in the snapshot.</summary>
    public XenErrno Apply(StoreUpdate update)
    {
        if ((!StoreBooks.IsPrivileged(caller) && _updates.Count >= books.Quota.TransactionSteps) || !Depend(update.Path, onList: false)
            || (update.Kind == StoreUpdateKind.Remove && !Depend(StorePath.ParentOf(update.Path), onList: false)))
            return XenErrno.ENOSPC;
        if (!StoreBooks.IsPrivileged(caller) && !TryKeep(update.Path, update.Value.Length))
            return XenErrno.ENOSPC;
        XenErrno error = update.ApplyTo(View, caller);
        if (error == XenErrno.Success)
            _updates.Add(update);
        return error;
    }

    /// <summary>Whether everything it looked at is the same in another tree.</summary>
    public bool HoldsIn(StoreNode other)
    {
        foreach ((string path, bool onList) in _looked)
        {
            books.Charge(caller, 2 * StorePath.NamesIn(path));
            StoreNode? then = root.Find(path);
            StoreNode? now = other.Find(path);
            if (then?.Stamp != now?.Stamp || (onList && then?.ListStamp != now?.ListStamp))
                return false;
        }

        return true;
    }

    /// <summary>Ends it; false when it was over.</summary>
    public bool End()
    {
        bool was = IsOpen;
        IsOpen = false;
        if (books.Find(caller) is { } account)
            account.TransactionBytes -= _bytes;
        _bytes = 0;
        return was;
    }

    // Two strings may be kept of a path: it, and the nearest one above.
    private bool TryKeep(string path, int valueBytes)
    {
        StoreAccount account = books.Of(caller);
        int names = StorePath.NamesIn(path), bytes = BytesBeside + (2 * 2 * path.Length) + valueBytes;
        if (_names + names > books.Quota.TransactionNames || account.TransactionBytes + bytes > books.Quota.TransactionBytes)
            return false;
        _names += names;
        _bytes += bytes;
        account.TransactionBytes += bytes;
        return true;
    }
}
