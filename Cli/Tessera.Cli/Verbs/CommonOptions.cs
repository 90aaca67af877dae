using System.CommandLine;
using System.Globalization;
using Tessera.Hosting;
using Tessera.Sdk.Plugins;

namespace Tessera.Cli.Verbs;

/// <summary>Options that several verbs have, the same everywhere.</summary>
internal static class CommonOptions
{
    /// <summary>A hundred years: more than anybody waits for, and far from the end of 64-bit nanoseconds.</summary>
    private const double MaxSeconds = 3.2e9;

    /// <summary>`--json`.</summary>
    public static Option<bool> Json(string what) => new("--json") { Description = $"Write {what} as JSON to standard output, and nothing else there." };

    /// <summary>`--scheduler NAME-or-DLL`.</summary>
    public static Option<string?> Scheduler() => new("--scheduler") { Description = "The scheduler plugin, by name or by the path of its DLL.", HelpName = "NAME-or-DLL" };

    /// <summary>`--seconds N`.</summary>
    public static Option<double?> Seconds(string description)
    {
        Option<double?> option = new("--seconds") { Description = description, HelpName = "N" };
        option.CustomParser = result =>
        {
            string text = result.Tokens.Count > 0 ? result.Tokens[0].Value : "";
            if (double.TryParse(text, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out double seconds) && seconds is > 0 and <= MaxSeconds)
                return seconds;
            result.AddError($"--seconds {text}: seconds are a number above 0, such as 10 or 0.5.");
            return null;
        };
        return option;
    }

    /// <summary>`--memory 256MiB`.</summary>
    public static Option<string?> Memory()
    {
        Option<string?> option = new("--memory") { Description = "The domain's memory, such as 256MiB; by default what the guest needs.", HelpName = "SIZE" };
        option.Validators.Add(result =>
        {
            if (result.Tokens.Count > 0 && !ByteSizeText.TryParse(result.Tokens[0].Value, out ByteSize _, out string problem))
                result.AddError($"--memory: {problem}.");
        });
        return option;
    }
}
