using System.Collections.Concurrent;
using System.Runtime.InteropServices;
using Tessera.Plugins.Net.Nat;
using Tessera.Sdk.Devices;

namespace Tessera.Net.Tests;

/// <summary>A guest on a nat network, played by hand. What does not come within the limit will not come.</summary>
internal sealed class NatStation : INetworkReceiver, IDisposable
{
    private readonly BlockingCollection<byte[]> _frames = [];
    private readonly INetworkBackend _backend;

    public NatStation(INetworkBackend backend, int number = 1, uint address = 0)
    {
        Mac = new(0x0016_3E00_0000UL + (ulong)number);
        Address = address == 0 ? Gateway + 12 + (uint)number : address;
        _backend = backend;
        _ = backend.Open(new NetworkPort($"d{number}", Mac, this));
    }

    public static uint Gateway { get; } = Packets.Address("10.0.2.2");

    public static uint NameServer { get; } = Packets.Address("10.0.2.3");

    public MacAddress Mac { get; }

    public uint Address { get; }

    /// <summary>Only with the library; without it the test is skipped, with the reason.</summary>
    public static void RequireSlirp()
    {
        if (NativeLibrary.TryLoad("libslirp.so.0", out nint library))
            NativeLibrary.Free(library);
        else
            Assert.Ignore("libslirp.so.0 is not installed (Debian's package libslirp0).");
    }

    public static Nat NewNat(NatOptions? options = null, TestScope? scope = null, INetworkBackend? inner = null) => new(options ?? new NatOptions(), scope ?? new TestScope(), inner);

    public bool Receive(in NetworkFrame frame)
    {
        byte[] bytes = new byte[frame.Length];
        _ = frame.CopyTo(bytes);
        _frames.Add(bytes);
        return true;
    }

    public void Send(byte[] frame, FrameOffload offload = default) => _backend.Send(new NetworkFrame(frame, offload));

    public void SendIp(byte protocol, uint destination, ReadOnlySpan<byte> transport) => Send(Packets.Ip(Packets.StationOf(Gateway), Mac, protocol, Address, destination, transport));

    /// <summary>The next frame that is so; others are forgotten.</summary>
    public byte[] Next(Predicate<byte[]> wanted)
    {
        while (_frames.TryTake(out byte[]? frame, Hang.Limit))
        {
            if (wanted(frame))
                return frame;
        }

        throw new AssertionException("The frame did not come.");
    }

    /// <summary>Asks for the gateway, which answers after everything sent before was dealt with; gives what came until then.</summary>
    public List<byte[]> Settle()
    {
        List<byte[]> before = [];
        Send(Packets.ArpRequest(Mac, Address, Gateway));
        _ = Next(frame =>
        {
            bool isAnswer = Packets.IsArpReply(frame, Gateway);
            if (!isAnswer)
                before.Add(frame);
            return isAnswer;
        });
        return before;
    }

    /// <summary>Opens a connection from a port; the next sequence numbers, own and the other's.</summary>
    public (uint Own, uint Other) Connect(ushort port, ushort toPort)
    {
        SendIp(Packets.Tcp, Gateway, Packets.TcpPacket(port, toPort, 1000, 0, Packets.Syn));
        byte[] answer = Next(frame => Packets.IsFor(frame, Packets.Tcp, port));
        Assert.That(Packets.Flags(answer), Is.EqualTo(Packets.Syn | Packets.Ack));
        uint other = Packets.Sequence(answer) + 1;
        SendIp(Packets.Tcp, Gateway, Packets.TcpPacket(port, toPort, 1001, other, Packets.Ack));
        return (1001, other);
    }

    public void Dispose()
    {
        _backend.Dispose();
        _frames.Dispose();
    }
}
