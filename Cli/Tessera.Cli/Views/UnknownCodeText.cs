using System.Globalization;
using Tessera.Lab.Results;

namespace Tessera.Cli.Views;

/// <summary>Says which code of a domain its engine does not run.</summary>
internal static class UnknownCodeText
{
    /// <summary>A line for one kind of code.</summary>
    public static string Of(string domain, UnknownCodeResult code)
    {
        string bytes = code.Bytes.Length == 0 ? "" : $" ({code.Bytes})";
        string times = code.Count == 1 ? "once" : $"{code.Count.ToString("N0", CultureInfo.InvariantCulture)} times";
        return $"{domain}: the engine does not run {code.What}{bytes}, met {times}: an exception in the guest";
    }
}
