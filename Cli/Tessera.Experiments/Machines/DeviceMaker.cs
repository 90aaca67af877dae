using Microsoft.Extensions.DependencyInjection;
using Tessera.Experiments.Planning;
using Tessera.Kernel.Devices.Block;
using Tessera.Kernel.Devices.Network;
using Tessera.Kernel.Machines;
using Tessera.Sdk.Devices;
using Tessera.Sdk.Plugins;

namespace Tessera.Experiments.Machines;

/// <summary>Makes devices of plans: each backend's instance gets the one beneath it, and what its machine shares.</summary>
/// <param name="machine">The machine.</param>
/// <param name="duties">What backends' threads tell what they are for; null leaves them as they are.</param>
public sealed class DeviceMaker(Machine machine, IThreadDuties? duties) : IMachineScope, IDisposable
{
    private readonly Lock _gate = new();
    private readonly Dictionary<string, object> _shared = [];

    /// <summary>A disk to attach; its backends are made and not opened.</summary>
    /// <exception cref="Tessera.Hosting.PluginException">A backend cannot be made.</exception>
    public DiskConfiguration Make(DiskPlan plan, string domain) =>
        new() { Name = plan.Name, Backend = Stack<IBlockBackend>(plan.Backends, $"disk {domain}/{plan.Name}"), IsReadOnly = plan.IsReadOnly, PersistentGrants = plan.PersistentGrants };

    /// <summary>A network interface to attach; its backends are made and not opened.</summary>
    /// <exception cref="Tessera.Hosting.PluginException">A backend cannot be made.</exception>
    public NicConfiguration Make(NicPlan plan, string domain) =>
        new()
        {
            Number = plan.Number,
            Address = plan.Address,
            Backend = Stack<INetworkBackend>(plan.Backends, $"interface {domain}/{plan.Number}"),
            BytesPerSecond = plan.BytesPerSecond,
            AntiSpoofing = plan.AntiSpoofing,
            Addresses = plan.Addresses,
        };

    /// <inheritdoc/>
    public T Share<T>(string name, Func<T> make)
        where T : class
    {
        lock (_gate)
        {
            if (!_shared.TryGetValue(name, out object? found))
                _shared[name] = found = make();
            return found as T ?? throw new InvalidOperationException($"\"{name}\" is shared as a {found.GetType()}, not a {typeof(T)}.");
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        lock (_gate)
        {
            foreach (IDisposable shared in _shared.Values.OfType<IDisposable>())
                shared.Dispose();
            _shared.Clear();
        }
    }

    private T Stack<T>(IReadOnlyList<ChosenPlugin> backends, string name)
        where T : class, IDisposable
    {
        T? backend = null;
        try
        {
            foreach (ChosenPlugin chosen in backends)
            {
                ServiceCollection services = new();
                services.AddSingleton<IMachineScope>(this);
                services.AddSingleton(machine.Time);
                if (duties is not null)
                    services.AddSingleton(duties);
                if (backend is INetworkBackend network)
                    services.AddSingleton<INetworkBackend>(new LayerGuard(network));
                else if (backend is not null)
                    services.AddSingleton(backend);
                // The provider does not own instances it was given, so it can be let go of.
                using ServiceProvider provider = services.BuildServiceProvider();
                backend = chosen.Create<T>(provider);
                if (ReferenceEquals(chosen, backends[0]) && machine.Outside is { } outside)
                    backend = Settle(backend, chosen, outside, name);
            }
        }
        catch
        {
            backend?.Dispose();
            throw;
        }

        return backend!;
    }

    /// <summary>In virtual time what a backend does on threads of its own is waited for, and what comes from outside comes by the door for that.</summary>
    private static T Settle<T>(T backend, ChosenPlugin chosen, Outside outside, string name)
        where T : class, IDisposable
    {
        switch (backend)
        {
            case IBlockBackend disk when !chosen.Plugin.Info.ReachesOutside:
                return (T)(object)new SettledDisk(disk);
            case INetworkBackend network when chosen.Plugin.Info.ReachesOutside && (outside.Recorder is not null || outside.IsReplayed):
                return (T)(object)new OutsideNic(network, outside, name);
            case var _ when chosen.Plugin.Info.ReachesOutside:
                backend.Dispose();
                throw new BackendException($"{chosen.Plugin.Info.Name} reaches outside the machine, which cannot be repeated in virtual time.", "Use real time, or choose another backend.");
            default:
                return backend;
        }
    }
}
