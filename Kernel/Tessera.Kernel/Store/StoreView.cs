using System.Collections.Immutable;
using Tessera.Sdk;

namespace Tessera.Kernel.Store;

/// <summary>What one update did, for those who watch.</summary>
/// <param name="Path">The path that was written, made or removed.</param>
/// <param name="Before">Its permissions before; default when it was not there.</param>
/// <param name="After">Its permissions after; default when it is gone.</param>
/// <param name="Parent">Its parent's permissions: who may list that sees names come and go.</param>
/// <param name="Removed">What was removed with all below it.</param>
internal readonly record struct StoreChange(
    string Path, ImmutableArray<StorePermission> Before, ImmutableArray<StorePermission> After, ImmutableArray<StorePermission> Parent, StoreNode? Removed);

/// <summary>
/// A version of the tree under change, with the rules of who may do what: one step for a plain request, many for a transaction. Nothing is
/// seen by others before the store takes it over. Guarded by the store's gate.
/// </summary>
internal sealed class StoreView(StoreNode root, StoreBooks books)
{
    private readonly List<StoreChange> _changes = [];
    private readonly Dictionary<DomainId, int> _owned = [];

    /// <summary>The version as it is now.</summary>
    public StoreNode Root { get; private set; } = root;

    /// <summary>What changed, in order.</summary>
    public IReadOnlyList<StoreChange> Changes => _changes;

    /// <summary>How many nodes more each domain owns.</summary>
    public IReadOnlyDictionary<DomainId, int> Owned => _owned;

    /// <summary>Begins anew.</summary>
    public void Reset(StoreNode root)
    {
        Root = root;
        _changes.Clear();
        _owned.Clear();
    }

    /// <summary>Finds a node for a purpose. What is not there is said to be so only to those who could have used it.</summary>
    public XenErrno Look(DomainId caller, string path, StoreAccess access, out StoreNode? node)
    {
        StoreNode nearest = Root.FindNearest(path, out int found);
        books.Charge(caller, StorePath.NamesIn(path));
        node = found == path.Length ? nearest : null;
        if (!books.May(caller, nearest.Permissions, access))
        {
            node = null;
            return XenErrno.EACCES;
        }

        return node is null ? XenErrno.ENOENT : XenErrno.Success;
    }

    /// <summary>Writes a value, and makes what is missing above.</summary>
    public XenErrno Write(DomainId caller, string path, byte[] value)
    {
        if (!StoreBooks.IsPrivileged(caller) && value.Length > books.Quota.ValueBytes)
            return XenErrno.ENOSPC;
        XenErrno error = Look(caller, path, StoreAccess.Write, out StoreNode? node);
        if (error == XenErrno.ENOENT)
            return Create(caller, path, value);
        if (error != XenErrno.Success)
            return error;
        Replace(caller, path, node!, node! with { Value = value, Stamp = books.NextStamp() });
        return XenErrno.Success;
    }

    /// <summary>Makes a node where there is none.</summary>
    public XenErrno MakeDirectory(DomainId caller, string path)
    {
        XenErrno error = Look(caller, path, StoreAccess.Write, out _);
        return error == XenErrno.ENOENT ? Create(caller, path, []) : error;
    }

    /// <summary>Removes a node and all below it; what is not there, but could be, is removed already.</summary>
    public XenErrno Remove(DomainId caller, string path)
    {
        if (path == "/")
            return XenErrno.EINVAL;
        XenErrno error = Look(caller, path, StoreAccess.Write, out StoreNode? node);
        string parentPath = StorePath.ParentOf(path);
        StoreNode? parent = Root.Find(parentPath);
        if (error == XenErrno.ENOENT)
            return parent is null ? XenErrno.ENOENT : XenErrno.Success;
        if (error != XenErrno.Success)
            return error;
        Root = Root.Without(path, 1, books.NextStamp());
        // Counted once to disown it and once to tell those who watch in it.
        books.Charge(caller, StorePath.NamesIn(path) + (2 * Disown(node!)));
        _changes.Add(new StoreChange(path, node!.Permissions, default, parent!.Permissions, node));
        return XenErrno.Success;
    }

