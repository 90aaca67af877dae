using Tessera.Sdk;

namespace Tessera.Kernel.Store;

/// <summary>
/// The store's tree: paths to values. One a machine; a domain writes below its own /local/domain/ID and reads nothing of the others.
/// </summary>
internal sealed class XenStore
{
    /// <summary>Longest absolute path, as in Xen.</summary>
    public const int MaxPath = 3072;

    private const int MaxNodesPerDomain = 1000;
    private const int MaxValue = 2048;
    private readonly Lock _gate = new();
    private readonly SortedDictionary<string, Node> _nodes = new(StringComparer.Ordinal) { ["/"] = new Node(new DomainId(0), []) };

    /// <summary>Called outside the lock with every path that changed.</summary>
    public event Action<string>? Changed;

    /// <summary>A domain's home path.</summary>
    public static string HomeOf(DomainId domain) => $"/local/domain/{domain.Value}";

    /// <summary>Makes a path absolute and checks its form.</summary>
    public static bool TryResolve(DomainId domain, string path, out string absolute)
    {
        absolute = path.StartsWith('/') ? path : $"{HomeOf(domain)}/{path}";
        if (absolute.Length > 1)
            absolute = absolute.TrimEnd('/');
        if (absolute.Length is 0 or > MaxPath || absolute.Contains("//", StringComparison.Ordinal))
            return false;
        foreach (char c in absolute)
        {
            if (!char.IsAsciiLetterOrDigit(c) && c is not ('-' or '/' or '_' or '@' or ':' or '.' or '+'))
                return false;
        }

        return true;
    }

    /// <summary>Creates a domain's home.</summary>
    public void Introduce(DomainId domain, string name)
    {
        _ = Write(new DomainId(0), HomeOf(domain), []);
        _ = Write(new DomainId(0), $"{HomeOf(domain)}/name", System.Text.Encoding.UTF8.GetBytes(name));
        _ = Write(new DomainId(0), $"{HomeOf(domain)}/domid", System.Text.Encoding.UTF8.GetBytes($"{domain.Value}"));
        lock (_gate)
            _nodes[HomeOf(domain)].Owner = domain;
    }

    /// <summary>Whether a domain may see a path: it has no business with the others' nodes, and learns nothing of their changes either.</summary>
    public static bool MayRead(DomainId caller, string path) => caller.Value == 0 || IsOwn(caller, path);

    /// <summary>Removes a domain's home.</summary>
    public void Release(DomainId domain) => _ = Remove(new DomainId(0), HomeOf(domain));

    /// <summary>Reads a value.</summary>
    public XenErrno Read(DomainId caller, string path, out byte[] value)
    {
        lock (_gate)
        {
            value = [];
            if (!_nodes.TryGetValue(path, out Node? node))
                return XenErrno.ENOENT;
            if (!MayRead(caller, path))
                return XenErrno.EACCES;
            value = node.Value;
            return XenErrno.Success;
        }
    }

    /// <summary>The names of the children.</summary>
    public XenErrno List(DomainId caller, string path, out IReadOnlyList<string> children)
    {
        lock (_gate)
        {
            List<string> names = [];
            children = names;
            if (!_nodes.ContainsKey(path))
                return XenErrno.ENOENT;
            if (!MayRead(caller, path))
                return XenErrno.EACCES;
            string prefix = path == "/" ? "/" : path + "/";
            foreach (string candidate in _nodes.Keys)
            {
                if (candidate.Length > prefix.Length && candidate.StartsWith(prefix, StringComparison.Ordinal) && !candidate.AsSpan(prefix.Length).Contains('/'))
                    names.Add(candidate[prefix.Length..]);
            }

            return XenErrno.Success;
        }
    }

    /// <summary>Writes a value and creates what is missing above it.</summary>
    public XenErrno Write(DomainId caller, string path, byte[] value)
    {
        if (value.Length > MaxValue)
            return XenErrno.E2BIG;
        lock (_gate)
        {
            if (!MayWrite(caller, path))
                return XenErrno.EACCES;
            if (_nodes.TryGetValue(path, out Node? node))
            {
                node.Value = value;
            }
            else
            {
                if (caller.Value != 0 && CountOf(caller) >= MaxNodesPerDomain)
                    return XenErrno.ENOSPC;
                for (int slash = path.IndexOf('/', 1); slash > 0; slash = path.IndexOf('/', slash + 1))
                    _ = _nodes.TryAdd(path[..slash], new Node(caller, []));
                _nodes[path] = new Node(caller, value);
            }
        }

        Changed?.Invoke(path);
        return XenErrno.Success;
    }

    /// <summary>Whether a node exists.</summary>
    public bool Exists(string path)
    {
        lock (_gate)
            return _nodes.ContainsKey(path);
    }

    /// <summary>Removes a node and all below it.</summary>
    public XenErrno Remove(DomainId caller, string path)
    {
        lock (_gate)
        {
            if (path == "/" || (caller.Value != 0 && path == HomeOf(caller)))
                return XenErrno.EINVAL;
            if (!MayWrite(caller, path))
                return XenErrno.EACCES;
            if (!_nodes.Remove(path))
                return XenErrno.ENOENT;
            string prefix = path + "/";
            foreach (string below in _nodes.Keys.Where(key => key.StartsWith(prefix, StringComparison.Ordinal)).ToArray())
                _ = _nodes.Remove(below);
        }

        Changed?.Invoke(path);
        return XenErrno.Success;
    }

    private static bool IsOwn(DomainId caller, string path)
    {
        string home = HomeOf(caller);
        return path.StartsWith(home, StringComparison.Ordinal) && (path.Length == home.Length || path[home.Length] == '/');
    }

    private static bool MayWrite(DomainId caller, string path) => caller.Value == 0 || IsOwn(caller, path);

    private int CountOf(DomainId owner) => _nodes.Values.Count(node => node.Owner == owner);

    private sealed class Node(DomainId owner, byte[] value)
    {
        public DomainId Owner { get; set; } = owner;

        public byte[] Value { get; set; } = value;
    }
}
