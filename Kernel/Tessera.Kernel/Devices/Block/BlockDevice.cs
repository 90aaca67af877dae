using Tessera.Sdk;
using Tessera.Sdk.Devices;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Devices.Block;

/// <summary>The backend half of one disk (blkback): what it offers in the store, and its rings. See <see cref="IBackendDevice"/> for who calls.</summary>
/// <param name="frontend">The guest.</param>
/// <param name="configuration">The disk; its backend is open.</param>
/// <param name="geometry">What the backend said when it was opened.</param>
/// <param name="worker">Who serves the rings.</param>
internal sealed class BlockDevice(Frontend frontend, DiskConfiguration configuration, BlockGeometry geometry, DeviceWorker worker)
    : SplitBackend<IBlockBackend>(frontend, configuration.Backend)
{
    /// <summary>A disk's type in the store.</summary>
    public const string DeviceType = "vbd";

    /// <summary>Rings a frontend may have: one for each of its vCPUs is what they take.</summary>
    private const int MaxQueues = 4;

    /// <summary>Pages of a ring, as a power of two: 128 requests.</summary>
    private const int MaxRingOrder = 2;

    private const int RingEntryBytes = 112;

    private readonly List<BlockRing> _rings = [];

    /// <inheritdoc/>
    public override string Type => DeviceType;

    /// <summary>What the disk is like.</summary>
    public BlockGeometry Geometry { get; private set; } = geometry;

    /// <summary>What it has done.</summary>
    public BlockCounters Counters { get; } = new();

    /// <inheritdoc/>
    public override void Publish(DeviceKeys keys)
    {
        keys.WriteFrontend("virtual-device", $"{keys.Id}");
        keys.WriteFrontend("device-type", "disk");
        keys.WriteBackend("dev", configuration.Name);
        keys.WriteBackend("mode", Geometry.ReadOnly ? "r" : "w");
        keys.WriteBackend("info", Geometry.ReadOnly ? Blkif.DiskReadOnly : 0);
        PublishSize(keys);
        keys.WriteBackend("sector-size", Geometry.SectorSize);
        keys.WriteBackend("physical-sector-size", Geometry.PhysicalSectorSize);
        keys.WriteBackend("feature-flush-cache", Geometry.VolatileCache && !Geometry.ReadOnly ? 1 : 0);
        keys.WriteBackend("feature-barrier", 0);
        keys.WriteBackend("feature-discard", Geometry.DiscardGranularity > 0 ? 1 : 0);
        if (Geometry.DiscardGranularity > 0)
        {
            keys.WriteBackend("discard-granularity", Geometry.DiscardGranularity);
            keys.WriteBackend("discard-alignment", 0);
            keys.WriteBackend("discard-secure", 0);
        }

        keys.WriteBackend("feature-persistent", configuration.PersistentGrants ? 1 : 0);
        keys.WriteBackend("feature-max-indirect-segments", BlockRing.MaxSegments);
        keys.WriteBackend("max-ring-page-order", MaxRingOrder);
        keys.WriteBackend("multi-queue-max-queues", MaxQueues);
    }

    /// <summary>The disk has grown: requests up to there are taken, and the frontend is told. A call as those of <see cref="IBackendDevice"/>.</summary>
    public void Resize(long size, DeviceKeys keys)
    {
        Geometry = Geometry with { Size = size };
        foreach (BlockRing ring in _rings)
            ring.Resize(Geometry);
        PublishSize(keys);
    }

    /// <inheritdoc/>
    public override void Connect(DeviceKeys keys)
    {
        if (keys.ReadFrontend("protocol") is { } protocol && protocol != "x86_64-abi")
            throw new DeviceException($"{keys.FrontendPath}/protocol is \"{protocol[..Math.Min(32, protocol.Length)]}\"; a 64-bit guest speaks \"x86_64-abi\".");
        int queues = (int)keys.ReadFrontendNumber("multi-queue-num-queues", 1, MaxQueues, 1);
        int order = (int)keys.ReadFrontendNumber("ring-page-order", 0, MaxRingOrder, 0);
        bool persistent = configuration.PersistentGrants && keys.ReadFrontendNumber("feature-persistent", 0, 1, 0) == 1;
        bool named = keys.ReadFrontend("multi-queue-num-queues") is not null && queues > 1;
        for (int queue = 0; queue < queues; queue++)
            ConnectRing(keys, named ? $"queue-{queue}/" : "", order, persistent);
    }

    /// <inheritdoc/>
    protected override string? Complaint(IBlockBackend backend) => backend.Problem;

    /// <inheritdoc/>
    protected override bool TryLetGo()
    {
        bool isLeftBehind = false;
        foreach (BlockRing ring in _rings)
        {
            ring.Dispose();
            isLeftBehind |= ring.IsLeftBehind;
        }

        _rings.Clear();
        return !isLeftBehind;
    }

    // Linux counts in 512 bytes here, whatever the sector size.
    private void PublishSize(DeviceKeys keys) => keys.WriteBackend("sectors", Geometry.Size / Blkif.SectorBytes);

    private void ConnectRing(DeviceKeys keys, string prefix, int order, bool persistent)
    {
        GrantRef[] pages = new GrantRef[1 << order];
        for (int page = 0; page < pages.Length; page++)
        {
            // A single page is named without its number, as Linux has done since before there were several.
            string key = order == 0 && keys.ReadFrontend($"{prefix}ring-ref") is not null ? $"{prefix}ring-ref" : $"{prefix}ring-ref{page}";
            pages[page] = PageOf(keys, key);
        }

        GrantAccess grants = new(Frontend.Grants);
        SharedRing shared = Map(keys, $"{prefix}ring-ref", pages, RingEntryBytes, grants);
        BlockRing ring = new(shared, grants, Backend, Geometry, Counters, worker, persistent) { Threw = Throw, Hangs = Hang };
        _rings.Add(ring);
        ring.Open(Bind(keys, $"{prefix}event-channel", ring.Schedule));
    }
}
