using Tessera.Sdk;

namespace Tessera.Kernel.Devices;

/// <summary>
/// A backend's end of an event channel: bound to a port that the guest allocated for the backend's domain. Notifications to the guest come from any thread;
/// the guest's call back on its vCPU's thread, which must only be told where to hand the work on (<see cref="DeviceWorker"/>).
/// </summary>
internal sealed class BackendChannel : IDisposable
{
    private readonly Domain _domain;
    private readonly int _port;
    private readonly Action _notified;
    private volatile bool _closed;

    private BackendChannel(Domain domain, int port, Action notified) => (_domain, _port, _notified) = (domain, port, notified);

    /// <summary>False once the guest closed its port, its domain died, or this end was disposed; notifications go nowhere then.</summary>
    public bool IsOpen => !_closed;

    /// <summary>The guest's port.</summary>
    public EventPort Port => new(_port);

    /// <summary>Binds a guest's unbound port. <paramref name="notified"/> is called once at once, since the guest may have sent before.</summary>
    /// <param name="domain">The frontend's domain.</param>
    /// <param name="port">The port it named in the store; may be forged.</param>
    /// <param name="notified">Called on the sending vCPU's thread: must not block, allocate or throw.</param>
    /// <param name="channel">The channel, or null.</param>
    /// <param name="backend">The backend's domain, which the guest must have allocated the port for; 0 for backends in the VMM.</param>
    /// <returns>Success; EINVAL when the port is not unbound or not for this backend; ESRCH when the domain is going away.</returns>
    public static XenErrno TryBind(Domain domain, EventPort port, Action notified, out BackendChannel? channel, DomainId backend = default)
    {
        BackendChannel candidate = new(domain, port.Value, notified);
        XenErrno error = domain.Events.BindDevice(port.Value, backend, candidate);
        channel = error == XenErrno.Success ? candidate : null;
        if (channel is not null)
            notified();
        return error;
    }

    /// <summary>Raises the guest's port. Any thread; nothing happens when it is closed.</summary>
    public void Notify() => _domain.Events.NotifyFrom(_port, this);

    /// <summary>Closes this end: the guest's port is unbound again, and nothing is called back after a call that is under way.</summary>
    public void Dispose()
    {
        _closed = true;
        _domain.Events.UnbindDevice(_port, this);
    }

    internal void Notified()
    {
        if (!_closed)
            _notified();
    }

    internal void PortClosed() => _closed = true;
}
