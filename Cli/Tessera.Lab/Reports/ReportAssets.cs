using System.Reflection;

namespace Tessera.Lab.Reports;

/// <summary>The page's own styles and scripts, kept as files beside this one.</summary>
internal static class ReportAssets
{
    private const string Prefix = "report/";

    /// <summary>The styles.</summary>
    public static string Style => Read(Prefix + "report.css");

    /// <summary>The scripts, in the order of their numbers: each stands on those before.</summary>
    public static IReadOnlyList<string> Scripts =>
    [
        .. Assembly.GetExecutingAssembly().GetManifestResourceNames()
            .Where(name => name.StartsWith(Prefix, StringComparison.Ordinal) && name.EndsWith(".js", StringComparison.Ordinal))
            .Order(StringComparer.Ordinal)
            .Select(Read),
    ];

    private static string Read(string name)
    {
        using Stream stream = Assembly.GetExecutingAssembly().GetManifestResourceStream(name) ?? throw new InvalidOperationException($"The assembly is without its resource {name}.");
        using StreamReader reader = new(stream);
        return reader.ReadToEnd();
    }
}
