using System.Collections.Concurrent;
using System.Diagnostics;
using Tessera.Plugins.Block.Nbd;
using Tessera.Sdk;
using Tessera.Sdk.Conformance.Block;
using Tessera.Sdk.Devices;

namespace Tessera.Block.Tests;

/// <summary>Which server, and what it does with what it is told.</summary>
internal enum NbdServer
{
    /// <summary>nbdkit on a file: every write is in the host's page cache when it is acknowledged.</summary>
    File,

    /// <summary>nbdkit with a cache that writes back only when it is told to flush: what was not flushed goes with the process.</summary>
    WriteBack,

    /// <summary>qemu-nbd on a qcow2 image.</summary>
    Qcow2,

    /// <summary>As <see cref="WriteBack"/>, and it refuses what is not of the sizes that it says: whole 4 KiB, at most 256 KiB, best 16 KiB.</summary>
    Picky,
}

/// <summary>A disk at a server of its own, which can be killed and started again; the test is skipped, and says so, where there is no such server.</summary>
internal sealed class NbdStorage : BlockStorage
{
    private static readonly BlockingCollection<Task> Starts = NewStarter();

    private readonly TemporaryFolder _folder = new();
    private readonly NbdServer _kind;
    private readonly string _socket;
    private Process? _server;

    public NbdStorage(NbdServer kind = NbdServer.File, int size = 256 << 10)
    {
        _kind = kind;
        // A socket's path is at most 107 bytes long, and a test's folder may be deep.
        _socket = Path.Combine(Path.GetTempPath(), $"tessera-{Guid.NewGuid():N}.sock");
        try
        {
            if (kind == NbdServer.Qcow2)
                Start("qemu-img", "create", "-q", "-f", "qcow2", Disk, $"{size}").WaitForExit();
            else
                File.WriteAllBytes(Disk, new byte[size]);
            StartServer();
        }
        catch
        {
            _folder.Dispose();
            throw;
        }
    }

    public string Disk => _folder.File("disk");

    public string Uri => $"nbd+unix:///?socket={_socket}";

    /// <summary>How long a server that is away is called.</summary>
    public Nanoseconds Reconnect { get; init; } = Nanoseconds.FromSeconds(60);

    public override IBlockBackend Make() => new Nbd(new NbdOptions { Uri = Uri, Reconnect = Reconnect });

    public void KillServer()
    {
        _server!.Kill();
        _server.WaitForExit();
        _server.Dispose();
        _server = null;
        File.Delete(_socket);
    }

    public void StartServer()
    {
        _server = _kind switch
        {
            NbdServer.File => Start("nbdkit", "--foreground", "--unix", _socket, "file", Disk),
            NbdServer.WriteBack => Start("nbdkit", "--foreground", "--unix", _socket, "--filter=cache", "file", Disk, "cache=writeback"),
            NbdServer.Picky => Start(
                "nbdkit", "--foreground", "--unix", _socket, "--filter=blocksize-policy", "--filter=cache", "file", Disk, "cache=writeback",
                "blocksize-minimum=4096", "blocksize-preferred=16384", "blocksize-maximum=262144", "blocksize-error-policy=error"),
            _ => Start("qemu-nbd", "--persistent", "--socket", _socket, "--format", "qcow2", "--discard", "unmap", Disk),
        };
        Assert.That(SpinWait.SpinUntil(() => UnixSocket.Listens(_socket) || _server.HasExited, Hang.Limit) && !_server.HasExited, Is.True, "the server did not start");
    }

    protected override void Dispose(bool disposing)
    {
        if (_server is not null)
            KillServer();
        _folder.Dispose();
        base.Dispose(disposing);
    }

    /// <summary>Starts every server on one thread that stays: some hosts end a process with the thread that started it.</summary>
    private static BlockingCollection<Task> NewStarter()
    {
        BlockingCollection<Task> starts = [];
        new Thread(() =>
        {
            foreach (Task start in starts.GetConsumingEnumerable())
                start.RunSynchronously(TaskScheduler.Default);
        })
        {
            IsBackground = true,
        }.Start();
        return starts;
    }

    private static Process Start(string program, params IEnumerable<string> arguments)
    {
        try
        {
            // What it says of a killed client interests nobody; it is read, so that it never waits for that.
            Task<Process> start = new(() => Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardError = true })!);
            Starts.Add(start);
            Process process = start.GetAwaiter().GetResult();
            process.BeginErrorReadLine();
            return process;
        }
        catch (System.ComponentModel.Win32Exception)
        {
            Assert.Ignore($"{program} is not installed (apt-get install nbdkit qemu-utils libnbd0).");
            throw;
        }
    }
}

/// <summary>A disk whose server is killed at every so many requests, in the middle of them, and comes back; nobody who uses the disk may notice.</summary>
internal sealed class DyingServerStorage : BlockStorage
{
    private readonly NbdStorage _inner = new(NbdServer.WriteBack);

    public override IBlockBackend Make() => new Dying(_inner.Make(), _inner);

    protected override void Dispose(bool disposing)
    {
        _inner.Dispose();
        base.Dispose(disposing);
    }

    private sealed class Dying : IBlockBackend
    {
        private const int Every = 16;

        private readonly IBlockBackend _inner;
        private readonly NbdStorage _server;
        private readonly SemaphoreSlim _due = new(0);
        private readonly Thread _killer;
        private int _requests;
        private volatile bool _isOver;

        public Dying(IBlockBackend inner, NbdStorage server)
        {
            (_inner, _server) = (inner, server);
            _killer = new Thread(Kill) { IsBackground = true };
            _killer.Start();
        }

        public BlockGeometry Open(BlockAccess access) => _inner.Open(access);

        public void Submit(BlockRequest request)
        {
            _inner.Submit(request);
            if (Interlocked.Increment(ref _requests) % Every == 0)
                _due.Release();
        }

        public void Dispose()
        {
            // The last ones come back before the disk closes.
            _isOver = true;
            _due.Release();
            _killer.Join();
            _inner.Dispose();
            _due.Dispose();
        }

        private void Kill()
        {
            while (true)
            {
                _due.Wait();
                if (_isOver)
                    return;
                _server.KillServer();
                _server.StartServer();
            }
        }
    }
}
