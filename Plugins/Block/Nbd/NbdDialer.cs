using System.Diagnostics;
using Tessera.Plugins.Block.Nbd.Native;
using Tessera.Sdk.Devices;

namespace Tessera.Plugins.Block.Nbd;

/// <summary>Makes connections to one export.</summary>
/// <param name="options">Where it is.</param>
/// <param name="access">Whether it will be written.</param>
internal sealed class NbdDialer(NbdOptions options, BlockAccess access)
{
    private const int LookAroundMilliseconds = 100;
    private const int LeastPhysical = 4096;
    private const int MostPhysical = 64 << 10;

    /// <summary>Connects, handshake and all.</summary>
    /// <param name="patience">How long the server may take.</param>
    /// <param name="isStopping">Asked meanwhile whether nobody wants it any more.</param>
    /// <exception cref="BackendException">It cannot be reached, or libnbd is missing.</exception>
    public NbdHandle Connect(TimeSpan patience, Func<bool> isStopping)
    {
        NbdHandle handle = Create();
        try
        {
            Stopwatch watch = Stopwatch.StartNew();
            bool isWell = LibnbdNative.BeginConnectUri(handle, options.Uri) == 0;
            while (isWell && LibnbdNative.IsConnecting(handle) == 1)
            {
                if (isStopping() || watch.Elapsed > patience)
                    throw new BackendException($"nbd: {options.Uri} did not answer within {patience.TotalSeconds:0.#} s.", "Check the server.");
                isWell = LibnbdNative.PollHandle(handle, LookAroundMilliseconds) >= 0;
            }

            return isWell && LibnbdNative.IsReady(handle) == 1 ? handle : throw new BackendException($"nbd: {options.Uri} cannot be reached: {LibnbdNative.LastError()}.", "Start the server, or correct the URI.");
        }
        catch
        {
            handle.Dispose();
            throw;
        }
    }

    /// <summary>What the export is like.</summary>
    /// <exception cref="BackendException">It will not do.</exception>
    public BlockGeometry Describe(NbdHandle handle)
    {
        if (access == BlockAccess.ReadWrite && LibnbdNative.IsReadOnly(handle) == 1)
            throw new BackendException($"nbd: {options.Uri} is exported for reading only.", "Export it for writing, or set readOnly.");
        int sector = (int)Math.Max(BlockGeometry.SmallestSector, LibnbdNative.GetBlockSize(handle, LibnbdNative.SizeMinimum));
        if (sector > 4096)
            throw new BackendException($"nbd: {options.Uri} accepts only requests of {sector} bytes or more.", "Configure the server for smaller ones, of at most 4096 bytes.");
        long size = LibnbdNative.GetSize(handle);
        if (size <= 0)
            throw new BackendException($"nbd: {options.Uri} is empty.", "Export a disk with a size.");
        if (size % sector != 0)
        {
            throw new BackendException(
                $"nbd: {options.Uri} has {size} bytes, not a whole number of sectors of {sector}: its last {size % sector} bytes would be out of reach.",
                $"Let the server round it up (nbdkit --filter=truncate … round-up={sector}), or make what it exports larger.");
        }

        // What the server likes best guests should align to; sizes that no guest aligns to are left out.
        long preferred = LibnbdNative.GetBlockSize(handle, LibnbdNative.SizePreferred);
        int physical = preferred is > LeastPhysical and <= MostPhysical && long.IsPow2(preferred) ? (int)preferred : Math.Max(sector, LeastPhysical);
        bool isReadOnly = access == BlockAccess.ReadOnly;
        return new BlockGeometry
        {
            Size = size,
            SectorSize = sector,
            PhysicalSectorSize = physical,
            ReadOnly = isReadOnly,
            VolatileCache = !isReadOnly && LibnbdNative.CanFlush(handle) == 1,
            DiscardGranularity = !isReadOnly && LibnbdNative.CanTrim(handle) == 1 ? Math.Max(sector, 4096) : 0,
            QueueDepth = options.QueueDepth,
        };
    }

    /// <summary>What its commands may ask for.</summary>
    /// <exception cref="BackendException">Less than a sector.</exception>
    public NbdLimits Limits(NbdHandle handle, BlockGeometry geometry) => NbdLimits.TryRead(handle, geometry.SectorSize, out NbdLimits limits)
        ? limits
        : throw new BackendException($"nbd: {options.Uri} accepts no request as large as its sectors of {geometry.SectorSize} bytes.", "Configure the server for larger requests; 1 MiB is usual.");

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
}
