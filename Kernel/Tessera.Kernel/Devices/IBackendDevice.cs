namespace Tessera.Kernel.Devices;

/// <summary>
/// The backend half of one split device, without the handshake, which is the <see cref="DeviceBus"/>'s: what it offers, and how it
/// connects to the rings of its frontend. Calls come one at a time, never on a guest's physical CPU, and may block; after
/// <see cref="IDisposable.Dispose"/> none comes.
/// </summary>
internal interface IBackendDevice : IDisposable
{
    /// <summary>The device's type as it stands in the store: "vbd", "vif".</summary>
    string Type { get; }

    /// <summary>
    /// Writes its keys: features and parameters, on the backend's side and, where the type wants it, the frontend's. Called before the
    /// frontend may look, again at each new connection, and again when the transaction it is in must be repeated.
    /// </summary>
    /// <param name="keys">Both ends' keys.</param>
    void Publish(DeviceKeys keys);

    /// <summary>The frontend has set up its rings: reads its keys, connects, and writes what the frontend waits for.</summary>
    /// <param name="keys">Both ends' keys; everything read is the guest's word.</param>
    /// <exception cref="DeviceException">The frontend's keys will not do; the message is shown to it and the device closes.</exception>
    void Connect(DeviceKeys keys);

    /// <summary>
    /// Gives up rings, grants and event channels; on return nothing of the guest's memory is touched any more. Comes after
    /// <see cref="Connect"/>, also one that failed.
    /// </summary>
    void Disconnect();
}

/// <summary>A device cannot be attached or connected; the message says what was wrong and what would be right.</summary>
/// <param name="message">For the administrator and the guest.</param>
/// <param name="inner">What it came from.</param>
public sealed class DeviceException(string message, Exception? inner = null) : Exception(message, inner);
