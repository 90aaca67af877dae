using System.Reflection;
using System.Runtime.Loader;
using Tessera.Common;
using Tessera.Sdk.Plugins;

namespace Tessera.Hosting;

/// <summary>The one door through which plugins come in: from a manifest to a loaded, checked plugin, in a load context of its own.</summary>
internal static class PluginLoader
{
    /// <summary>What is kept, by its path and which build it is; compiled ahead of time, the same build has another length.</summary>
    private static readonly Dictionary<(string Path, Guid Build, int Length), (AssemblyLoadContext Context, Assembly Assembly)> Kept = [];

    /// <param name="manifest">What was found.</param>
    /// <param name="image">The bytes that the manifest was read from; null reads the file.</param>
    /// <exception cref="PluginException">A dependency is missing, or the class or its options do not fit their contracts.</exception>
    public static LoadedPlugin Load(PluginManifest manifest, byte[]? image = null)
    {
        AssemblyLoadContext? context = null;
        try
        {
            image ??= OrdinaryFile.Read(manifest.Path);
            (context, Assembly assembly) = PluginKinds.IsKept(manifest.Kind) ? LoadKept(manifest, image) : LoadAnew(manifest, image, isKept: false, isMapped: false);
            Type type = assembly.GetType(manifest.TypeName, throwOnError: true)!;
            PluginAttribute attribute = type.GetCustomAttribute<PluginAttribute>(inherit: false)!;
            CheckClass(manifest, type);
            References.Load(type.Assembly);
            PluginInfo info = new()
            {
                Kind = manifest.Kind,
                Name = manifest.Name,
                Version = manifest.Version,
                Summary = manifest.Summary,
                SdkVersion = manifest.Sdk.ToString(2),
                Path = manifest.Path,
                ReachesOutside = attribute.ReachesOutside,
                Options = Describe(manifest, attribute.Options),
                DomainOptions = Describe(manifest, attribute.DomainOptions),
            };
            return new LoadedPlugin(context, type, info, attribute.Options, attribute.DomainOptions);
        }
        catch (Exception exception)
        {
            if (context is { IsCollectible: true })
                context.Unload();
            throw exception as PluginException ?? Explain(manifest.Path, exception);
        }
    }

    private static (AssemblyLoadContext Context, Assembly Assembly) LoadKept(PluginManifest manifest, byte[] image)
    {
        (Guid build, bool isCompiled) = PluginLoadContext.Look(image);
        lock (Kept)
        {
            if (!Kept.TryGetValue((manifest.Path, build, image.Length), out (AssemblyLoadContext, Assembly) known))
                Kept[(manifest.Path, build, image.Length)] = known = LoadAnew(manifest, image, isKept: true, isMapped: isCompiled);
            return known;
        }
    }

    private static (AssemblyLoadContext Context, Assembly Assembly) LoadAnew(PluginManifest manifest, byte[] image, bool isKept, bool isMapped)
    {
        AssemblyLoadContext context = PluginLoadContext.Create(manifest.Path, isKept, isMapped);
        try
        {
            CheckReferences(manifest);
            return (context, isMapped ? context.LoadFromAssemblyPath(manifest.Path) : PluginLoadContext.Load(context, manifest.Path, image));
        }
        catch (Exception) when (context.IsCollectible)
        {
            context.Unload();
            throw;
        }
    }

    /// <summary>Whether the runtime could not load something, as opposed to the plugin's own code that could not do something.</summary>
    public static bool IsLoadFailure(Exception exception) => exception is FileLoadException or TypeLoadException || IsMissingAssembly(exception);

