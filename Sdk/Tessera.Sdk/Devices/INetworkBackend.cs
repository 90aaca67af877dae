namespace Tessera.Sdk.Devices;

/// <summary>
/// What is behind a virtual network interface: a switch, a network of the host, another backend. One instance serves one interface. The
/// kernel speaks Xen's netif protocol (public/io/netif.h) with the guest; a backend sees whole Ethernet frames only.
/// </summary>
/// <remarks>
/// <para>The constructor takes the options record and must not touch the outside; <see cref="Open"/> does. A decorating backend (a filter, a
/// capture) takes another <see cref="INetworkBackend"/> in its constructor, which it then owns, opens and disposes; it opens the inner one
/// with a receiver of its own when it wants to see frames in both directions.</para>
/// <para>As on a wire, a frame may be lost, and nobody is told. A backend keeps the order of the frames of one flow (same addresses, same
/// ports), changes none of their bytes unless that is its purpose, and carries <see cref="NetworkFrame.Offload"/> through.</para>
/// </remarks>
public interface INetworkBackend : IDisposable
{
    /// <summary>Connects. Called once, before everything else; may block.</summary>
    /// <param name="port">The interface it serves, and where frames for it are delivered, from now on until <see cref="IDisposable.Dispose"/> returns.</param>
    /// <returns>What it takes.</returns>
    /// <exception cref="BackendException">What it needs is not there, or not allowed.</exception>
    NetworkCapabilities Open(NetworkPort port);

    /// <summary>Takes a frame that the domain sends.</summary>
    /// <remarks>
    /// Called by one device thread at a time, never from a vCPU's. Must not block, must not allocate once warm, and must not throw: what cannot be
    /// sent is dropped. The frame lives until this returns. Frames that need more than <see cref="Open"/> answered never come.
    /// </remarks>
    /// <param name="frame">The frame.</param>
    void Send(in NetworkFrame frame);

    /// <summary>Why frames go nowhere at present, for people: what was tried and what came of it; null when they go. A decorating backend says what the one beneath says. Any thread.</summary>
    string? Problem => null;
}

/// <summary>Where frames for a domain go: its interface, or a decorating backend on the way to it.</summary>
public interface INetworkReceiver
{
    /// <summary>Takes a frame for the domain. Any thread, several at once; neither blocks nor calls back. The frame lives until this returns.</summary>
    /// <param name="frame">The frame.</param>
    /// <returns>False when it was dropped, because the domain has no room or no driver.</returns>
    bool Receive(in NetworkFrame frame);
}

/// <summary>The interface that a backend serves.</summary>
/// <param name="Domain">The name of its domain.</param>
/// <param name="Address">Its address.</param>
/// <param name="Receiver">Where its domain gets frames.</param>
public sealed record NetworkPort(string Domain, MacAddress Address, INetworkReceiver Receiver);

/// <summary>What a backend takes.</summary>
/// <param name="Checksum">Frames whose checksum is blank; without it the kernel fills checksums in before.</param>
/// <param name="Segmentation">Frames that are yet to be cut; without it guests are told to cut them.</param>
public readonly record struct NetworkCapabilities(bool Checksum, bool Segmentation)
{
    /// <summary>Everything: what a backend answers that only hands frames on inside the machine.</summary>
    public static readonly NetworkCapabilities All = new(Checksum: true, Segmentation: true);
}
