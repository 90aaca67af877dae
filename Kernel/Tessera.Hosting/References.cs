using System.Reflection;
using System.Runtime.Loader;

namespace Tessera.Hosting;

/// <summary>
/// Loads what assemblies refer to before it is used. The runtime would load each when a method that needs it is first compiled, on whichever thread that is: while guests run,
/// threads of CPUs and devices may open no files (docs/security.md), and the runtime remembers for good that it did not find one.
/// </summary>
public static class References
{
    /// <summary>Loads all that the host's assemblies refer to, whoever loaded them, and what those refer to.</summary>
    public static void LoadHosts() => Load(AssemblyLoadContext.Default.Assemblies, []);

    /// <summary>Loads all that a plugin refers to, and what those refer to; the host's own are its own matter.</summary>
    public static void Load(Assembly plugin) => Load([plugin], AssemblyLoadContext.Default.Assemblies);

    // What cannot be loaded is left: most likely nobody uses it.
    private static void Load(IEnumerable<Assembly> roots, IEnumerable<Assembly> known)
    {
        Queue<Assembly> waiting = new(roots);
        HashSet<Assembly> seen = [.. waiting, .. known];
        while (waiting.TryDequeue(out Assembly? next))
        {
            AssemblyLoadContext context = AssemblyLoadContext.GetLoadContext(next) ?? AssemblyLoadContext.Default;
            foreach (AssemblyName name in next.GetReferencedAssemblies())
            {
                if (TryLoad(context, name) is { } found && seen.Add(found))
                    waiting.Enqueue(found);
            }
        }
    }

    private static Assembly? TryLoad(AssemblyLoadContext context, AssemblyName name)
    {
        try
        {
            return context.LoadFromAssemblyName(name);
        }
        catch (Exception exception) when (exception is IOException or BadImageFormatException)
        {
            return null;
        }
    }
}
