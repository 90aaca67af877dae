using System.Net;
using Tessera.Sdk.Devices;

namespace Tessera.Kernel.Devices.Network;

/// <summary>A network interface to attach to a domain.</summary>
public sealed record NicConfiguration
{
    /// <summary>Its number in the domain, from 0: Linux names interfaces in order (eth0 …).</summary>
    public required int Number { get; init; }

    /// <summary>Its address.</summary>
    public required MacAddress Address { get; init; }

    /// <summary>What is behind it, not opened; the interface owns it.</summary>
    public required INetworkBackend Backend { get; init; }

    /// <summary>The most it may send, bytes a second; 0 for no bound.</summary>
    public long BytesPerSecond { get; init; }

    /// <summary>Whether frames are refused that the guest sends from another Ethernet address, or from another IP address where these are known, or that claim one.</summary>
    public bool AntiSpoofing { get; init; } = true;

    /// <summary>The guest's IP addresses; none when they are not known.</summary>
    public IReadOnlyList<IPAddress> Addresses { get; init; } = [];
}

/// <summary>A network interface of a domain.</summary>
public sealed class Nic : SplitDevice
{
    /// <summary>Interfaces of one domain.</summary>
    public const int MaxNumber = 15;

    private readonly NetworkDevice _network;

    private Nic(NicConfiguration configuration, BusDevice device, NetworkDevice network)
        : base(device) => (Number, Address, _network) = (configuration.Number, configuration.Address, network);

    /// <summary>Its number in the domain.</summary>
    public int Number { get; }

    /// <summary>Its address.</summary>
    public MacAddress Address { get; }

    /// <summary>What it has done since it was attached, or since a measured window began.</summary>
    public NetworkReading Read() => _network.Counters.Read() with { Problem = Error };

    /// <inheritdoc/>
    internal override void BeginWindow() => _network.Counters.Restart();

    /// <inheritdoc/>
    private protected override string? Problem => _network.Problem;

    internal static Nic Attach(DeviceBus bus, Frontend frontend, NicConfiguration configuration, DeviceWorker worker)
    {
        try
        {
            if (configuration.Number is < 0 or > MaxNumber)
                throw new DeviceException($"An interface cannot have the number {configuration.Number}; numbers are 0 to {MaxNumber}.");
            NetworkDevice network = new(frontend, configuration, worker);
            network.Open();
            return new Nic(configuration, bus.Attach(frontend.Id, configuration.Number, network), network);
        }
        catch
        {
            configuration.Backend.Dispose();
            throw;
        }
    }
}
