using Tessera.Sdk;

namespace Tessera.Kernel.Store;

/// <summary>The form of paths in the store (Xen's docs/misc/xenstore.txt): absolute ones, and a domain's own relative to its home.</summary>
internal static class StorePath
{
    /// <summary>Longest absolute path, bytes (XENSTORE_ABS_PATH_MAX).</summary>
    public const int MaxAbsolute = 3072;

    /// <summary>Longest relative path, bytes (XENSTORE_REL_PATH_MAX).</summary>
    public const int MaxRelative = 2048;

    /// <summary>Most names in a path. Each is a step of every walk, and a node to be copied with every change below it; nobody's paths have more than a dozen.</summary>
    public const int MaxNames = 128;

    /// <summary>What the store itself announces: @introduceDomain and @releaseDomain.</summary>
    public const char Special = '@';

    /// <summary>A domain's home.</summary>
    public static string HomeOf(DomainId domain) => $"/local/domain/{domain.Value}";

    /// <summary>Makes a path absolute and checks its form.</summary>
    public static bool TryResolve(DomainId domain, string path, out string absolute)
    {
        bool isAbsolute = path.StartsWith('/');
        absolute = isAbsolute ? path : $"{HomeOf(domain)}/{path}";
        if (path.Length == 0 || path.Length > (isAbsolute ? MaxAbsolute : MaxRelative) || (absolute.Length > 1 && absolute.EndsWith('/')))
            return false;
        char before = '\0';
        foreach (char c in absolute)
        {
            if ((!char.IsAsciiLetterOrDigit(c) && c is not ('-' or '/' or '_' or '@')) || (c == '/' && before == '/'))
                return false;
            before = c;
        }

        return NamesIn(absolute) <= MaxNames;
    }

    /// <summary>Names in an absolute path.</summary>
    public static int NamesIn(string path) => path.AsSpan().Count('/');

    /// <summary>The path one up; of the root, the root.</summary>
    public static string ParentOf(string path)
    {
        int slash = path.LastIndexOf('/');
        return slash <= 0 ? "/" : path[..slash];
    }

    /// <summary>A child's path.</summary>
    public static string Join(string parent, string child) => parent == "/" ? $"/{child}" : $"{parent}/{child}";
}
