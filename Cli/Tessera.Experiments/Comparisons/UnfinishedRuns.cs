using System.Globalization;
using System.Text.RegularExpressions;

namespace Tessera.Experiments.Comparisons;

/// <summary>
/// Names of folders that runs are written into until they are whole: <c>.new-RANDOM-PID-NAMESPACE-HOST</c>. They say who writes there, so
/// that what a killed process left can be told from what another one, here or on another host of a cluster, is writing.
/// </summary>
internal static partial class UnfinishedRuns
{
    private const int LongestHost = 64;

    /// <summary>
    /// The number of this process's PID namespace: a container with the host's name has other numbers for other processes.
    /// </summary>
    private static readonly string Namespace = Digits(new FileInfo("/proc/self/ns/pid").LinkTarget ?? "");

    private static readonly string Host = string.Concat(
        Environment.MachineName.Where(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '.').Take(LongestHost));

    /// <summary>A name for this process, never the same again.</summary>
    public static string NewName() =>
        $".new-{Guid.NewGuid():N}-{Environment.ProcessId.ToString(CultureInfo.InvariantCulture)}-{Namespace}-{Host}";

    /// <summary>Whether a folder is one of these.</summary>
    public static bool IsName(string name) => Name().IsMatch(name);

    /// <summary>Whether it was made on this host by a process that is no more.</summary>
    public static bool IsAbandoned(string name) =>
        Name().Match(name) is { Success: true } match && match.Groups["ns"].Value == Namespace && match.Groups["host"].Value == Host
        && !CanWrite(match.Groups["pid"].Value);

    /// <summary>Whether a process is there. One that has ended stays in /proc until its parent has asked for it, which may be never.</summary>
    private static bool CanWrite(string process)
    {
        try
        {
            string stat = File.ReadAllText($"/proc/{process}/stat");
            int state = stat.LastIndexOf(')') + 2;
            return state >= stat.Length || stat[state] is not ('Z' or 'X');
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return Directory.Exists($"/proc/{process}");
        }
    }

    private static string Digits(string text) => string.Concat(text.Where(char.IsAsciiDigit));

    [GeneratedRegex("^\\.new-[0-9a-f]{32}-(?<pid>[0-9]{1,10})-(?<ns>[0-9]*)-(?<host>[A-Za-z0-9.-]*)$")]
    private static partial Regex Name();
}
