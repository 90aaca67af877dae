using Tessera.Sdk;

namespace Tessera.Kernel.Events;

/// <summary>
/// A backend's end of an event channel: bound to a port that the guest allocated for the backend's domain. Notifications to the guest come from any thread;
/// the guest's call back on its vCPU's thread, which must only be told where to hand the work on.
/// </summary>
internal sealed class BackendChannel : IDisposable
{
    private readonly EventChannels _events;
    private readonly int _port;
    private readonly Action _notified;
    private volatile bool _closed;

    internal BackendChannel(EventChannels events, int port, Action notified) => (_events, _port, _notified) = (events, port, notified);

    /// <summary>False once the guest closed its port, its domain died, or this end was disposed; notifications go nowhere then.</summary>
    public bool IsOpen => !_closed;

    /// <summary>The guest's port.</summary>
    public EventPort Port => new(_port);

    /// <summary>Binds a guest's unbound port. <paramref name="notified"/> is called once at once, since the guest may have sent before.</summary>
    /// <param name="events">The frontend's domain's.</param>
    /// <param name="port">The port it named in the store; may be forged.</param>
    /// <param name="notified">Called on the sending vCPU's thread: must not block, allocate or throw.</param>
    /// <param name="channel">The channel, or null.</param>
    /// <param name="backend">The backend's domain, which the guest must have allocated the port for; 0 for backends in the VMM.</param>
    /// <returns>Success; EINVAL when the port is not unbound or not for this backend; ESRCH when the domain is going away.</returns>
    public static XenErrno TryBind(EventChannels events, EventPort port, Action notified, out BackendChannel? channel, DomainId backend = default)
    {
        BackendChannel candidate = new(events, port.Value, notified);
        XenErrno error = events.BindBackend(port.Value, backend, candidate);
        channel = error == XenErrno.Success ? candidate : null;
        if (channel is not null)
            notified();
        return error;
    }

    /// <summary>Raises the guest's port. Any thread; nothing happens when it is closed.</summary>
    public void Notify() => _events.NotifyFrom(_port, this);

    /// <summary>Closes this end: the guest's port is unbound again, and nothing is called back after a call that is under way.</summary>
    public void Dispose()
    {
        _closed = true;
        _events.UnbindBackend(_port, this);
    }

    internal void Notified()
    {
        if (!_closed)
            _notified();
    }

    internal void PortClosed() => _closed = true;
}
