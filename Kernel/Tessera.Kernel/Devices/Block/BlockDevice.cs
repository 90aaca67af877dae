using Tessera.Sdk;
using Tessera.Sdk.Devices;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Devices.Block;

/// <summary>The backend half of one disk (blkback): what it offers in the store, and its rings. See <see cref="IBackendDevice"/> for who calls.</summary>
internal sealed class BlockDevice : IBackendDevice
{
    /// <summary>Rings a frontend may have: one for each of its vCPUs is what they take.</summary>
    private const int MaxQueues = 4;

    /// <summary>Pages of a ring, as a power of two: 128 requests.</summary>
    private const int MaxRingOrder = 2;

    private readonly Domain _domain;
    private readonly DiskConfiguration _configuration;
    private readonly DeviceWorker _worker;
    private readonly List<BlockRing> _rings = [];
    private volatile string? _failure;

    // A backend that hangs may hang at its end too: nobody waits for that.
    private bool _isLeftBehind;

    /// <summary>Takes over an opened backend, and disposes of it with the device.</summary>
    public BlockDevice(Domain domain, DiskConfiguration configuration, BlockGeometry geometry, DeviceWorker worker)
    {
        (_domain, _configuration, Geometry, _worker) = (domain, configuration, geometry, worker);
    }

    /// <inheritdoc/>
    public string Type => "vbd";

    /// <summary>What the disk is like.</summary>
    public BlockGeometry Geometry { get; private set; }

    /// <summary>What its storage complains of.</summary>
    public string? Problem => _failure ?? BackendFailure.Ask(_configuration.Backend, static backend => backend.Problem);

    /// <summary>What it has done.</summary>
    public BlockCounters Counters { get; } = new();

    /// <inheritdoc/>
    public void Publish(DeviceKeys keys)
    {
        keys.WriteFrontend("virtual-device", $"{keys.Id}");
        keys.WriteFrontend("device-type", "disk");
        keys.WriteBackend("dev", _configuration.Name);
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

        keys.WriteBackend("feature-persistent", _configuration.PersistentGrants ? 1 : 0);
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
    public void Connect(DeviceKeys keys)
    {
        if (keys.ReadFrontend("protocol") is { } protocol && protocol != "x86_64-abi")
            throw new DeviceException($"{keys.FrontendPath}/protocol is \"{protocol[..Math.Min(32, protocol.Length)]}\"; a 64-bit guest speaks \"x86_64-abi\".");
        int queues = (int)keys.ReadFrontendNumber("multi-queue-num-queues", 1, MaxQueues, 1);
        int order = (int)keys.ReadFrontendNumber("ring-page-order", 0, MaxRingOrder, 0);
        bool persistent = _configuration.PersistentGrants && keys.ReadFrontendNumber("feature-persistent", 0, 1, 0) == 1;
        bool named = keys.ReadFrontend("multi-queue-num-queues") is not null && queues > 1;
        for (int queue = 0; queue < queues; queue++)
            ConnectRing(keys, named ? $"queue-{queue}/" : "", order, persistent);
    }

    /// <inheritdoc/>
    public void Disconnect()
    {
        foreach (BlockRing ring in _rings)
        {
            ring.Dispose();
            _isLeftBehind |= ring.IsLeftBehind;
        }

        _rings.Clear();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Disconnect();
        if (_isLeftBehind)
            _ = Task.Run(_configuration.Backend.Dispose);
        else
            _configuration.Backend.Dispose();
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
            pages[page] = new GrantRef((uint)keys.ReadFrontendNumber(key, 0, uint.MaxValue));
        }

        EventPort port = new((int)keys.ReadFrontendNumber($"{prefix}event-channel", 1, int.MaxValue));
        GrantAccess grants = new(_domain);
        GrantStatus status = SharedRing.TryMap(grants, pages, entryBytes: 112, out SharedRing? shared);
        if (status != GrantStatus.Okay)
            throw new DeviceException($"{keys.FrontendPath}/{prefix}ring-ref: the ring's page could not be mapped ({status}); grant it to domain 0 for writing.");
        BlockRing ring = new(shared!, grants, _configuration.Backend, Geometry, Counters, _worker, persistent)
        {
            Threw = exception => _failure ??= BackendFailure.Of(_configuration.Backend, exception),
            Hangs = () => _failure ??= BackendFailure.Hang(_configuration.Backend),
        };
        _rings.Add(ring);
        XenErrno error = ring.Open(_domain, port);
        if (error != XenErrno.Success)
            throw new DeviceException($"{keys.FrontendPath}/{prefix}event-channel: port {port.Value} could not be bound ({error}); allocate it unbound for domain 0.");
    }
}
