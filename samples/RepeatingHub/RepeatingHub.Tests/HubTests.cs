using Tessera.Sdk.Conformance.Network;
using Tessera.Sdk.Devices;
using Tessera.Sdk.Plugins;

namespace RepeatingHub.Tests;

/// <summary>What the plugins of one machine share.</summary>
internal sealed class OneMachine : IMachineScope
{
    private readonly Dictionary<string, object> _shared = [];

    public T Share<T>(string name, Func<T> make)
        where T : class => (T)(_shared.TryGetValue(name, out object? found) ? found : _shared[name] = make());
}

[TestFixture]
internal sealed class HubConformance : NetworkConformance
{
    protected override (INetworkBackend One, INetworkBackend Two) NewPair()
    {
        OneMachine machine = new();
        return (new RepeatingHub(new HubOptions(), machine), new RepeatingHub(new HubOptions(), machine));
    }
}

internal sealed class HubTests
{
    [Test]
    public void EveryOtherPortHearsEverythingAndOtherHubsNothing()
    {
        OneMachine machine = new();
        Ear[] ears = [.. Enumerable.Range(0, 4).Select(_ => new Ear())];
        RepeatingHub[] ports = [.. ears.Select((_, index) => new RepeatingHub(new HubOptions { Network = index == 3 ? "elsewhere" : "lab" }, machine))];
        for (int index = 0; index < ports.Length; index++)
            ports[index].Open(new NetworkPort($"d{index}", new MacAddress(0x0016_3E00_0000 + (ulong)index), ears[index]));
        byte[] frame = new byte[60];
        new MacAddress(0x0016_3E00_0001).Write(frame);
        ports[0].Send(new NetworkFrame(frame));
        Assert.That(ears.Select(ear => ear.Heard), Is.EqualTo(new[] { 0, 1, 1, 0 }), "the second was meant, the third listens");
        ports[2].Dispose();
        ports[0].Send(new NetworkFrame(frame));
        Assert.That(ears.Select(ear => ear.Heard), Is.EqualTo(new[] { 0, 2, 1, 0 }), "who has left hears nothing");
        foreach (RepeatingHub port in ports)
            port.Dispose();
    }

    private sealed class Ear : INetworkReceiver
    {
        public int Heard { get; private set; }

        public bool Receive(in NetworkFrame frame)
        {
            Heard++;
            return true;
        }
    }
}
