using System.Collections.Immutable;
using System.Globalization;
using Tessera.Kernel.Domains;
using Tessera.Kernel.Store;
using Tessera.Sdk;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Devices;

/// <summary>How a device left.</summary>
internal enum DeviceEnd
{
    /// <summary>Its frontend closed it.</summary>
    Closed,

    /// <summary>It was taken away: its frontend did not answer, or its domain is gone.</summary>
    Forced,
}

/// <summary>
/// One split device of one guest: the backend's side of the xenbus handshake. Its state follows the frontend's key, whatever the guest
/// writes there in whatever order; rings are connected only between InitWait and the frontend's Closed.
/// </summary>
internal sealed class BusDevice
{
    private readonly Lock _gate = new();
    private readonly StoreClient _store;
    private readonly IBackendDevice _backend;
    private readonly DeviceKeys _keys;
    private readonly Action<BusDevice> _gone;
    private readonly TaskCompletionSource<DeviceEnd> _end = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private StoreWatch? _watch;
    private bool _isConnected;
    private bool _isGone;

    internal BusDevice(StoreClient store, DomainId frontend, int id, IBackendDevice backend, Action<BusDevice> gone)
    {
        (_store, _backend, _gone) = (store, backend, gone);
        _keys = new DeviceKeys(store, frontend, backend.Type, id);
    }

    /// <summary>The guest.</summary>
    public DomainId Frontend => _keys.Frontend;

    /// <summary>"vbd", "vif".</summary>
    public string Type => _backend.Type;

    /// <summary>Its number within its type and guest.</summary>
    public int Id => _keys.Id;

    /// <summary>The backend half.</summary>
    public IBackendDevice Backend => _backend;

    /// <summary>The backend's state.</summary>
    public XenbusState State { get; private set; }

    /// <summary>The frontend's state as it was last seen.</summary>
    public XenbusState FrontendState { get; private set; }

    /// <summary>False once it is to be unplugged.</summary>
    public bool IsOnline { get; private set; } = true;

    /// <summary>Why the last connection failed; null when it did not.</summary>
    public string? Error { get; private set; }

    /// <summary>Ends when the device has left: both directories are gone and nothing of the guest is used.</summary>
    public Task<DeviceEnd> End => _end.Task;

    /// <summary>Unplugs it: asks the frontend to close, and takes the device away when it does not in time.</summary>
    /// <param name="timeout">How long a frontend may take.</param>
    /// <param name="time">By which clock; the system's when null.</param>
    public async Task<DeviceEnd> DetachAsync(TimeSpan timeout, TimeProvider? time = null)
    {
        BeginDetach();
        try
        {
            return await _end.Task.WaitAsync(timeout, time ?? TimeProvider.System);
        }
        catch (TimeoutException)
        {
            Force();
            return await _end.Task;
        }
    }

    /// <summary>Changes what the backend offers while it is connected, and has the frontend look: its watch is on the state.</summary>
    /// <param name="change">Writes the keys that differ.</param>
    public void Announce(Action<DeviceKeys> change)
    {
        lock (_gate)
        {
            if (_isGone)
                return;
            change(_keys);
            if (State == XenbusState.Connected)
                _keys.WriteBackend("state", (int)State);
        }
    }

    /// <summary>Takes it away at once.</summary>
    public void Force() => Leave(DeviceEnd.Forced);

    /// <summary>Creates both directories, at one moment, and begins to follow the frontend.</summary>
    internal void Attach()
    {
        lock (_gate)
        {
            if (_isGone)
                throw new DeviceException($"Domain {Frontend} ended while its {Type} {Id} was being attached.");
            _store.Transact(transaction =>
            {
                DeviceKeys keys = new(transaction, Frontend, Type, Id);
                Make(transaction, keys.FrontendPath, StorePermission.OwnedAndReadBy(Frontend, default));
                Make(transaction, keys.BackendPath, StorePermission.OwnedAndReadBy(default, Frontend));
                keys.WriteBackend("frontend", keys.FrontendPath);
                keys.WriteBackend("frontend-id", Frontend.Value);
                keys.WriteBackend("online", 1);
                keys.WriteBackend("state", (int)XenbusState.Initialising);
                keys.WriteFrontend("backend", keys.BackendPath);
                keys.WriteFrontend("backend-id", "0");
                keys.WriteFrontend("state", $"{(int)XenbusState.Initialising}");
                _backend.Publish(keys);
            });
            FrontendState = XenbusState.Initialising;
            Switch(XenbusState.InitWait);
            _watch = _store.Watch($"{_keys.FrontendPath}/state", _ => Follow());
        }
    }

