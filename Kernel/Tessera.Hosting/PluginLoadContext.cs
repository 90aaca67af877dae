using System.Reflection;
using System.Runtime.Loader;

namespace Tessera.Hosting;

/// <summary>
/// One plugin's own assemblies, read into memory: the files are free to be built anew while the plugin runs, and the next load sees
/// what is there then (the runtime would give the old image for a path that it has mapped already). The SDK is the host's, so that both sides speak of the same types; .NET's own assemblies are the
/// runtime's; everything else comes from the plugin's folder, in the plugin's version, and never from the host's. Collectible.
/// </summary>
internal sealed class PluginLoadContext : AssemblyLoadContext
{
    private static readonly Assembly Sdk = typeof(Tessera.Sdk.Nanoseconds).Assembly;
    private static readonly string SdkName = Sdk.GetName().Name!;
    private static readonly string RuntimeFolder = Path.GetDirectoryName(typeof(object).Assembly.Location)!;

    private readonly AssemblyDependencyResolver _resolver;
    private readonly string _path;

    /// <param name="path">The plugin DLL's full path.</param>
    /// <exception cref="InvalidOperationException">The deps.json beside it is broken or names files that are missing.</exception>
    public PluginLoadContext(string path)
        : base($"plugin {Path.GetFileNameWithoutExtension(path)}", isCollectible: true)
    {
        _path = path;
        _resolver = new AssemblyDependencyResolver(path);
    }

    public static bool IsSdk(string? simpleName) => simpleName == SdkName;

    public static bool IsRuntime(string? simpleName) => simpleName is not null && File.Exists(Path.Combine(RuntimeFolder, simpleName + ".dll"));

    /// <summary>Whether the assembly will be found when the plugin needs it.</summary>
    public bool CanResolve(AssemblyName name) => IsSdk(name.Name) || IsRuntime(name.Name) || _resolver.ResolveAssemblyToPath(name) is not null;

    protected override Assembly? Load(AssemblyName assemblyName)
    {
        if (IsSdk(assemblyName.Name))
            return Sdk;
        if (_resolver.ResolveAssemblyToPath(assemblyName) is { } path)
            return LoadCopy(path, File.ReadAllBytes(path));

        // Null asks the default context, which would also offer the host's private libraries: only .NET's own may come from there.
        if (IsRuntime(assemblyName.Name) || !string.IsNullOrEmpty(assemblyName.CultureName))
            return null;
        throw new MissingAssemblyException($"{assemblyName.Name} {assemblyName.Version} is not in the folder of {_path}.", assemblyName.Name!);
    }

    /// <summary>Loads an assembly from its bytes, with the symbols beside the file if there are any: stack traces name source lines.</summary>
    public Assembly LoadCopy(string path, byte[] image)
    {
        string symbols = Path.ChangeExtension(path, ".pdb");
        using MemoryStream code = new(image, writable: false);
        if (!File.Exists(symbols))
            return LoadFromStream(code);
        using MemoryStream lines = new(File.ReadAllBytes(symbols), writable: false);
        return LoadFromStream(code, lines);
    }

    protected override nint LoadUnmanagedDll(string unmanagedDllName) =>
        _resolver.ResolveUnmanagedDllToPath(unmanagedDllName) is { } path ? LoadUnmanagedDllFromPath(path) : 0;
}

/// <summary>A plugin's code asked for an assembly that its folder lacks; unlike other missing files, which are the plugin's own business.</summary>
internal sealed class MissingAssemblyException(string message, string assembly) : FileNotFoundException(message, assembly + ".dll")
{
    /// <summary>The assembly's simple name.</summary>
    public string Assembly { get; } = assembly;
}
