using Tessera.Sdk.Devices;
using Tessera.Sdk.Plugins;

namespace Tessera.Plugins.Block.CopyOnWrite;

/// <summary>
/// A disk over a shared, read-only base: what is written goes into an overlay of the disk's own, a sparse file in which every block
/// stands at its own place with one bit that says it is there (docs/block.md). Crash-consistent: see <see cref="Overlay"/>.
/// </summary>
[Plugin("copy-on-write", PluginKind.BlockBackend, "1.0.0", Summary = "A disk of its own over a base that many share; holds only what was written.", Options = typeof(CopyOnWriteOptions))]
public sealed class CopyOnWrite : IBlockBackend
{
    private const int MostAtOnce = 128 << 10;

    private readonly Func<BlockAccess, Overlay> _open;
    private readonly int _workerCount;
    private readonly IThreadDuties? _duties;
    private readonly Lock _atOnceGate = new();
    private Overlay? _overlay;
    private BlockWorkers? _workers;
    private BlockGeometry _geometry = new() { Size = 0 };

    /// <summary>Prepares a disk.</summary>
    /// <param name="options">Its options.</param>
    /// <param name="duties">Takes from its threads what they do not need.</param>
    public CopyOnWrite(CopyOnWriteOptions options, IThreadDuties? duties = null)
        : this(access => OverlayOpener.Open(options, access), options.Workers, duties)
    {
    }

    internal CopyOnWrite(Func<BlockAccess, Overlay> open, int workers, IThreadDuties? duties = null) => (_open, _workerCount, _duties) = (open, workers, duties);

    /// <inheritdoc/>
    public BlockGeometry Open(BlockAccess access)
    {
        _overlay = _open(access);
        int sector = _overlay.SectorSize;
        _geometry = new BlockGeometry
        {
            // What a base has beyond its last whole sector is there, and after it zeroes, as beyond any base.
            Size = (_overlay.Size + sector - 1) / sector * sector,
            SectorSize = sector,
            PhysicalSectorSize = Math.Max(sector, OverlayHeader.BlockBytes),
            ReadOnly = access == BlockAccess.ReadOnly,
            DiscardGranularity = access == BlockAccess.ReadOnly ? 0 : OverlayHeader.BlockBytes,
            QueueDepth = 4 * _workerCount,
        };
        _workers = new BlockWorkers("tessera-copy-on-write", _workerCount, Execute, _duties);
        return _geometry;
    }

    /// <inheritdoc/>
    public void Submit(BlockRequest request)
    {
        BlockStatus status = _geometry.Check(request);
        if (status != BlockStatus.Ok)
            request.Complete(status);
        else if (request.Operation == BlockOperation.Read && request.Length <= MostAtOnce && ReadAtOnce(request))
            request.Complete(BlockStatus.Ok);
        else
            _workers!.Submit(request);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _workers?.Dispose();
        _overlay?.Dispose();
        _overlay = null;
    }

    private bool ReadAtOnce(BlockRequest request)
    {
        if (!_atOnceGate.TryEnter())
            return false;
        try
        {
            return _overlay!.TryReadCached(request);
        }
        finally
        {
            _atOnceGate.Exit();
        }
    }

    private BlockStatus Execute(BlockRequest request, int worker) => request.Operation switch
    {
        BlockOperation.Read => _overlay!.Read(request, worker),
        BlockOperation.Write => _overlay!.Write(request, worker),
        BlockOperation.Flush => _geometry.ReadOnly ? BlockStatus.Ok : _overlay!.Flush(worker),
        BlockOperation.Discard => _overlay!.Discard(request, worker),
        _ => _overlay!.WriteZeroes(request, worker),
    };
}
