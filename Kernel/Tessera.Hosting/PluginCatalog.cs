using Tessera.Sdk.Plugins;

namespace Tessera.Hosting;

/// <summary>
/// Finds plugins: a plugin is a folder with a DLL of the folder's name, <c>FOLDER/Name/Name.dll</c>, with its dependencies beside it.
/// Each call looks anew; what a DLL says of itself is read again only when the file has changed.
/// </summary>
/// <param name="pluginFolders">The folders whose sub-folders are plugins; <see cref="PluginFolders.Default"/> gives the usual ones.</param>
public sealed class PluginCatalog(IEnumerable<string> pluginFolders)
{
    private readonly Dictionary<string, (DateTime Written, PluginManifest Manifest)> _read = [];
    private readonly string[] _folders = [.. pluginFolders.Select(Path.GetFullPath).Distinct()];

    /// <summary>Loads a plugin by name or by path; anything with a slash or ending in ".dll" is a path.</summary>
    /// <param name="nameOrPath">The plugin's name, or its DLL.</param>
    /// <param name="kind">What it must be; null for anything.</param>
    /// <exception cref="PluginException">Unknown name, two of a name, wrong kind, or the plugin is broken.</exception>
    public LoadedPlugin Load(string nameOrPath, PluginKind? kind)
    {
        if (!IsPath(nameOrPath))
            return PluginLoader.Load(Find(nameOrPath, kind));
        PluginManifest manifest = PluginManifest.Read(nameOrPath, out byte[] image);
        if (kind is { } wanted && manifest.Kind != wanted)
        {
            throw new PluginException(
                $"{manifest.Path} is the {PluginKinds.Title(manifest.Kind)} \"{manifest.Name}\", but a {PluginKinds.Title(wanted)} is wanted here.",
                $"Name a {PluginKinds.Title(wanted)}{Known(Scan([]), kind)}.");
        }

        return PluginLoader.Load(manifest, image);
    }

    /// <summary>Describes every plugin that loads, ordered by kind and name.</summary>
    public IReadOnlyList<PluginInfo> List() => List(out _);

    /// <summary>Describes every plugin that loads, ordered by kind and name, and tells what is wrong with the others.</summary>
    /// <param name="problems">Broken plugins, missing folders and doubled names.</param>
    public IReadOnlyList<PluginInfo> List(out IReadOnlyList<PluginException> problems)
    {
        List<PluginException> found = [];
        List<PluginInfo> plugins = [];
        List<PluginManifest> manifests = Scan(found);
        foreach (PluginManifest manifest in manifests)
        {
            try
            {
                using LoadedPlugin plugin = PluginLoader.Load(manifest);
                plugins.Add(plugin.Info);
            }
            catch (PluginException exception)
            {
                found.Add(exception);
            }
        }

        found.AddRange(manifests.GroupBy(manifest => (manifest.Kind, manifest.Name)).Where(group => group.Count() > 1).Select(group => Doubled([.. group])));
        problems = found;
        return [.. plugins.OrderBy(plugin => plugin.Kind).ThenBy(plugin => plugin.Name, StringComparer.Ordinal).ThenBy(plugin => plugin.Path, StringComparer.Ordinal)];
    }

    private static bool IsPath(string nameOrPath) =>
        nameOrPath.Contains(Path.DirectorySeparatorChar, StringComparison.Ordinal) || nameOrPath.EndsWith(".dll", StringComparison.OrdinalIgnoreCase);

    private PluginManifest Find(string name, PluginKind? kind)
    {
        List<PluginException> problems = [];
        List<PluginManifest> manifests = Scan(problems);
        PluginManifest[] named = [.. manifests.Where(manifest => manifest.Name == name)];
        PluginManifest[] matches = [.. named.Where(manifest => IsOf(manifest, kind))];
        if (matches.Length == 1)
            return matches[0];
        if (matches.Length > 1)
            throw Doubled(matches);
        if (named.Length > 0 && kind is { } wanted)
        {
            throw new PluginException(
                $"The plugin \"{name}\" ({named[0].Path}) is a {PluginKinds.Title(named[0].Kind)}, but a {PluginKinds.Title(wanted)} is wanted here.",
                $"Name a {PluginKinds.Title(wanted)}{Known(manifests, kind)}.");
        }

        string suggestion = Suggestion.Nearest(name, manifests.Where(manifest => IsOf(manifest, kind)).Select(manifest => manifest.Name)) is { } nearest
            ? $"Did you mean \"{nearest}\"? "
            : "";
        string broken = problems.Count == 0 ? "" : $" Not usable: {string.Join(" ", problems.Select(problem => problem.Message))}";
        throw new PluginException(
            $"There is no {(kind is { } missing ? PluginKinds.Title(missing) + " " : "")}plugin \"{name}\"{Known(manifests, kind)}, looked for in {(_folders.Length == 0 ? "no folder" : string.Join(", ", _folders))}.",
            $"{suggestion}Name one of these, give the path of a DLL, or add a plugin folder to {PluginFolders.Variable}.{broken}");
    }

    private static bool IsOf(PluginManifest manifest, PluginKind? kind) => kind is null || manifest.Kind == kind;

    private static string Known(List<PluginManifest> manifests, PluginKind? kind)
    {
        string[] names = [.. manifests.Where(manifest => IsOf(manifest, kind)).Select(manifest => manifest.Name).Distinct().Order(StringComparer.Ordinal)];
        return names.Length == 0 ? " (none is installed)" : $" (known: {string.Join(", ", names)})";
    }

    private static PluginException Doubled(PluginManifest[] manifests) => new(
        $"{manifests.Length} plugins of kind {string.Join(" and ", manifests.Select(manifest => PluginKinds.Title(manifest.Kind)).Distinct().Order(StringComparer.Ordinal))} have the name \"{manifests[0].Name}\": {string.Join(" and ", manifests.Select(manifest => manifest.Path))}.",
        "Remove or rename one, or name the one you mean by its path.");

    private List<PluginManifest> Scan(List<PluginException> problems)
    {
        List<PluginManifest> manifests = [];
        foreach (string folder in _folders)
        {
            if (!Directory.Exists(folder))
            {
                problems.Add(new PluginException($"The plugin folder {folder} does not exist.", $"Check {PluginFolders.Variable}."));
                continue;
            }

            foreach (string plugin in Directory.GetDirectories(folder).Order(StringComparer.Ordinal))
            {
                try
                {
                    manifests.Add(Read(Path.Combine(plugin, Path.GetFileName(plugin) + ".dll")));
                }
                catch (PluginException exception)
                {
                    problems.Add(exception);
                }
            }
        }

        return manifests;
    }

    private PluginManifest Read(string path)
    {
        DateTime written = File.GetLastWriteTimeUtc(path);
        lock (_read)
        {
            if (_read.TryGetValue(path, out (DateTime Written, PluginManifest Manifest) known) && known.Written == written)
                return known.Manifest;
            PluginManifest manifest = PluginManifest.Read(path);
            _read[path] = (written, manifest);
            return manifest;
        }
    }
}
