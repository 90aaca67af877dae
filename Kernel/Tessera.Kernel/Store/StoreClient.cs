using System.Collections.Immutable;
using System.Runtime.CompilerServices;
using System.Text;
using Tessera.Sdk;

namespace Tessera.Kernel.Store;

/// <summary>
/// The store for those inside the VMM, in the name of a domain: backends and tools act as domain 0, which no permission and no quota
/// binds. Paths are absolute, or relative to that domain's home. Any thread.
/// </summary>
public sealed class StoreClient
{
    /// <summary>Begun again so often, a transaction is in the way of a writer that never rests.</summary>
    private const int MostAttempts = 1000;

    private readonly XenStore _store;
    private readonly DomainId _domain;

    internal StoreClient(XenStore store, DomainId domain = default) => (_store, _domain) = (store, domain);

    private StoreClient(XenStore store, DomainId domain, StoreTransaction transaction)
        : this(store, domain) => Transaction = transaction;

    private StoreTransaction? Transaction { get; }

    /// <summary>Reads a value as text.</summary>
    /// <returns>The value; null when there is no such node.</returns>
    /// <exception cref="StoreException">It may not be read, or the path is malformed.</exception>
    public string? Read(string path) => ReadBytes(path) is { } value ? Encoding.UTF8.GetString(value) : null;

    /// <summary>Reads a value as it is.</summary>
    /// <returns>The value; null when there is no such node.</returns>
    /// <exception cref="StoreException">It may not be read, or the path is malformed.</exception>
    public byte[]? ReadBytes(string path) => Look(path, forChildren: false)?.Value.AsSpan().ToArray();

    /// <summary>The names of a node's children, in order.</summary>
    /// <returns>The names; empty when there is no such node.</returns>
    /// <exception cref="StoreException">It may not be read, or the path is malformed.</exception>
    public IReadOnlyList<string> List(string path) => Look(path, forChildren: true) is { } node ? [.. node.Children.Keys] : [];

    /// <summary>Writes a value and makes what is missing above it.</summary>
    /// <exception cref="StoreException">Refused.</exception>
    public void Write(string path, string value) => Write(path, Encoding.UTF8.GetBytes(value));

    /// <summary>Writes a value and makes what is missing above it.</summary>
    /// <exception cref="StoreException">Refused.</exception>
    public void Write(string path, ReadOnlySpan<byte> value) => Update(StoreUpdateKind.Write, path, value.ToArray());

    /// <summary>Makes a node where there is none.</summary>
    /// <exception cref="StoreException">Refused.</exception>
    public void MakeDirectory(string path) => Update(StoreUpdateKind.MakeDirectory, path, []);

    /// <summary>Removes a node and all below it, if it is there.</summary>
    /// <exception cref="StoreException">Refused.</exception>
    public void Remove(string path)
    {
        try
        {
            Update(StoreUpdateKind.Remove, path, []);
        }
        catch (StoreException exception) when (exception.Error == XenErrno.ENOENT)
        {
            // The parent is missing too: nothing to remove.
        }
    }

    /// <summary>A node's permissions, its owner's first.</summary>
    /// <exception cref="StoreException">Refused, or no such node.</exception>
    public ImmutableArray<StorePermission> GetPermissions(string path)
    {
        ThrowIf(_store.GetPermissions(_domain, Transaction, Resolve(path), out ImmutableArray<StorePermission> permissions), path);
        return permissions;
    }

    /// <summary>Sets a node's permissions, its owner's first.</summary>
    /// <exception cref="StoreException">Refused, or no such node.</exception>
    public void SetPermissions(string path, ImmutableArray<StorePermission> permissions) =>
        ThrowIf(_store.Update(_domain, Transaction, new StoreUpdate(StoreUpdateKind.SetPermissions, Resolve(path), [], permissions)), path);

    /// <summary>Makes several changes as one, with what they read: all happen at one moment or none. Begun again while others interfere.</summary>
    /// <param name="work">Reads and writes through the client it is given, which is good for this only; may be called several times.</param>
    /// <exception cref="StoreException">Refused, or EAGAIN when somebody else never rests.</exception>
    public void Transact(Action<StoreClient> work)
    {
        for (int attempt = 0; attempt < MostAttempts; attempt++)
        {
            ThrowIf(_store.Begin(_domain, out StoreTransaction? transaction), "a transaction");
            bool done = false;
            try
            {
                work(new StoreClient(_store, _domain, transaction!));
                done = true;
            }
            finally
            {
                if (!done)
                    _ = _store.End(transaction!, commit: false);
            }

            XenErrno error = _store.End(transaction!, commit: true);
            if (error != XenErrno.EAGAIN)
            {
                ThrowIf(error, "a transaction");
                return;
            }
        }

        throw new StoreException(XenErrno.EAGAIN, "a transaction");
    }

    /// <summary>Watches a path and all below it, or a special event such as @releaseDomain.</summary>
    /// <param name="path">What to watch.</param>
    /// <param name="changed">Called with the changed path, first with the watched one; on the thread pool, one call at a time.</param>
    /// <exception cref="StoreException">Refused.</exception>
    public StoreWatch Watch(string path, Action<string> changed)
    {
        StoreWatch watch = new(_store, _domain, path, changed);
        ThrowIf(watch.Set(), path);
        return watch;
    }

    /// <summary>Watches a path as a stream of changed paths, first the watched one.</summary>
    /// <exception cref="StoreException">Refused.</exception>
    public async IAsyncEnumerable<string> WatchAsync(string path, [EnumeratorCancellation] CancellationToken cancellation = default)
    {
        using StoreWatch watch = new(_store, _domain, path, callback: null);
        ThrowIf(watch.Set(), path);
        while (true)
        {
            while (watch.TryTake(out string? changed))
                yield return changed;
            _ = await watch.WaitAsync(cancellation);
        }
    }

    private static void ThrowIf(XenErrno error, string path)
    {
        if (error != XenErrno.Success)
            throw new StoreException(error, path);
    }

    private StoreNode? Look(string path, bool forChildren)
    {
        XenErrno error = _store.Look(_domain, Transaction, Resolve(path), forChildren, out StoreNode? node);
        if (error != XenErrno.ENOENT)
            ThrowIf(error, path);
        return node;
    }

    private void Update(StoreUpdateKind kind, string path, byte[] value) =>
        ThrowIf(_store.Update(_domain, Transaction, new StoreUpdate(kind, Resolve(path), value, default)), path);

    private string Resolve(string path) =>
        path.StartsWith(StorePath.Special) ? path
        : StorePath.TryResolve(_domain, path, out string absolute) ? absolute
        : throw new StoreException(XenErrno.EINVAL, path);
}