    /// <summary>Turns what the runtime says of an assembly or type it cannot load into an error with a cure.</summary>
    public static PluginException Explain(string path, Exception exception) => exception switch
    {
        ReflectionTypeLoadException { LoaderExceptions: [{ } first, ..] } => Explain(path, first),
        FileNotFoundException { FileName: { } file } => MissingDependency(path, SimpleName(file), exception),
        FileLoadException { FileName: { } file } => new(
            $"{path}: its dependency {SimpleName(file)} cannot be loaded: {exception.Message}",
            "Publish the plugin again, so that its folder has the versions it was built with.",
            exception),
        InvalidOperationException => new(
            $"{path}: its dependencies cannot be resolved: {exception.Message.Trim()}",
            "Copy the whole output folder of the plugin's build, with the deps.json file that belongs to it.",
            exception),
        TypeLoadException or MissingMemberException => new(
            $"{path} does not fit this Tessera or its own dependencies: {exception.Message}",
            $"Rebuild the plugin against Tessera.Sdk {SdkVersion.Major}.{SdkVersion.Minor}.",
            exception),
        _ => new($"{path} cannot be loaded: {Messages(exception)}", "Rebuild the plugin, or report this to its author.", exception),
    };

    /// <summary>The message and those of the causes below it, for one line.</summary>
    public static string Messages(Exception exception)
    {
        List<string> messages = [];
        for (Exception? at = exception; at is not null; at = at.InnerException)
            messages.Add($"{at.GetType().Name}: {at.Message}");
        return string.Join(" ← ", messages);
    }

    /// <summary>Other missing files are named by their path, assemblies by their whole name.</summary>
    private static bool IsMissingAssembly(Exception exception) => exception is FileNotFoundException { FileName: { } name } && name.Contains(", Culture=", StringComparison.Ordinal);

    private static string SimpleName(string file) => file.Contains(',', StringComparison.Ordinal) ? new AssemblyName(file).Name! : Path.GetFileNameWithoutExtension(file);

    private static PluginException MissingDependency(string path, string name, Exception? inner = null) => new(
        $"{path} needs {name}.dll, which is not in its folder {Path.GetDirectoryName(path)}.",
        "Copy the whole output folder of the plugin's build; its project needs <EnableDynamicLoading>true</EnableDynamicLoading>.",
        inner);

    private static void CheckReferences(PluginManifest manifest)
    {
        if (PluginLoadContext.Missing(manifest.Path, manifest.References) is { } missing)
            throw MissingDependency(manifest.Path, missing);
        foreach (AssemblyName reference in manifest.References)
        {
            if (reference.Name == "System.Runtime" && reference.Version is { } version && version.Major > Environment.Version.Major)
            {
                throw new PluginException(
                    $"{manifest.Path} was built for .NET {version.Major}, and this Tessera runs on .NET {Environment.Version.Major}.",
                    $"Build it with <TargetFramework>net{Environment.Version.Major}.0</TargetFramework>.");
            }
        }
    }

    private static void CheckClass(PluginManifest manifest, Type type)
    {
        Type contract = PluginKinds.Contract(manifest.Kind);
        if (!contract.IsAssignableFrom(type))
        {
            throw new PluginException(
                $"{manifest.Path}: {manifest.TypeName} is marked as a {PluginKinds.Title(manifest.Kind)} but does not implement {contract.FullName}.",
                "Implement the interface, or name the right kind in [Plugin].");
        }

        if (type.IsAbstract || type.ContainsGenericParameters)
            throw new PluginException($"{manifest.Path}: {manifest.TypeName} is abstract or generic, so it cannot be instantiated.", "Put [Plugin] on a concrete class.");
        int constructors = type.GetConstructors().Length;
        if (constructors != 1)
            throw new PluginException($"{manifest.Path}: {manifest.TypeName} has {constructors} public constructors.", "Give it exactly one, which takes its options record and the services it needs.");
    }

    private static IReadOnlyList<OptionInfo> Describe(PluginManifest manifest, Type? options)
    {
        try
        {
            return OptionBinder.Describe(options);
        }
        catch (ArgumentException exception)
        {
            throw new PluginException($"{manifest.Path}: {exception.Message}", "Options are init properties with [Option], described in docs/plugins.md.", exception);
        }
    }
}
