using Tessera.Plugins.Net.Switch;
using Tessera.Sdk.Devices;

namespace Tessera.Net.Tests;

/// <summary>A domain's end of a backend: sends frames and keeps what it gets.</summary>
internal sealed class Station : INetworkReceiver, IDisposable
{
    private readonly INetworkBackend _backend;

    public Station(INetworkBackend backend, int number)
    {
        _backend = backend;
        Address = new(0x0016_3E00_0000UL + (ulong)number);
        _ = backend.Open(new NetworkPort($"d{number}", Address, this));
    }

    public MacAddress Address { get; }

    public List<(byte[] Bytes, FrameOffload Offload)> Got { get; } = [];

    /// <summary>Called with every frame it gets.</summary>
    public Action<byte[]>? Heard { get; init; }

    public bool Receive(in NetworkFrame frame)
    {
        byte[] bytes = new byte[frame.Length];
        _ = frame.CopyTo(bytes);
        Got.Add((bytes, frame.Offload));
        Heard?.Invoke(bytes);
        return true;
    }

    public void Send(byte[] frame, FrameOffload offload = default) => _backend.Send(new NetworkFrame(frame, offload));

    public void Dispose() => _backend.Dispose();

    /// <summary>An Ethernet frame.</summary>
    public static byte[] Frame(MacAddress to, MacAddress from, int type = 0x88B5, params ReadOnlySpan<byte> payload)
    {
        byte[] frame = new byte[Math.Max(60, 14 + payload.Length)];
        to.Write(frame);
        from.Write(frame.AsSpan(6));
        (frame[12], frame[13]) = ((byte)(type >> 8), (byte)type);
        payload.CopyTo(frame.AsSpan(14));
        return frame;
    }

    /// <summary>The beginning of a TCP or UDP packet over IPv4.</summary>
    public static byte[] Packet(byte protocol, uint source, uint destination, ushort sourcePort, ushort destinationPort)
    {
        byte[] packet = new byte[40];
        (packet[0], packet[3]) = (0x45, 40);
        packet[9] = protocol;
        System.Buffers.Binary.BinaryPrimitives.WriteUInt32BigEndian(packet.AsSpan(12), source);
        System.Buffers.Binary.BinaryPrimitives.WriteUInt32BigEndian(packet.AsSpan(16), destination);
        System.Buffers.Binary.BinaryPrimitives.WriteUInt16BigEndian(packet.AsSpan(20), sourcePort);
        System.Buffers.Binary.BinaryPrimitives.WriteUInt16BigEndian(packet.AsSpan(22), destinationPort);
        return packet;
    }
}

/// <summary>What the plugins of one machine share.</summary>
internal sealed class TestScope : IMachineScope
{
    private readonly Dictionary<string, object> _shared = [];

    public T Share<T>(string name, Func<T> make)
        where T : class
    {
        if (!_shared.TryGetValue(name, out object? found))
            _shared[name] = found = make();
        return (T)found;
    }

    public Switch Port(string network = "default", int addresses = 64) => new(new SwitchOptions { Network = network, Addresses = addresses }, this);
}
