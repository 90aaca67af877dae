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
public sealed class Nic
{
    /// <summary>Interfaces of one domain.</summary>
    public const int MaxNumber = 15;

    private readonly BusDevice _device;
    private readonly NetworkDevice _network;

    private Nic(Domain domain, NicConfiguration configuration, BusDevice device, NetworkDevice network)
    {
        (Domain, Number, Address, _device, _network) = (domain, configuration.Number, configuration.Address, device, network);
    }

    /// <summary>Whose it is.</summary>
    public Domain Domain { get; }

    /// <summary>Its number in the domain.</summary>
    public int Number { get; }

    /// <summary>Its address.</summary>
    public MacAddress Address { get; }

    /// <summary>False once it has left.</summary>
    public bool IsAttached => !_device.End.IsCompleted;

    /// <summary>Why its frontend could not connect, or why its backend takes frames nowhere; null when all is well.</summary>
    public string? Error => _device.Error ?? _network.Problem;

    /// <summary>What it has done since it was attached, or since <see cref="Machine.BeginWindow"/>.</summary>
    public NetworkReading Read() => _network.Counters.Read() with { Problem = Error };

    /// <summary>Counts from now on.</summary>
    internal void BeginWindow() => _network.Counters.Restart();

    /// <summary>Unplugs it: asks the guest to let go, and takes it away when it does not in time.</summary>
    /// <param name="timeout">How long the guest may take.</param>
    /// <returns>Whether the guest let go.</returns>
    public async Task<bool> DetachAsync(TimeSpan timeout) => await _device.DetachAsync(timeout) == DeviceEnd.Closed;

    internal static Nic Attach(DeviceBus bus, Domain domain, NicConfiguration configuration, DeviceWorker worker)
    {
        try
        {
            if (configuration.Number is < 0 or > MaxNumber)
                throw new DeviceException($"An interface cannot have the number {configuration.Number}; numbers are 0 to {MaxNumber}.");
            NetworkDevice network = new(domain, configuration, worker);
            network.Open();
            Nic nic = new(domain, configuration, bus.Attach(domain.Id, configuration.Number, network), network);
            domain.AddNic(nic);
            return nic;
        }
        catch
        {
            configuration.Backend.Dispose();
            throw;
        }
    }
}
