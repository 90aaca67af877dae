namespace Tessera;

/// <summary>Sockets of servers that tests start.</summary>
internal static class UnixSocket
{
    private const string AcceptsConnections = " 00010000 ";

    /// <summary>Whether a server takes connections there; its file is there a moment before that.</summary>
    public static bool Listens(string path) =>
        File.ReadLines("/proc/net/unix").Any(line => line.EndsWith(" " + path, StringComparison.Ordinal) && line.Contains(AcceptsConnections, StringComparison.Ordinal));
}
