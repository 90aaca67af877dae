using System.Collections.Immutable;
using Tessera.Sdk;

namespace Tessera.Kernel.Store;

/// <summary>
/// A node of the store and all below it; never changed, only replaced along the path to the root, so that a transaction's snapshot is a
/// reference.
/// </summary>
/// <param name="Value">Its value; nobody writes into the array.</param>
/// <param name="Permissions">Owner and default first.</param>
/// <param name="Children">By name.</param>
/// <param name="Stamp">Which change its value and permissions are of.</param>
/// <param name="ListStamp">Which change the list of its children's names is of.</param>
internal sealed record StoreNode(
    byte[] Value, ImmutableArray<StorePermission> Permissions, ImmutableSortedDictionary<string, StoreNode> Children, ulong Stamp, ulong ListStamp)
{
    /// <summary>No children.</summary>
    public static readonly ImmutableSortedDictionary<string, StoreNode> NoChildren = ImmutableSortedDictionary.Create<string, StoreNode>(StringComparer.Ordinal);

    /// <summary>Who owns it.</summary>
    public DomainId Owner => Permissions[0].Domain;

    /// <summary>The node at an absolute path, this one being the root.</summary>
    public StoreNode? Find(string path) => FindNearest(path, out int found) is { } node && found == path.Length ? node : null;

    /// <summary>The last node there is on the way to a path.</summary>
    /// <param name="path">An absolute path.</param>
    /// <param name="found">How many characters of the path lead to it: all when the node is there, 0 for the root.</param>
    public StoreNode FindNearest(string path, out int found)
    {
        StoreNode node = this;
        found = path.Length == 1 ? 1 : 0;
        while (found < path.Length)
        {
            int end = EndOfName(path, found + 1);
            if (!node.Children.TryGetValue(path[(found + 1)..end], out StoreNode? child))
                return node;
            (node, found) = (child, end);
        }

        return node;
    }

    /// <summary>The tree with a node at a path whose parent exists.</summary>
    /// <param name="path">An absolute path below this node.</param>
    /// <param name="start">Where in the path the next name begins.</param>
    /// <param name="node">What shall be there.</param>
    /// <param name="stamp">The change's stamp, for the parent's list when the name is new.</param>
    public StoreNode With(string path, int start, StoreNode node, ulong stamp)
    {
        int end = EndOfName(path, start);
        string name = path[start..end];
        bool isThere = Children.TryGetValue(name, out StoreNode? child);
        StoreNode put = end == path.Length ? node : child!.With(path, end + 1, node, stamp);
        return this with { Children = Children.SetItem(name, put), ListStamp = isThere ? ListStamp : stamp };
    }

    /// <summary>The tree without the node at a path, which is there.</summary>
    public StoreNode Without(string path, int start, ulong stamp)
    {
        int end = EndOfName(path, start);
        string name = path[start..end];
        return end == path.Length
            ? this with { Children = Children.Remove(name), ListStamp = stamp }
            : this with { Children = Children.SetItem(name, Children[name].Without(path, end + 1, stamp)) };
    }

    /// <summary>The tree without any word of a domain: what it owned is domain 0's, what it was allowed is gone.</summary>
    public StoreNode Forgetting(DomainId domain, ulong stamp)
    {
        ImmutableSortedDictionary<string, StoreNode> children = Children;
        foreach ((string name, StoreNode child) in Children)
        {
            StoreNode kept = child.Forgetting(domain, stamp);
            if (!ReferenceEquals(kept, child))
                children = children.SetItem(name, kept);
        }

        bool named = Permissions.Any(permission => permission.Domain == domain);
        if (!named)
            return ReferenceEquals(children, Children) ? this : this with { Children = children };
        StorePermission first = Owner == domain ? new StorePermission(new DomainId(0), StoreAccess.None) : Permissions[0];
        return this with { Children = children, Stamp = stamp, Permissions = [first, .. Permissions.Skip(1).Where(permission => permission.Domain != domain)] };
    }

    private static int EndOfName(string path, int start)
    {
        int slash = path.IndexOf('/', start);
        return slash < 0 ? path.Length : slash;
    }
}
