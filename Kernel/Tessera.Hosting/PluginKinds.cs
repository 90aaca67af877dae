using Tessera.Sdk.Cpu;
using Tessera.Sdk.Devices;
using Tessera.Sdk.Memory;
using Tessera.Sdk.Plugins;
using Tessera.Sdk.Scheduling;

namespace Tessera.Hosting;

/// <summary>The plugin kinds: their contracts, and their names in messages.</summary>
internal static class PluginKinds
{
    public static Type Contract(PluginKind kind) => kind switch
    {
        PluginKind.Scheduler => typeof(IScheduler),
        PluginKind.CpuEngine => typeof(ICpuEngine),
        PluginKind.Mmu => typeof(IMmuVirtualization),
        PluginKind.MemoryPolicy => typeof(IMemoryPolicy),
        PluginKind.BlockBackend => typeof(IBlockBackend),
        PluginKind.NetworkBackend => typeof(INetworkBackend),
        _ => throw new ArgumentOutOfRangeException(nameof(kind), kind, "No such kind."),
    };

    /// <summary>
    /// Whether a process keeps what it has loaded of a kind to its end: what a machine is made of, and nothing swaps. The runtime uses code compiled ahead of
    /// time, and optimises by what it sees happen, only for assemblies that stay.
    /// </summary>
    public static bool IsKept(PluginKind kind) => kind is PluginKind.CpuEngine or PluginKind.Mmu;

    public static string Title(PluginKind kind) => kind switch
    {
        PluginKind.Scheduler => "scheduler",
        PluginKind.CpuEngine => "CPU engine",
        PluginKind.Mmu => "MMU virtualization",
        PluginKind.MemoryPolicy => "memory policy",
        PluginKind.BlockBackend => "block backend",
        PluginKind.NetworkBackend => "network backend",
        _ => $"kind {(int)kind}",
    };
}
