using Tessera.Plugins.Net.Capture;
using Tessera.Plugins.Net.Filter;
using Tessera.Plugins.Net.Loss;
using Tessera.Plugins.Net.Nat;
using Tessera.Sdk;
using Tessera.Sdk.Conformance.Network;
using Tessera.Sdk.Devices;

namespace Tessera.Net.Tests;

/// <summary>Two ports of a switch.</summary>
internal sealed class SwitchConformance : NetworkConformance
{
    protected override (INetworkBackend One, INetworkBackend Two) NewPair()
    {
        TestScope scope = new();
        return (scope.Port(), scope.Port());
    }
}

/// <summary>The same behind filters.</summary>
internal sealed class FilterConformance : NetworkConformance
{
    protected override (INetworkBackend One, INetworkBackend Two) NewPair()
    {
        TestScope scope = new();
        return (new Filter(new FilterOptions { Rules = "drop tcp dport 1" }, scope.Port()), new Filter(new FilterOptions(), scope.Port()));
    }
}

/// <summary>The same with a capture.</summary>
internal sealed class CaptureConformance : NetworkConformance
{
    private readonly string _file = Path.Combine(Path.GetTempPath(), $"tessera-{Guid.NewGuid():n}.pcapng");

    [NUnit.Framework.TearDown]
    public void Delete() => File.Delete(_file);

    protected override (INetworkBackend One, INetworkBackend Two) NewPair()
    {
        TestScope scope = new();
        return (new Capture(new CaptureOptions { Path = _file }, scope.Port(), TimeProvider.System), scope.Port());
    }
}

/// <summary>The same over a wire without faults.</summary>
internal sealed class FaultlessConformance : NetworkConformance
{
    protected override (INetworkBackend One, INetworkBackend Two) NewPair()
    {
        TestScope scope = new();
        return (new Loss(new LossOptions(), scope.Port(), TimeProvider.System), scope.Port());
    }
}

/// <summary>The same over one that loses half.</summary>
internal sealed class LossConformance : NetworkConformance
{
    protected override bool IsPrompt => false;

    protected override (INetworkBackend One, INetworkBackend Two) NewPair()
    {
        TestScope scope = new();
        return (new Loss(new LossOptions { Loss = 50 }, scope.Port(), TimeProvider.System), scope.Port());
    }
}

/// <summary>The same over a long one.</summary>
internal sealed class DelayConformance : NetworkConformance
{
    protected override bool IsPrompt => false;

    protected override (INetworkBackend One, INetworkBackend Two) NewPair()
    {
        TestScope scope = new();
        return (new Loss(new LossOptions { Delay = Nanoseconds.FromSeconds(1) }, scope.Port(), new HandTime()), scope.Port());
    }
}

/// <summary>Two ports of a switch with a way to the outside over each.</summary>
internal sealed class NatConformance : NetworkConformance
{
    [NUnit.Framework.OneTimeSetUp]
    public void Require() => NatStation.RequireSlirp();

    protected override (INetworkBackend One, INetworkBackend Two) NewPair()
    {
        TestScope scope = new();
        NatOptions options = new() { Network = "lan" };
        return (NatStation.NewNat(options, scope, scope.Port()), NatStation.NewNat(options, scope, scope.Port()));
    }
}

/// <summary>Two taps that are each other's host.</summary>
internal sealed class TapConformance : NetworkConformance
{
    /// <inheritdoc/>
    protected override bool IsPrompt => false;

    protected override (INetworkBackend One, INetworkBackend Two) NewPair() => TapPair.NewPair();
}
