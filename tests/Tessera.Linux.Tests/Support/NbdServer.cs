using System.Diagnostics;

namespace Tessera.Linux.Tests.Support;

/// <summary>An nbdkit of a test's own at a socket; the test is skipped, and says so, where there is none. Disposing kills it.</summary>
internal sealed class NbdServer : IDisposable
{
    // A socket's path is at most 107 bytes long, and a test's folder may be deep.
    private readonly string _socket = Path.Combine(Path.GetTempPath(), $"tessera-{Guid.NewGuid():N}.sock");
    private readonly string[] _arguments;
    private Process _server;

    /// <param name="arguments">What it serves, in nbdkit's words.</param>
    public NbdServer(params IEnumerable<string> arguments)
    {
        _arguments = ["--foreground", "--unix", _socket, .. arguments];
        _server = Start();
    }

    public string Uri => $"nbd+unix:///?socket={_socket}";

    /// <summary>Kills it, and starts another at the same place.</summary>
    public void Restart()
    {
        Dispose();
        _server = Start();
    }

    public void Dispose()
    {
        _server.Kill();
        _server.WaitForExit();
        _server.Dispose();
        File.Delete(_socket);
    }

    private Process Start()
    {
        Process server;
        try
        {
            server = Process.Start(new ProcessStartInfo("nbdkit", _arguments))!;
        }
        catch (System.ComponentModel.Win32Exception)
        {
            Assert.Ignore("nbdkit is not installed (apt-get install nbdkit libnbd0).");
            throw;
        }

        Assert.That(SpinWait.SpinUntil(() => UnixSocket.Listens(_socket) || server.HasExited, Hang.Limit) && !server.HasExited, Is.True, "nbdkit did not start");
        return server;
    }
}