    /// <summary>Sets a node's permissions: its owner's right, who cannot give it away.</summary>
    public XenErrno SetPermissions(DomainId caller, string path, ImmutableArray<StorePermission> permissions)
    {
        XenErrno error = Look(caller, path, StoreAccess.Write, out StoreNode? node);
        if (error != XenErrno.Success)
            return error;
        error = CheckPermissions(books, caller, node!.Permissions, permissions);
        if (error != XenErrno.Success)
            return error;
        Count(node.Owner, -1);
        Count(permissions[0].Domain, 1);
        Replace(caller, path, node, node with { Permissions = permissions, Stamp = books.NextStamp() });
        return XenErrno.Success;
    }

    /// <summary>Whether a domain may put these permissions in the place of those.</summary>
    public static XenErrno CheckPermissions(StoreBooks books, DomainId caller, ImmutableArray<StorePermission> before, ImmutableArray<StorePermission> after)
    {
        if (after.IsDefaultOrEmpty)
            return XenErrno.EINVAL;
        if (StoreBooks.IsPrivileged(caller))
            return XenErrno.Success;
        if (!books.Owns(caller, before))
            return XenErrno.EACCES;
        if (after[0].Domain != before[0].Domain)
            return XenErrno.EPERM;
        return after.Length > books.Quota.Permissions ? XenErrno.ENOSPC : XenErrno.Success;
    }

    /// <summary>Makes a node and what is missing above it; the caller has been found allowed to.</summary>
    private XenErrno Create(DomainId caller, string path, byte[] value)
    {
        StoreNode nearest = Root.FindNearest(path, out int found);
        ImmutableArray<StorePermission> permissions = StoreBooks.IsPrivileged(caller)
            ? nearest.Permissions
            : nearest.Permissions.SetItem(0, new StorePermission(caller, nearest.Permissions[0].Access));
        int missing = path.AsSpan(found).Count('/');
        DomainId owner = permissions[0].Domain;
        if (!StoreBooks.IsPrivileged(caller) && (books.Find(owner)?.Nodes ?? 0) + _owned.GetValueOrDefault(owner) + missing > books.Quota.Nodes)
            return XenErrno.ENOSPC;

        // From the leaf up: a path of a thousand names costs a thousand steps, not their square.
        ulong stamp = books.NextStamp();
        StoreNode made = new(value, permissions, StoreNode.NoChildren, stamp, stamp);
        int end = path.Length;
        for (int slash = path.LastIndexOf('/'); slash > found; slash = path.LastIndexOf('/', slash - 1))
        {
            made = new StoreNode([], permissions, StoreNode.NoChildren.Add(path[(slash + 1)..end], made), stamp, stamp);
            end = slash;
        }

        Root = Root.With(path[..end], 1, made, stamp);
        books.Charge(caller, 2 * StorePath.NamesIn(path));
        Count(owner, missing);
        _changes.Add(new StoreChange(path, default, permissions, nearest.Permissions, null));
        return XenErrno.Success;
    }

    private void Replace(DomainId caller, string path, StoreNode before, StoreNode after)
    {
        books.Charge(caller, 2 * StorePath.NamesIn(path));
        Root = path == "/" ? after : Root.With(path, 1, after, after.Stamp);
        _changes.Add(new StoreChange(path, before.Permissions, after.Permissions, default, null));
    }

    private int Disown(StoreNode node)
    {
        int nodes = 1;
        Count(node.Owner, -1);
        foreach (StoreNode child in node.Children.Values)
            nodes += Disown(child);
        return nodes;
    }

    private void Count(DomainId owner, int nodes) => _owned[owner] = _owned.GetValueOrDefault(owner) + nodes;
}
