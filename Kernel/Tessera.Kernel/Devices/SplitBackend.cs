using Tessera.Kernel.Events;
using Tessera.Kernel.Grants;
using Tessera.Sdk;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Devices;

/// <summary>The domain that has a device's frontend, as the backend needs it.</summary>
/// <param name="Id">Its number.</param>
/// <param name="Name">Its name, for people.</param>
/// <param name="Events">Its event channels.</param>
/// <param name="Grants">What it grants.</param>
internal sealed record Frontend(DomainId Id, string Name, EventChannels Events, GrantTable Grants);

/// <summary>
/// What the backend halves of split devices have in common: a plugin behind them that may throw or hang, and a frontend's rings and ports.
/// </summary>
/// <typeparam name="TBackend">The plugin's contract.</typeparam>
/// <param name="frontend">The guest.</param>
/// <param name="backend">The plugin; disposed of with the device.</param>
internal abstract class SplitBackend<TBackend>(Frontend frontend, TBackend backend) : IBackendDevice
    where TBackend : class, IDisposable
{
    private volatile string? _failure;

    // A backend that hangs may hang at its end too: nobody waits for that.
    private bool _isLeftBehind;

    /// <inheritdoc/>
    public abstract string Type { get; }

    /// <summary>What its backend complains of, or is to be reproached with; null when all is well. Any thread.</summary>
    public string? Problem => _failure ?? BackendFailure.Ask(Backend, Complaint);

    /// <summary>The guest.</summary>
    protected Frontend Frontend { get; } = frontend;

    /// <summary>The plugin.</summary>
    protected TBackend Backend { get; } = backend;

    /// <summary>The backend broke its promise, and gets nothing more.</summary>
    protected bool HasFailed => _failure is not null;

    /// <summary>The backend has thrown where it must not. Any thread.</summary>
    public void Throw(Exception exception) => _failure ??= BackendFailure.Of(Backend, exception);

    /// <summary>The backend does not come back from a call. Any thread.</summary>
    public void Hang() => _failure ??= BackendFailure.Hang(Backend);

    /// <inheritdoc/>
    public abstract void Publish(DeviceKeys keys);

    /// <inheritdoc/>
    public abstract void Connect(DeviceKeys keys);

    /// <inheritdoc/>
    public void Disconnect() => _isLeftBehind |= !TryLetGo();

    /// <inheritdoc/>
    public void Dispose()
    {
        Disconnect();
        if (_isLeftBehind)
            _ = Task.Run(Backend.Dispose);
        else
            Backend.Dispose();
    }

    /// <summary>What a backend says that is wrong with it.</summary>
    protected abstract string? Complaint(TBackend backend);

    /// <summary>Gives up rings, grants and event channels.</summary>
    /// <returns>False when a backend that hangs still has some of them.</returns>
    protected abstract bool TryLetGo();

    /// <summary>Maps a ring's pages.</summary>
    /// <exception cref="DeviceException">They are not granted for writing.</exception>
    protected static SharedRing Map(DeviceKeys keys, string key, ReadOnlySpan<GrantRef> pages, int entryBytes, GrantAccess grants)
    {
        GrantStatus status = SharedRing.TryMap(grants, pages, entryBytes, out SharedRing? ring);
        return status == GrantStatus.Okay
            ? ring!
            : throw new DeviceException($"{keys.FrontendPath}/{key}: the ring's page could not be mapped ({status}); grant it to domain 0 for writing.");
    }

    /// <summary>Binds the port that a key names.</summary>
    /// <exception cref="DeviceException">It is none that the guest left unbound for the backend.</exception>
    protected BackendChannel Bind(DeviceKeys keys, string key, Action notified)
    {
        EventPort port = new((int)keys.ReadFrontendNumber(key, 1, int.MaxValue));
        XenErrno error = BackendChannel.TryBind(Frontend.Events, port, notified, out BackendChannel? channel);
        return channel
            ?? throw new DeviceException($"{keys.FrontendPath}/{key}: port {port.Value} could not be bound ({error}); allocate it unbound for domain 0.");
    }

    /// <summary>The number of a ring's page.</summary>
    protected static GrantRef PageOf(DeviceKeys keys, string key) => new((uint)keys.ReadFrontendNumber(key, 0, uint.MaxValue));
}
