using System.Globalization;

namespace Tessera.Experiments.Hosts;

/// <summary>Whom this process acts as.</summary>
public static class ProcessUser
{
    private const string Status = "/proc/self/status";

    /// <summary>The number of the effective user, to whom belongs what the process makes. Not the owner of /proc/self: that link is root's.</summary>
    public static uint Id { get; } = Effective("Uid:")[0];

    /// <summary>The numbers of the groups whose rights it has: the effective one and the others.</summary>
    public static IReadOnlySet<uint> Groups { get; } = new HashSet<uint>([.. Effective("Gid:"), .. Numbers("Groups:")]);

    /// <summary>The second of real, effective, saved and file system.</summary>
    private static uint[] Effective(string field) => [Numbers(field)[1]];

    private static uint[] Numbers(string field) =>
        [.. (HostResources.Field(Status, field) ?? "").Split((char[])[' ', '\t'], StringSplitOptions.RemoveEmptyEntries).Select(text => uint.Parse(text, CultureInfo.InvariantCulture))];
}
