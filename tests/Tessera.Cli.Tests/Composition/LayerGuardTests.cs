using Tessera.Experiments.Machines;
using Tessera.Sdk.Devices;

namespace Tessera.Cli.Tests.Composition;

/// <summary>A layer of an interface that throws ends nobody else's thread, and is named.</summary>
internal sealed class LayerGuardTests
{
    [Test]
    public void A_layer_that_throws_is_named_and_gets_nothing_more()
    {
        using Backend lower = new();
        using LayerGuard guard = new(lower);
        Upper upper = new();
        _ = guard.Open(new NetworkPort("one", new MacAddress(0x0016_3E00_0001), upper));
        Assert.That((lower.Port!.Receiver.Receive(new NetworkFrame(new byte[60])), guard.Problem), Is.EqualTo((true, (string?)null)));
        upper.Throws = lower.Throws = true;
        for (int count = 0; count < 2; count++)
        {
            Assert.That(lower.Port.Receiver.Receive(new NetworkFrame(new byte[60])), Is.False);
            guard.Send(new NetworkFrame(new byte[60]));
        }

        using (Assert.EnterMultipleScope())
        {
            Assert.That((lower.Calls, upper.Calls), Is.EqualTo((1, 2)));
            Assert.That(guard.Problem, Does.StartWith("Upper: ").And.Contain("in receiving").And.Contain("too much"));
        }
    }

    [Test]
    public void What_the_lower_layer_complains_of_is_said()
    {
        using Backend lower = new() { Complaint = "gone" };
        using LayerGuard guard = new(lower);
        Assert.That(guard.Problem, Is.EqualTo("gone"));
    }

    private sealed class Backend : INetworkBackend
    {
        public bool Throws { get; set; }

        public int Calls { get; private set; }

        public string? Complaint { get; init; }

        public string? Problem => Complaint;

        public NetworkPort? Port { get; private set; }

        public NetworkCapabilities Open(NetworkPort port)
        {
            Port = port;
            return NetworkCapabilities.All;
        }

        public void Send(in NetworkFrame frame)
        {
            Calls++;
            if (Throws)
                throw new InvalidOperationException("too little");
        }

        public void Dispose()
        {
        }
    }

    private sealed class Upper : INetworkReceiver
    {
        public bool Throws { get; set; }

        public int Calls { get; private set; }

        public bool Receive(in NetworkFrame frame)
        {
            Calls++;
            return Throws ? throw new InvalidOperationException("too much") : true;
        }
    }
}
