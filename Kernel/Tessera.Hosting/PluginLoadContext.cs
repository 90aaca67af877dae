using System.Collections.Frozen;
using System.Reflection;
using System.Reflection.Metadata;
using System.Reflection.PortableExecutable;
using System.Runtime.Loader;
using McMaster.NETCore.Plugins.Loader;
using Tessera.Common;

namespace Tessera.Hosting;

/// <summary>
/// What a plugin shares with the host. McMaster.NETCore.Plugins makes a collectible context whose assemblies are read into memory, so that files are free to be
/// built anew: the SDK is the host's, everything else comes from the plugin's folder, and what is not there the runtime looks for among its own. Two things the
/// package does not do stay here: it would lend a plugin the host's private libraries, because the runtime looks among those too; and it reads the plugin's own
/// file a second time, when a build may have replaced what its description was read from. A plugin of a kind that is kept gets a context that stays, and if it is
/// compiled ahead of time its files are mapped: the runtime takes such code from nowhere else.
/// </summary>
internal static class PluginLoadContext
{
    private static readonly AssemblyName Sdk = typeof(Tessera.Sdk.Nanoseconds).Assembly.GetName();
    private static readonly string RuntimeFolder = Path.GetDirectoryName(typeof(object).Assembly.Location)!;

    /// <summary>The host's private libraries: what the runtime would find besides its own.</summary>
    private static readonly FrozenSet<string> Private = ((string?)AppContext.GetData("TRUSTED_PLATFORM_ASSEMBLIES") ?? "").Split(Path.PathSeparator)
        .Where(path => path.Length > 0 && Path.GetDirectoryName(path) != RuntimeFolder).Select(path => Path.GetFileNameWithoutExtension(path)).ToFrozenSet();

    /// <summary>Makes a plugin's context.</summary>
    /// <param name="path">The plugin DLL's full path.</param>
    /// <param name="isKept">Whether it stays to the end of the process.</param>
    /// <param name="isMapped">Whether its files are mapped.</param>
    /// <exception cref="InvalidOperationException">The deps.json beside it is broken or names files that are missing.</exception>
    public static AssemblyLoadContext Create(string path, bool isKept, bool isMapped)
    {
        AssemblyLoadContextBuilder builder = new AssemblyLoadContextBuilder().SetMainAssemblyPath(path).IsLazyLoaded(true).PreferDefaultLoadContextAssembly(Sdk);
        if (!isKept)
            builder.EnableUnloading();
        if (!isMapped)
            builder.PreloadAssembliesIntoMemory();
        return builder.Build();
    }

    /// <summary>Which build an image is, and whether it was compiled ahead of time.</summary>
    public static (Guid Build, bool IsCompiled) Look(byte[] image)
    {
        using PEReader reader = new(new MemoryStream(image, writable: false));
        MetadataReader metadata = reader.GetMetadataReader();
        return (metadata.GetGuid(metadata.GetModuleDefinition().Mvid), reader.PEHeaders.CorHeader is { ManagedNativeHeaderDirectory.Size: > 0 });
    }

    public static bool IsSdk(string? simpleName) => simpleName == Sdk.Name;

    /// <summary>
    /// The first assembly that the plugin needs and nobody may give it: one that it refers to itself and is nowhere, or one that a library of it refers to and
    /// only the host has. A library's other missing references are errors when they are used: many are never.
    /// </summary>
    /// <returns>The assembly's simple name; null when all is there.</returns>
    public static string? Missing(string path, IEnumerable<AssemblyName> references)
    {
        PluginFolder folder = new(path);
        HashSet<string> seen = [];
        Queue<(string Name, bool IsDirect)> waiting = new(references.Select(reference => (reference.Name!, true)));
        while (waiting.TryDequeue(out (string Name, bool IsDirect) wanted))
        {
            if (IsSdk(wanted.Name) || !seen.Add(wanted.Name))
                continue;
            if (folder.Find(wanted.Name) is { } library)
            {
                foreach (string name in References(library))
                    waiting.Enqueue((name, false));
            }
            else if (!File.Exists(Path.Combine(RuntimeFolder, wanted.Name + ".dll")) && (wanted.IsDirect || Private.Contains(wanted.Name)))
            {
                return wanted.Name;
            }
        }

        return null;
    }

    /// <summary>Loads a plugin's assembly from the bytes that its description was read from, with the symbols beside the file if there are any: stack traces name source lines.</summary>
    public static Assembly Load(AssemblyLoadContext context, string path, byte[] image)
    {
        string symbols = Path.ChangeExtension(path, ".pdb");
        using MemoryStream code = new(image, writable: false);
        if (!File.Exists(symbols))
            return context.LoadFromStream(code);
        using MemoryStream lines = new(OrdinaryFile.Read(symbols), writable: false);
        return context.LoadFromStream(code, lines);
    }

    private static string[] References(string library)
    {
        try
        {
            using PEReader image = new(OrdinaryFile.Open(library));
            if (!image.HasMetadata)
                return [];
            MetadataReader metadata = image.GetMetadataReader();
            return [.. metadata.AssemblyReferences.Select(handle => metadata.GetString(metadata.GetAssemblyReference(handle).Name))];
        }
        catch (BadImageFormatException)
        {
            // The runtime says so better when it is loaded.
            return [];
        }
    }

    /// <summary>Where the package will find a library. The deps.json is read only for one that does not lie beside the plugin.</summary>
    private sealed class PluginFolder(string path)
    {
        private readonly Lazy<AssemblyDependencyResolver> _dependencies = new(() => new AssemblyDependencyResolver(path));

        public string? Find(string name)
        {
            string beside = Path.Combine(Path.GetDirectoryName(path)!, name + ".dll");
            return File.Exists(beside) ? beside : _dependencies.Value.ResolveAssemblyToPath(new AssemblyName(name));
        }
    }
}
