using System.Runtime.ExceptionServices;
using Microsoft.Extensions.DependencyInjection;
using Tessera.Hosting;
using Tessera.Sdk.Conformance;
using Tessera.Sdk.Conformance.Block;
using Tessera.Sdk.Conformance.Cpu;
using Tessera.Sdk.Conformance.Memory;
using Tessera.Sdk.Conformance.Network;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Devices;
using Tessera.Sdk.Memory;
using Tessera.Sdk.Plugins;
using Tessera.Sdk.Scheduling;

namespace Tessera.Cli.Verbs;

/// <summary>
/// Makes the conformance suite for a plugin of any kind. A backend that stands on another gets a built-in one: a disk in memory, a port
/// of a switch.
/// </summary>
/// <param name="catalog">Where the backends beneath come from.</param>
/// <param name="services">What plugins' constructors may take.</param>
internal sealed class PluginSuites(PluginCatalog catalog, IServiceProvider services) : IDisposable
{
    /// <summary>Far more than a disk takes to write and read one sector.</summary>
    private static readonly TimeSpan LongestTrial = TimeSpan.FromMinutes(1);

    private LoadedPlugin? _beneath;

    /// <summary>The suite; what keeps a plugin from working here at all is thrown now, and not by every check.</summary>
    /// <param name="plugin">The plugin.</param>
    /// <param name="options">Its options; null for their defaults.</param>
    /// <param name="thorough">Changes how thorough a suite of the kind is by default.</param>
    /// <exception cref="EngineException">This host cannot.</exception>
    /// <exception cref="PluginException">It cannot be made.</exception>
    /// <exception cref="BackendException">It cannot be opened.</exception>
    public ConformanceSuite Make(LoadedPlugin plugin, object? options, Func<ConformanceOptions, ConformanceOptions> thorough)
    {
        string name = plugin.Info.Name;
        switch (plugin.Info.Kind)
        {
            case PluginKind.Scheduler:
                return new SchedulerSuite(Create<IScheduler>, SchedulerDeclaration.Of(Create<IScheduler>().GetType()), thorough(new()));
            case PluginKind.CpuEngine:
                Create<ICpuEngine>().Dispose();
                return new CpuEngineSuite(name, Create<ICpuEngine>);
            case PluginKind.Mmu:
                _ = Create<IMmuVirtualization>();
                return new MmuSuite(name, Create<IMmuVirtualization>, thorough(new()));
            case PluginKind.MemoryPolicy:
                _ = Create<IMemoryPolicy>();
                return new MemoryPolicySuite(name, Create<IMemoryPolicy>, thorough(new()));
            case PluginKind.BlockBackend:
                IBlockBackend Disk() => Stack<IBlockBackend>(new Scope(), "ram");
                bool isKept = FindsOutWhetherItKeeps(Disk);
                BlockStorage Storage() => isKept ? new KeptStorage(Disk) : new VolatileBlockStorage(Disk);
                return new BlockSuite(name, Storage, thorough(BlockSuite.Usual));
            default:
                (INetworkBackend One, INetworkBackend Two) pair = Pair();
                pair.One.Dispose();
                pair.Two.Dispose();
                // What has its far end outside may deliver when it likes, or elsewhere.
                return new NetworkSuite(name, Pair, isPrompt: !plugin.Info.ReachesOutside);
        }

        T Create<T>()
            where T : class => plugin.Create<T>(options, services);

        (INetworkBackend One, INetworkBackend Two) Pair()
        {
            Scope scope = new();
            return (Stack<INetworkBackend>(scope, "switch"), Stack<INetworkBackend>(scope, "switch"));
        }

        T Stack<T>(Scope scope, string beneath)
            where T : class
        {
            if (plugin.Info.Name == beneath)
                return Backend<T>(plugin, options, scope, null);
            _beneath ??= catalog.Load(beneath, plugin.Info.Kind);
            return Backend(plugin, options, scope, Backend<T>(_beneath, null, scope, null));
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _beneath?.Dispose();

    private static T Backend<T>(LoadedPlugin plugin, object? options, Scope scope, T? beneath)
        where T : class
    {
        ServiceCollection offered = new();
        offered.AddSingleton<IMachineScope>(scope);
        offered.AddSingleton(TimeProvider.System);
        if (beneath is not null)
            offered.AddSingleton(beneath);
        // The provider does not own instances it was given, so it can be let go of.
        using ServiceProvider provider = offered.BuildServiceProvider();
        return plugin.Create<T>(options, provider);
    }

    /// <summary>As <see cref="Keeps"/>, of a disk that may be broken or hang: then no, and the checks say what is wrong with it.</summary>
    /// <exception cref="BackendException">It cannot be made here.</exception>
    private static bool FindsOutWhetherItKeeps(Func<IBlockBackend> make)
    {
        Task<bool> trial = Task.Run(() => Keeps(make));
        try
        {
            return trial.Wait(LongestTrial) && trial.Result;
        }
        catch (AggregateException e) when (e.InnerException is BackendException)
        {
            ExceptionDispatchInfo.Throw(e.InnerException);
            throw;
        }
        catch (AggregateException)
        {
            return false;
        }
    }

    /// <summary>Whether a disk still holds what was written to it when it is closed and another is made.</summary>
    private static bool Keeps(Func<IBlockBackend> make)
    {
        byte[] mark;
        using (IBlockBackend disk = make())
        {
            mark = new byte[disk.Open(BlockAccess.ReadWrite).SectorSize];
            Random.Shared.NextBytes(mark);
            BlockDriver driver = new(disk);
            driver.Write(0, mark);
            driver.Flush();
        }

        using IBlockBackend again = make();
        _ = again.Open(BlockAccess.ReadWrite);
        return new BlockDriver(again).Read(0, mark.Length).AsSpan().SequenceEqual(mark);
    }

    private sealed class KeptStorage(Func<IBlockBackend> make) : BlockStorage
    {
        public override IBlockBackend Make() => make();
    }

    /// <summary>What the backends of one check share.</summary>
    private sealed class Scope : IMachineScope
    {
        private readonly Lock _gate = new();
        private readonly Dictionary<string, object> _shared = [];

        public T Share<T>(string name, Func<T> make)
            where T : class
        {
            lock (_gate)
                return (T)(_shared.TryGetValue(name, out object? found) ? found : _shared[name] = make());
        }
    }
}
