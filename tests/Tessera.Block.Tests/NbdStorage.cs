using System.Diagnostics;
using Tessera.Plugins.Block.Nbd;
using Tessera.Sdk.Conformance.Block;
using Tessera.Sdk.Devices;

namespace Tessera.Block.Tests;

/// <summary>A disk at an nbdkit of its own; the test is skipped, and says so, where there is none.</summary>
internal sealed class NbdStorage : BlockStorage
{
    private readonly TemporaryFolder _folder = new();
    private readonly Process _server;
    private readonly string _socket;

    public NbdStorage()
    {
        // A socket's path is at most 107 bytes long, and a test's folder may be deep.
        _socket = Path.Combine(Path.GetTempPath(), $"tessera-{Guid.NewGuid():N}.sock");
        File.WriteAllBytes(_folder.File("disk"), new byte[256 << 10]);
        try
        {
            _server = Process.Start(new ProcessStartInfo("nbdkit", ["--foreground", "--unix", _socket, "file", _folder.File("disk")]) { RedirectStandardError = true })!;
        }
        catch (System.ComponentModel.Win32Exception)
        {
            _folder.Dispose();
            Assert.Ignore("nbdkit is not installed (apt-get install nbdkit libnbd0).");
            throw;
        }

        Assert.That(SpinWait.SpinUntil(() => File.Exists(_socket) || _server.HasExited, TimeSpan.FromSeconds(30)) && !_server.HasExited, Is.True, "nbdkit did not start");
    }

    public string Uri => $"nbd+unix:///?socket={_socket}";

    public override IBlockBackend Make() => new Nbd(new NbdOptions { Uri = Uri });

    public void KillServer()
    {
        _server.Kill();
        _server.WaitForExit();
    }

    protected override void Dispose(bool disposing)
    {
        if (!_server.HasExited)
            KillServer();
        _server.Dispose();
        File.Delete(_socket);
        _folder.Dispose();
        base.Dispose(disposing);
    }
}
