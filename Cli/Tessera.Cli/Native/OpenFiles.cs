using System.Globalization;
using Tessera.Experiments.Hosts;
using Tessera.Sdk.Cpu;

namespace Tessera.Cli.Native;

/// <summary>How many files this process may have open, and whether that is enough.</summary>
internal static class OpenFiles
{
    /// <summary>What the runtime, plugins and result files take, found by counting, and some to spare.</summary>
    private const long Ours = 200;

    /// <summary>With fewer not even all of the program can be loaded.</summary>
    private const long Least = 128;

    /// <summary>What a domain takes at most, disks and interfaces left out: its machine, its CPU and what wakes it, its console's file.</summary>
    private const long EachDomain = 6;

    private const int TooMany = 24;
    private const int TooManyOnHost = 23;

    /// <summary>What is said when there were too few in spite of all.</summary>
    public static string Exhausted => $"too many open files: this process may have {Most?.ToString(CultureInfo.InvariantCulture) ?? "too few"}. Raise the limit (ulimit -Hn; in a service LimitNOFILE) or run fewer domains.";

    /// <summary>The limit that the process can raise itself to; null when there is none, or it is unknown.</summary>
    public static long? Most =>
        HostResources.Field("/proc/self/limits", "Max open files") is { } text
        && text.Split(' ', StringSplitOptions.RemoveEmptyEntries) is [_, var hard, ..]
        && long.TryParse(hard, NumberStyles.None, CultureInfo.InvariantCulture, out long most)
            ? most
            : null;

    /// <summary>Whether the program itself has enough; says so when not.</summary>
    /// <param name="error">Where to say it.</param>
    public static bool AreEnough(TextWriter error)
    {
        if (Most is not < Least)
            return true;
        error.WriteLine($"tessera: {Exhausted}");
        return false;
    }

    /// <summary>Whether an exception says that there are too few.</summary>
    public static bool AreExhausted(Exception exception) => exception.HResult is TooMany or TooManyOnHost || exception.InnerException is { } inner && AreExhausted(inner);

    /// <summary>Says before anything is built that a machine's domains will not do.</summary>
    /// <param name="domains">How many there are.</param>
    /// <param name="most">The limit; null for none.</param>
    /// <exception cref="EngineException">There are too few.</exception>
    public static void Check(int domains, long? most)
    {
        long needed = Ours + (EachDomain * domains);
        if (most < needed)
            throw new EngineException($"This process may have {most} open files, and {domains} domains take up to {needed}.", "Raise the limit (ulimit -Hn; in a service LimitNOFILE) or run fewer domains.");
    }
}
