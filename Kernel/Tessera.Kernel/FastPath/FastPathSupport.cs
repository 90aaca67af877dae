using System.Runtime.Intrinsics.X86;
using Tessera.Sdk.Cpu;

namespace Tessera.Kernel.FastPath;

/// <summary>Whether domains with one vCPU have fast paths on this host.</summary>
/// <param name="Exists">They have, unless the configuration forbids it.</param>
/// <param name="Reason">Why, or why not, for people: the end of a sentence.</param>
public readonly record struct FastPathSupport(bool Exists, string Reason)
{
    /// <summary>What an engine's findings and the processor allow.</summary>
    /// <param name="engine">The engine's facts.</param>
    public static FastPathSupport Of(EngineFacts engine) => Of(engine, X86Base.IsSupported && (X86Base.CpuId(7, 0).Ebx & 1) != 0);

    /// <summary>The same for a processor that has FSGSBASE, or has not.</summary>
    internal static FastPathSupport Of(EngineFacts engine, bool hasFsGsBase)
    {
        // One slot is for the machine-to-physical table, one for the fast paths.
        const int Slots = 2;
        if (!engine.InterceptsSyscalls)
            return new(false, engine.InterceptionReason);
        if (engine.FreeSlots.Count < Slots)
            return new(false, "too few L4 slots of Xen's range work here");
        return hasFsGsBase ? new(true, engine.InterceptionReason) : new(false, "the processor has no instructions for FS and GS bases (FSGSBASE)");
    }
}
