using Tessera.Kernel.Domains;
using Tessera.Kernel.Store;
using Tessera.Sdk;

namespace Tessera.Kernel.Devices;

/// <summary>
/// The split devices of all guests (xenbus, in process): makes a device's two halves meet in the store, plugs and unplugs them while the
/// guest runs, and takes them away when it is gone. Any thread.
/// </summary>
internal sealed class DeviceBus(StoreClient store)
{
    private readonly Lock _gate = new();
    private readonly List<BusDevice> _devices = [];
    private readonly HashSet<DomainId> _released = [];

    /// <summary>The devices there are, in order of attachment.</summary>
    public IReadOnlyList<BusDevice> Devices
    {
        get
        {
            lock (_gate)
                return [.. _devices];
        }
    }

    /// <summary>Plugs a device in; the guest may be running or yet to start.</summary>
    /// <param name="frontend">The guest.</param>
    /// <param name="id">Its number within its type, which for disks tells their name (51712 is xvda).</param>
    /// <param name="backend">Its backend half; the bus disposes of it when the device leaves.</param>
    /// <exception cref="DeviceException">The guest is gone, or has this device already.</exception>
    public BusDevice Attach(DomainId frontend, int id, IBackendDevice backend)
    {
        BusDevice device = new(store, frontend, id, backend, Forget);
        lock (_gate)
        {
            if (_released.Contains(frontend))
                throw new DeviceException($"Domain {frontend} is gone; a device can only be attached to one that exists.");
            if (_devices.Exists(other => other.Frontend == frontend && other.Type == backend.Type && other.Id == id))
                throw new DeviceException($"Domain {frontend} has {backend.Type} {id} already; detach it first or take another number.");
            _devices.Add(device);
        }

        try
        {
            device.Attach();
        }
        catch
        {
            device.Force();
            throw;
        }

        return device;
    }

    /// <summary>A guest's device.</summary>
    public BusDevice? Find(DomainId frontend, string type, int id)
    {
        lock (_gate)
            return _devices.Find(device => device.Frontend == frontend && device.Type == type && device.Id == id);
    }

    /// <summary>A guest is going: its devices leave at once, and it gets no more. On return nothing of its memory is in use by one.</summary>
    public void Release(DomainId frontend)
    {
        BusDevice[] devices;
        lock (_gate)
        {
            _ = _released.Add(frontend);
            devices = [.. _devices.Where(device => device.Frontend == frontend)];
        }

        foreach (BusDevice device in devices)
            device.Force();
    }

    private void Forget(BusDevice device)
    {
        lock (_gate)
            _ = _devices.Remove(device);
    }
}
