using System.Globalization;
using System.Net.Sockets;
using System.Text;
using Tessera.Common;
using Tessera.Experiments;
using Tessera.Experiments.Hosts;

namespace Tessera.Cli.Control;

/// <summary>
/// Where control sockets are: a folder of this user's, `$XDG_RUNTIME_DIR/tessera` or `/tmp/tessera-UID`, has an entry for each running
/// machine that can be controlled, the socket itself or a link to it, named by the process.
/// </summary>
internal sealed class ControlSockets(Func<string, string?> environment)
{
    /// <summary>What to write for a socket in that folder.</summary>
    public const string Auto = "auto";

    /// <summary>What fits into a socket's address, less the zero at its end.</summary>
    private const int LongestPath = 107;

    /// <summary>The folder; it need not exist.</summary>
    public string Folder => environment("XDG_RUNTIME_DIR") is { Length: > 0 } runtime
        ? Path.Combine(runtime, "tessera")
        : $"/tmp/tessera-{ProcessUser.Id.ToString(CultureInfo.InvariantCulture)}";

    /// <summary>The path that a word of the command line means.</summary>
    /// <exception cref="UsageException">It is too long for a socket, or the folder is not this user's alone.</exception>
    public string PathOf(string socket)
    {
        string path = socket == Auto ? Path.Combine(MakeFolder(), Entry()) : Path.GetFullPath(socket);
        int bytes = Encoding.UTF8.GetByteCount(path);
        return bytes <= LongestPath
            ? path
            : throw new UsageException($"--control {socket}: the path {path} has {bytes} bytes, and a socket's has at most {LongestPath}. Name a shorter one.");
    }

    /// <summary>Enters a socket that lies elsewhere into the folder, so that it is found.</summary>
    /// <returns>The entry made; null when none was needed or the folder cannot be used, since then the path still works.</returns>
    public string? Announce(string socket)
    {
        try
        {
            string link = Path.Combine(MakeFolder(), Entry());
            if (link == socket)
                return null;
            File.Delete(link);
            File.CreateSymbolicLink(link, socket);
            return link;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or UsageException)
        {
            return null;
        }
    }

    /// <summary>Takes an entry back.</summary>
    public static void Withdraw(string? link)
    {
        if (link is not null)
            File.Delete(link);
    }

    /// <summary>The sockets of this user's machines that answer; entries of those that are gone are removed.</summary>
    public IReadOnlyList<string> Running()
    {
        if (!Directory.Exists(Folder))
            return [];
        List<string> running = [];
        foreach (string entry in Directory.GetFiles(Folder, "*.sock").Order(StringComparer.Ordinal))
        {
            if (IsAnswered(entry))
                running.Add(entry);
            else
                Forget(entry);
        }

        return running;
    }

    /// <summary>Clears the way for a socket: one that nobody answers is left over from a process that died.</summary>
    /// <exception cref="UsageException">Something else is there, or a machine that runs.</exception>
    public static void RemoveStale(string path)
    {
        if (FileFacts.Of(path) is not { } facts)
            return;
        if (!facts.IsSocket)
            throw new UsageException($"--control {path}: something that is not a socket is there. Name another path.");
        if (IsAnswered(path))
            throw new UsageException($"--control {path}: a running machine listens there. Name another path, or `--control {Auto}`.");
        File.Delete(path);
    }

    private static string Entry() => $"{Environment.ProcessId.ToString(CultureInfo.InvariantCulture)}.sock";

    private static bool IsAnswered(string path)
    {
        using Socket probe = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            probe.Connect(new UnixDomainSocketEndPoint(path));
            return true;
        }
        catch (SocketException)
        {
            return false;
        }
    }

    private static void Forget(string entry)
    {
        try
        {
            File.Delete(entry);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // It does not answer; that is all that matters here.
        }
    }

    /// <summary>Makes the folder, or checks that the one there is this user's alone: in /tmp anybody could have made it.</summary>
    /// <exception cref="UsageException">It cannot be made, or is not this user's alone.</exception>
    public string MakeFolder()
    {
        string folder = Folder;
        try
        {
            PrivateFiles.MakeFolder(folder);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new UsageException(
                $"{folder}: {e.Message} Set XDG_RUNTIME_DIR to a folder of your own; for a control socket you can name a path instead.");
        }

        if (FileFacts.Of(folder) is not { IsFolder: true } facts || facts.Owner != ProcessUser.Id || facts.IsShared)
            throw new UsageException($"{folder} is not a folder that only you can use. Remove it or chmod it to 700; for a control socket "
                + "you can name a path instead.");
        return folder;
    }
}
