using Tessera.Plugins.Block.Nbd.Native;
using Tessera.Sdk.Devices;
using Tessera.Sdk.Plugins;

namespace Tessera.Plugins.Block.Nbd;

/// <summary>
/// A disk at an NBD server (qemu-nbd, nbdkit, a kernel elsewhere), and so any image format and place that a server knows. Through the
/// system's libnbd; without it, opening says which package is missing. Who else writes the export is the server's business.
/// </summary>
/// <param name="options">Its options.</param>
[Plugin("nbd", PluginKind.BlockBackend, "1.0.0", Summary = "A disk at an NBD server: any format and place that qemu-nbd or nbdkit know.", Options = typeof(NbdOptions))]
public sealed class Nbd(NbdOptions options) : IBlockBackend
{
    private NbdConnection? _connection;
    private BlockGeometry _geometry = new() { Size = 0 };

    /// <inheritdoc/>
    public BlockGeometry Open(BlockAccess access)
    {
        if (options.Uri.Length == 0)
            throw new BackendException("nbd: the option uri is missing.", "Name the export: nbd://host:port/name or nbd+unix:///name?socket=/path.");
        NbdHandle handle = Create();
        try
        {
            if (LibnbdNative.ConnectUri(handle, options.Uri) != 0)
                throw new BackendException($"nbd: {options.Uri} cannot be reached: {LibnbdNative.LastError()}.", "Start the server, or correct the URI.");
            _geometry = Describe(handle, access);
            _connection = new NbdConnection(handle, options.QueueDepth, LibnbdNative.CanZero(handle) == 1);
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

    private static NbdHandle Create()
    {
        try
        {
            NbdHandle handle = LibnbdNative.Create();
            return handle.IsInvalid ? throw new BackendException($"nbd: {LibnbdNative.LastError()}.", "Free some memory.") : handle;
        }
        catch (DllNotFoundException)
        {
            throw new BackendException("nbd: the library libnbd.so.0 is not installed.", "apt-get install libnbd0, or your distribution's package of libnbd.");
        }
    }

    private BlockGeometry Describe(NbdHandle handle, BlockAccess access)
    {
        if (access == BlockAccess.ReadWrite && LibnbdNative.IsReadOnly(handle) == 1)
            throw new BackendException($"nbd: {options.Uri} is exported for reading only.", "Export it for writing, or say readOnly.");
        int sector = (int)Math.Max(BlockGeometry.SmallestSector, LibnbdNative.GetBlockSize(handle, LibnbdNative.SizeMinimum));
        if (sector > 4096)
            throw new BackendException($"nbd: {options.Uri} wants requests of {sector} bytes at least.", "Let the server do smaller ones: at most 4096 bytes.");
        long size = LibnbdNative.GetSize(handle) / sector * sector;
        if (size <= 0)
            throw new BackendException($"nbd: {options.Uri} is empty.", "Export a disk with a size.");
        bool isReadOnly = access == BlockAccess.ReadOnly;
        return new BlockGeometry
        {
            Size = size,
            SectorSize = sector,
            PhysicalSectorSize = Math.Max(sector, 4096),
            ReadOnly = isReadOnly,
            VolatileCache = !isReadOnly && LibnbdNative.CanFlush(handle) == 1,
            DiscardGranularity = !isReadOnly && LibnbdNative.CanTrim(handle) == 1 ? Math.Max(sector, 4096) : 0,
            QueueDepth = options.QueueDepth,
        };
    }
}
