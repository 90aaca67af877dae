namespace Tessera.Kernel.Devices;

/// <summary>A split device of a domain, as its administrator sees it.</summary>
public abstract class SplitDevice
{
    private readonly BusDevice _device;

    internal SplitDevice(BusDevice device) => _device = device;

    /// <summary>False once it has left.</summary>
    public bool IsAttached => !_device.End.IsCompleted;

    /// <summary>Why its frontend could not connect, or why its backend does not work; null when all is well.</summary>
    public string? Error => _device.Error ?? Problem;

    /// <summary>Unplugs it: asks the guest to let go, and takes it away when it does not in time.</summary>
    /// <param name="timeout">How long the guest may take.</param>
    /// <returns>Whether the guest let go.</returns>
    public async Task<bool> DetachAsync(TimeSpan timeout) => await _device.DetachAsync(timeout) == DeviceEnd.Closed;

    /// <summary>What its backend complains of.</summary>
    private protected abstract string? Problem { get; }

    /// <summary>Counts from now on.</summary>
    internal abstract void BeginWindow();

    /// <summary>Whether it takes another's place in its domain: one of the same type and number, which has left.</summary>
    internal bool Replaces(SplitDevice other) => (_device.Type, _device.Id) == (other._device.Type, other._device.Id);

    /// <summary>Has its keys changed while it is connected.</summary>
    private protected void Announce(Action<DeviceKeys> change) => _device.Announce(change);
}
