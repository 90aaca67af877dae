using Tessera.Sdk.Devices;

namespace Tessera.Plugins.Net.Nat;

/// <summary>An interface on a network: its frames on the way to slirp, and what it sends from.</summary>
/// <param name="network">Its network.</param>
/// <param name="address">The interface's Ethernet address.</param>
/// <param name="receiver">Where frames for it go.</param>
/// <param name="forwards">The host's ports that it brought.</param>
internal sealed class NatPort(NatNetwork network, MacAddress address, INetworkReceiver receiver, IReadOnlyList<Forward> forwards) : INetworkReceiver
{
    private uint _lastSource;

    public MacAddress Address { get; } = address;

    public INetworkReceiver Receiver { get; } = receiver;

    public IReadOnlyList<Forward> Forwards { get; } = forwards;

    public FrameQueue Queue { get; } = new();

    /// <summary>Takes a finished frame of the domain's for slirp. One thread at a time.</summary>
    /// <returns>False when it was dropped.</returns>
    public bool Receive(in NetworkFrame frame)
    {
        Span<byte> room = Queue.Room;
        if (room.IsEmpty || frame.Length > room.Length)
            return false;
        // Judged as copied: what a guest's page says may change.
        Verdict verdict = FrameGuard.Judge(room[..frame.CopyTo(room)], network.Plan, Address, out uint source, out int length);
        if (verdict == Verdict.Drop || !Owns(source))
            return false;
        Queue.Add(length, verdict == Verdict.Opens);
        network.Wake();
        return true;
    }

    private bool Owns(uint source)
    {
        if (source == 0 || source == _lastSource)
            return true;
        if (!network.TryClaim(source, this))
            return false;
        _lastSource = source;
        return true;
    }
}
