using Tessera.Kernel.Devices;
using Tessera.Kernel.Store;
using Tessera.Kernel.Tests.Store;
using Tessera.Sdk;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Tests.Devices;

/// <summary>A backend half that does nothing and notes what it is asked; its frontend must offer a ring reference from 1 to 9.</summary>
internal sealed class FakeDevice : IBackendDevice
{
    private readonly List<string> _calls = [];

    public string Type => "vfake";

    /// <summary>Everything it was asked, in order.</summary>
    public string[] Calls
    {
        get
        {
            lock (_calls)
                return [.. _calls];
        }
    }

    public Exception? ConnectFailure { get; set; }

    public void Publish(DeviceKeys keys)
    {
        Note("publish");
        keys.WriteBackend("feature-x", 1);
        keys.WriteFrontend("handle", $"{keys.Id}");
    }

    public void Connect(DeviceKeys keys)
    {
        Note($"connect {keys.ReadFrontendNumber("ring-ref", 1, 9)}");
        if (ConnectFailure is not null)
            throw ConnectFailure;
        keys.WriteBackend("sectors", 100);
    }

    public void Disconnect() => Note("disconnect");

    public void Dispose() => Note("dispose");

    private void Note(string call)
    {
        lock (_calls)
            _calls.Add(call);
    }
}

/// <summary>A device of domain 5 and its frontend, played by the test through the store with that domain's rights.</summary>
internal sealed class DeviceBench
{
    public const string Front = "/local/domain/5/device/vfake/7";
    public const string Back = "/local/domain/0/backend/vfake/5/7";

    public DeviceBench()
    {
        Bus = new DeviceBus(Store.Client());
        Store.Store.Introduce(new DomainId(5), "five");
        Guest = Store.Client(5);
        Device = Bus.Attach(new DomainId(5), 7, Fake);
    }

    public StoreBench Store { get; } = new();

    public DeviceBus Bus { get; }

    public StoreClient Guest { get; }

    public FakeDevice Fake { get; } = new();

    public BusDevice Device { get; }

    /// <summary>The frontend says where it is.</summary>
    public void Say(XenbusState state) => Guest.Write($"{Front}/state", $"{(int)state}");

    /// <summary>Waits until the frontend can read this state of the backend.</summary>
    public void WaitFor(XenbusState state) =>
        Wait(() => Guest.Read($"{Back}/state") == $"{(int)state}" && Device.State == state, () => $"the backend is {Device.State}, not {state}; error {Device.Error}");

    public void Wait(Func<bool> condition, Func<string> describe) =>
        Assert.That(SpinWait.SpinUntil(condition, Hang.Limit), Is.True, () => $"{describe()}; calls {string.Join(", ", Fake.Calls)}");

    public void Connect()
    {
        Guest.Write($"{Front}/ring-ref", "8");
        Say(XenbusState.Initialised);
        WaitFor(XenbusState.Connected);
    }
}