    private static void Make(StoreClient store, string path, ImmutableArray<StorePermission> permissions)
    {
        store.Remove(path);
        store.MakeDirectory(path);
        store.SetPermissions(path, permissions);
    }

    private static XenbusState Parse(string? text) =>
        int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int value) && Enum.IsDefined((XenbusState)value) ? (XenbusState)value : XenbusState.Unknown;

    private void BeginDetach()
    {
        bool isIdle;
        lock (_gate)
        {
            if (_isGone || !IsOnline)
                return;
            IsOnline = false;
            _keys.WriteBackend("online", 0);
            // A frontend that has not begun has nothing to bring to an end.
            isIdle = !_isConnected && State is XenbusState.InitWait or XenbusState.Closed && FrontendState is XenbusState.Initialising or XenbusState.Closed or XenbusState.Unknown;
            if (!isIdle)
                Switch(XenbusState.Closing);
        }

        if (isIdle)
            Leave(DeviceEnd.Closed);
    }

    /// <summary>The frontend's state may have changed.</summary>
    private void Follow()
    {
        bool isOver;
        lock (_gate)
        {
            if (_isGone)
                return;
            try
            {
                FrontendState = Parse(_keys.ReadFrontend("state"));
                Step();
            }
            catch (Exception exception)
            {
                // The thread pool's thread is nobody's: a failing backend is this device's end and no other's.
                Fail(exception);
            }

            isOver = !IsOnline && State == XenbusState.Closed;
        }

        if (!isOver)
            return;
        try
        {
            Leave(DeviceEnd.Closed);
        }
        catch (Exception exception)
        {
            Error = exception.Message;
        }
    }

    private void Step()
    {
        switch (FrontendState)
        {
            case XenbusState.Initialising when State != XenbusState.InitWait:
                // A new frontend, whether or not the old one took its leave.
                Disconnect();
                Switch(XenbusState.Closed);
                Reopen();
                break;
            case XenbusState.Initialised or XenbusState.Connected:
                if (State == XenbusState.Closed)
                    Reopen();
                if (State == XenbusState.InitWait)
                    Connect();
                break;
            case XenbusState.Closing when State is not XenbusState.Closed:
                // Its rings still work: it brings to an end what is under way.
                Switch(XenbusState.Closing);
                break;
            case XenbusState.Closed or XenbusState.Unknown:
                Disconnect();
                Switch(XenbusState.Closed);
                break;
            default:
                break;
        }
    }

    private void Reopen()
    {
        if (!IsOnline)
            return;
        Switch(XenbusState.Initialising);
        _backend.Publish(_keys);
        Switch(XenbusState.InitWait);
    }

    private void Connect()
    {
        _isConnected = true;
        _backend.Connect(_keys);
        Error = null;
        _store.Remove(_keys.ErrorPath);
        Switch(XenbusState.Connected);
    }

    private void Fail(Exception exception)
    {
        Error = exception.Message;
        try
        {
            Disconnect();
            _store.Write($"{_keys.ErrorPath}/error", exception.Message);
            Switch(XenbusState.Closing);
        }
        catch (Exception second)
        {
            Error = $"{exception.Message} Then: {second.Message}";
        }
    }

    private void Disconnect()
    {
        if (!_isConnected)
            return;
        _isConnected = false;
        _backend.Disconnect();
    }

    private void Switch(XenbusState state)
    {
        if (State == state)
            return;
        State = state;
        _keys.WriteBackend("state", (int)state);
    }

    private void Leave(DeviceEnd end)
    {
        lock (_gate)
        {
            if (_isGone)
                return;
            _isGone = true;
            _watch?.Dispose();
            try
            {
                Disconnect();
                _backend.Dispose();
            }
            catch (Exception exception)
            {
                Error = exception.Message;
            }

            State = XenbusState.Closed;
            _store.Transact(transaction =>
            {
                transaction.Remove(_keys.FrontendPath);
                transaction.Remove(_keys.BackendPath);
                transaction.Remove(_keys.ErrorPath);
                string parent = StorePath.ParentOf(_keys.BackendPath);
                if (transaction.List(parent).Count == 0)
                    transaction.Remove(parent);
            });
        }

        _gone(this);
        _ = _end.TrySetResult(end);
    }
}
