using Tessera.Plugins.Block.Nbd.Native;
using Tessera.Sdk.Devices;
using Tessera.Sdk.Plugins;

namespace Tessera.Plugins.Block.Nbd;

/// <summary>
/// A disk at an NBD server (qemu-nbd, nbdkit, a kernel elsewhere), and so any image format and place that a server knows. Through the
/// system's libnbd; without it, opening says which package is missing. Who else writes the export is the server's business. When the server
/// goes away and comes back, requests wait for it, and nothing that it had acknowledged is lost: see <see cref="NbdConnection"/>.
/// </summary>
/// <param name="options">Its options.</param>
/// <param name="duties">Takes from its thread what it does not need.</param>
[Plugin("nbd", PluginKind.BlockBackend, "1.1.0", ReachesOutside = true, Summary = "A disk at an NBD server: any format and place that qemu-nbd or nbdkit know.", Options = typeof(NbdOptions))]
public sealed class Nbd(NbdOptions options, IThreadDuties? duties = null) : IBlockBackend
{
    /// <summary>How long a server may take to answer a first call.</summary>
    private static readonly TimeSpan FirstPatience = TimeSpan.FromSeconds(30);

    private NbdConnection? _connection;
    private BlockGeometry _geometry = new() { Size = 0 };

    /// <inheritdoc/>
    public string? Problem => _connection?.Problem;

    /// <inheritdoc/>
    public BlockGeometry Open(BlockAccess access)
    {
        if (options.Uri.Length == 0)
            throw new BackendException("nbd: the option uri is missing.", "Name the export: nbd://host:port/name or nbd+unix:///name?socket=/path.");
        NbdDialer dialer = new(options, access);
        NbdHandle handle = dialer.Connect(FirstPatience, () => false);
        try
        {
            _geometry = dialer.Describe(handle);
            _connection = new NbdConnection(dialer, handle, dialer.Limits(handle, _geometry), _geometry, TimeSpan.FromSeconds(options.Reconnect.TotalSeconds), duties);
            return _geometry;
        }
        catch
        {
            handle.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public void Submit(BlockRequest request)
    {
        BlockStatus status = _geometry.Check(request);
        if (status == BlockStatus.Ok && (request.Operation != BlockOperation.Flush || _geometry.VolatileCache))
            _connection!.Submit(request);
        else
            request.Complete(status);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _connection?.Dispose();
        _connection = null;
    }
}
