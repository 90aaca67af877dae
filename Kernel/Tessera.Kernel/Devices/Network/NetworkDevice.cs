using Tessera.Kernel.Events;
using Tessera.Sdk;
using Tessera.Sdk.Devices;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Devices.Network;

/// <summary>The backend half of one interface (netback): what it offers in the store, and its queues. See <see cref="IBackendDevice"/> for who calls.</summary>
internal sealed class NetworkDevice : SplitBackend<INetworkBackend>, INetworkReceiver
{
    /// <summary>Pairs of rings a frontend may have: one for each of its vCPUs is what they take.</summary>
    private const int MaxQueues = 4;

    private readonly NicConfiguration _configuration;
    private readonly DeviceWorker _worker;
    private readonly List<TransmitQueue> _transmit = [];
    private readonly List<ReceiveQueue> _connected = [];
    private readonly List<BackendChannel> _channels = [];
    private FrameFinisher? _offload;
    private BackendSink? _sink;
    private volatile ReceiveQueue[] _receive = [];

    /// <summary>Made before the backend is opened, which wants to know where frames go.</summary>
    public NetworkDevice(Frontend frontend, NicConfiguration configuration, DeviceWorker worker)
        : base(frontend, configuration.Backend)
    {
        (_configuration, _worker) = (configuration, worker);
        Rate = new RateLimit(configuration.BytesPerSecond, worker.Time);
        Counters = new NetworkCounters(worker.Time);
        Guard = configuration.AntiSpoofing ? new SourceGuard(configuration.Address, configuration.Addresses) : null;
    }

    /// <inheritdoc/>
    public override string Type => "vif";

    /// <summary>What it has done.</summary>
    public NetworkCounters Counters { get; }

    /// <summary>How fast it may send.</summary>
    public RateLimit Rate { get; }

    /// <summary>In whose name it may send; null for anybody's.</summary>
    public SourceGuard? Guard { get; }

    /// <summary>What the backend takes.</summary>
    public NetworkCapabilities Capabilities { get; private set; }

    /// <summary>Opens the backend.</summary>
    public void Open()
    {
        Capabilities = Backend.Open(new NetworkPort(Frontend.Name, _configuration.Address, this));
        if (Capabilities.Checksum)
            return;
        (_offload, _sink) = (new FrameFinisher(), new BackendSink(Backend));
    }

    /// <summary>Hands a frame of the guest's to the backend; one that has thrown, which breaks its promise, gets nothing more. On the worker's thread.</summary>
    /// <returns>False when the backend is not asked, or throws.</returns>
    public bool Send(in NetworkFrame frame)
    {
        if (HasFailed)
            return false;
        try
        {
            if (_offload is null)
                Backend.Send(frame);
            else
                _ = _offload.Finish(frame, Capabilities, _sink!);
            return true;
        }
        catch (Exception exception)
        {
            Throw(exception);
            return false;
        }
    }

    /// <inheritdoc/>
    public bool Receive(in NetworkFrame frame)
    {
        ReceiveQueue[] queues = _receive;
        bool taken = false;
        try
        {
            taken = queues.Length switch
            {
                0 => false,
                1 => queues[0].Take(frame),
                _ => queues[FlowOf(frame.Header) % (uint)queues.Length].Take(frame),
            };
        }
        catch (Exception)
        {
            // On a backend's own thread, where an exception would end the process: as on a wire, the frame is lost.
            Counters.Broken();
        }

        if (!taken)
            Counters.Dropped();
        return taken;
    }

    /// <inheritdoc/>
    public override void Publish(DeviceKeys keys)
    {
        keys.WriteFrontend("mac", _configuration.Address.ToString());
        keys.WriteFrontend("handle", $"{keys.Id}");
        keys.WriteBackend("mac", _configuration.Address.ToString());
        keys.WriteBackend("handle", keys.Id);
        keys.WriteBackend("feature-sg", 1);
        keys.WriteBackend("feature-gso-tcpv4", Capabilities.Segmentation ? 1 : 0);
        keys.WriteBackend("feature-gso-tcpv6", Capabilities.Segmentation ? 1 : 0);
        keys.WriteBackend("feature-ipv6-csum-offload", 1);
        keys.WriteBackend("feature-rx-copy", 1);
        keys.WriteBackend("feature-rx-flip", 0);
        keys.WriteBackend("feature-split-event-channels", 1);
        keys.WriteBackend("multi-queue-max-queues", MaxQueues);
    }

