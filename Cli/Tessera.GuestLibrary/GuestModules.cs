namespace Tessera.GuestLibrary;

/// <summary>The kernel's own drivers for what Xen gives a guest, which Debian builds as modules; they travel in the RAM disk.</summary>
public sealed record GuestModules
{
    /// <summary>Wanted modules with those they need (Linux, drivers/xen and the frontends): disks, networks, and the files of /dev/xen and /proc/xen.</summary>
    private static readonly (string Name, string[] Needs)[] Wanted =
    [
        ("xen-blkfront", []), ("xen-netfront", []), ("xen-evtchn", []), ("xen-gntdev", []), ("xen-gntalloc", []), ("xen-privcmd", []), ("xenfs", ["xen-privcmd"]),
    ];

    /// <summary>No modules.</summary>
    public static GuestModules None { get; } = new() { Release = "", Files = new Dictionary<string, byte[]>() };

    /// <summary>The kernel's release, as in /lib/modules/RELEASE.</summary>
    public required string Release { get; init; }

    /// <summary>File contents by path below that folder, modules.dep among them.</summary>
    public required IReadOnlyDictionary<string, byte[]> Files { get; init; }

    /// <summary>Takes the wanted ones of a kernel's modules; those it lacks are built in or not to be had.</summary>
    /// <param name="folder">The modules' folder; need not exist.</param>
    /// <param name="release">The kernel's release.</param>
    public static GuestModules Take(string folder, string release)
    {
        string kernel = Path.Combine(folder, "kernel");
        if (!Directory.Exists(kernel))
            return None;
        Dictionary<string, string> pathOf = [];
        foreach (string file in Directory.EnumerateFiles(kernel, "xen*.ko*", SearchOption.AllDirectories))
        {
            string name = Path.GetFileName(file);
            pathOf[name[..name.IndexOf(".ko", StringComparison.Ordinal)]] = file;
        }

        Dictionary<string, byte[]> files = [];
        System.Text.StringBuilder dependencies = new();
        foreach ((string name, string[] needs) in Wanted)
        {
            if (!pathOf.TryGetValue(name, out string? path) || !needs.All(pathOf.ContainsKey))
                continue;
            files[Relative(path)] = File.ReadAllBytes(path);
            dependencies.Append(Relative(path)).Append(':');
            foreach (string need in needs)
                dependencies.Append(' ').Append(Relative(pathOf[need]));
            dependencies.Append('\n');
        }

        if (files.Count == 0)
            return None;
        files["modules.dep"] = System.Text.Encoding.ASCII.GetBytes(dependencies.ToString());
        return new() { Release = release, Files = files };

        string Relative(string path) => Path.GetRelativePath(folder, path);
    }
}
