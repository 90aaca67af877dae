using System.Reflection;

namespace Tessera.Lab.Reports;

/// <summary>The plotting library (uPlot), which the build fetches from the npm registry and puts into this assembly.</summary>
internal static class PlottingLibrary
{
    private const string Prefix = "plotting/";

    /// <summary>Whether the build had it.</summary>
    public static bool IsThere => Read("uPlot.iife.min.js") is not null;

    /// <summary>Its code.</summary>
    /// <exception cref="ReportException">The build could not fetch it.</exception>
    public static string Script => Read("uPlot.iife.min.js") ?? throw Missing();

    /// <summary>Its styles.</summary>
    /// <exception cref="ReportException">The build could not fetch it.</exception>
    public static string Style => Read("uPlot.min.css") ?? throw Missing();

    /// <summary>Its licence, which goes with every copy.</summary>
    /// <exception cref="ReportException">The build could not fetch it.</exception>
    public static string Licence => Read("LICENSE") ?? throw Missing();

    private static string? Read(string name)
    {
        using Stream? stream = Assembly.GetExecutingAssembly().GetManifestResourceStream(Prefix + name);
        if (stream is null)
            return null;
        using StreamReader reader = new(stream);
        return reader.ReadToEnd();
    }

    private static ReportException Missing() => new(
        "report.html needs the plotting library uPlot, and this build of Tessera is without it: the npm registry could not be reached when it was built. "
        + "Run .ci/plotting-library where the registry can be reached, then build again. CSV and trace files need no library and were written.")
    {
        IsHostsFault = true,
    };
}
