using System.Text.RegularExpressions;
using Tessera.Hosting;

namespace Tessera.GuestLibrary;

/// <summary>A guest that can be fetched: a Debian metapackage whose one kernel dependency is the current stock kernel.</summary>
/// <param name="Name">What it is called here.</param>
/// <param name="Metapackage">The package that always depends on the current kernel package.</param>
/// <param name="Description">One line for `guest list`.</param>
public sealed partial record FetchableGuest(string Name, string Metapackage, string Description)
{
    /// <summary>True for a signed kernel package; false for -dbg and -unsigned, which carry no kernel to boot or one nobody runs.</summary>
    public static bool IsKernelPackage(string package) => KernelPattern().IsMatch(package);

    [GeneratedRegex("^linux-image-[0-9][0-9A-Za-z.+~-]*-cloud-amd64$")]
    private static partial Regex KernelPattern();
}

/// <summary>The guests `guest get` knows.</summary>
public static class GuestCatalogue
{
    /// <summary>All of them, the default first.</summary>
    public static IReadOnlyList<FetchableGuest> All { get; } =
    [
        new("debian", "linux-image-cloud-amd64", "the stock cloud kernel of the configured Debian package source (6.1 on bookworm)"),
        new("debian-6.12", "linux-image-6.12-cloud-amd64", "Debian's 6.12 cloud kernel (from bookworm's security source)"),
    ];

    /// <summary>The one of that name.</summary>
    /// <exception cref="GuestException">There is none; the message names the one that was meant, and those there are.</exception>
    public static FetchableGuest Find(string name) => All.FirstOrDefault(g => g.Name == name) ?? throw new GuestException(
        $"No guest \"{name}\" can be fetched.{(Suggestion.Nearest(name, All.Select(g => g.Name)) is { } near ? $" Did you mean \"{near}\"?" : "")} These can: {string.Join(", ", All.Select(g => g.Name))}. For a kernel of your own: tessera guest add NAME KERNEL [--initrd FILE].")
    { IsMisuse = true };
}