    /// <inheritdoc/>
    public override void Connect(DeviceKeys keys)
    {
        if (keys.ReadFrontendNumber("request-rx-copy", 0, 1, 0) != 1)
            throw new DeviceException($"{keys.FrontendPath}/request-rx-copy is not 1; frames are copied into the frontend's pages, never flipped.");
        bool Has(string feature) => keys.ReadFrontendNumber(feature, 0, 1, 0) == 1;
        NetworkCapabilities takes = new(
            Checksum: !Has("feature-no-csum-offload") && Has("feature-ipv6-csum-offload"),
            Segmentation: Has("feature-sg") && Has("feature-gso-tcpv4") && Has("feature-gso-tcpv6"));
        int queues = (int)keys.ReadFrontendNumber("multi-queue-num-queues", 1, MaxQueues, 1);
        ReceiveQueue[] receive = new ReceiveQueue[queues];
        for (int queue = 0; queue < queues; queue++)
            ConnectQueue(keys, queues > 1 ? $"queue-{queue}/" : "", takes, Has("feature-sg"), queue, receive);
        _receive = receive;
    }

    /// <inheritdoc/>
    protected override string? Complaint(INetworkBackend backend) => backend.Problem;

    /// <inheritdoc/>
    protected override bool TryLetGo()
    {
        bool isLeftBehind = false;
        _receive = [];
        foreach (BackendChannel channel in _channels)
            channel.Dispose();
        _channels.Clear();
        foreach (TransmitQueue queue in _transmit)
        {
            queue.Dispose();
            isLeftBehind |= queue.IsLeftBehind;
        }

        _transmit.Clear();
        foreach (ReceiveQueue queue in _connected)
            queue.Dispose();
        _connected.Clear();
        return !isLeftBehind;
    }

    private void ConnectQueue(DeviceKeys keys, string prefix, NetworkCapabilities takes, bool scatters, int index, ReceiveQueue[] receive)
    {
        GrantAccess grants = new(Frontend.Grants);
        TransmitQueue sender = new(Map(keys, $"{prefix}tx-ring-ref", Netif.TxEntryBytes, grants), grants, this, _worker);
        _transmit.Add(sender);
        ReceiveQueue receiver = new(Map(keys, $"{prefix}rx-ring-ref", Netif.RxEntryBytes, grants), grants, Counters, _worker, takes, scatters);
        _connected.Add(receiver);
        receive[index] = receiver;
        if (keys.ReadFrontend($"{prefix}event-channel") is not null)
        {
            BackendChannel both = BindKept(keys, $"{prefix}event-channel", () =>
            {
                sender.Schedule();
                receiver.Schedule();
            });
            receiver.Open(both);
            sender.Open(both);
            return;
        }

        receiver.Open(BindKept(keys, $"{prefix}event-channel-rx", receiver.Schedule));
        sender.Open(BindKept(keys, $"{prefix}event-channel-tx", sender.Schedule));
    }

    private static SharedRing Map(DeviceKeys keys, string key, int entryBytes, GrantAccess grants) =>
        Map(keys, key, [PageOf(keys, key)], entryBytes, grants);

    // Kept, so that a connection that fails half-way gives it up as well.
    private BackendChannel BindKept(DeviceKeys keys, string key, Action notified)
    {
        BackendChannel channel = Bind(keys, key, notified);
        _channels.Add(channel);
        return channel;
    }

    /// <summary>The same for all frames of one flow: their addresses.</summary>
    private static uint FlowOf(ReadOnlySpan<byte> header)
    {
        FrameHeaders headers = FrameHeaders.Read(header);
        // Fragments after the first have no ports, so a flow is its addresses.
        ReadOnlySpan<byte> flow = headers.Kind switch
        {
            FrameKind.V4 when headers.HasAddresses => header.Slice(headers.Network + 12, 8),
            FrameKind.V6 when headers.HasAddresses => header.Slice(headers.Network + 8, 32),
            _ => header[..12],
        };
        uint hash = 2166136261;
        foreach (byte value in flow)
            hash = (hash ^ value) * 16777619;
        return hash ^ (hash >> 16);
    }

    /// <summary>The backend as a receiver of finished frames.</summary>
    private sealed class BackendSink(INetworkBackend backend) : INetworkReceiver
    {
        public bool Receive(in NetworkFrame frame)
        {
            backend.Send(frame);
            return true;
        }
    }
}
