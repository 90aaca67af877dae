using Tessera.Sdk;
using Tessera.Sdk.Plugins;

namespace Tessera.Plugins.Schedulers.Bvt;

/// <summary>The options of <see cref="BvtScheduler"/>; the defaults are Xen's at the time of the SOSP paper.</summary>
public sealed record BvtOptions
{
    [Option("mcu, the minimum charging unit: CPU time is charged in whole units of it.", Min = "10us", Max = "10 ms")]
    public Nanoseconds MinimumChargingUnit { get; init; } = Nanoseconds.FromMicroseconds(100);

    [Option("C, the context-switch allowance: how far the running vCPU may pass the next before it is switched; at least one mcu.", Min = "10us", Max = "1 s")]
    public Nanoseconds ContextSwitchAllowance { get; init; } = Nanoseconds.FromMilliseconds(5);
}

/// <summary>BVT's parameters of one domain besides its weight.</summary>
public sealed record BvtDomainOptions
{
    [Option("Whether the domain may warp: borrow virtual time when it wakes.")]
    public bool Warp { get; init; }

    [Option("W, how much it borrows, in the virtual time of a vCPU of weight 256: that vCPU's CPU time.", Min = "0 ns", Max = "1000 s")]
    public Nanoseconds WarpValue { get; init; } = Nanoseconds.FromMilliseconds(50);

    [Option("L, how much CPU time it may use warped before it is unwarped; 0 for no limit.", Min = "0 ns", Max = "1000 s")]
    public Nanoseconds WarpLimit { get; init; } = Nanoseconds.FromSeconds(2);

    [Option("U, how long it stays unwarped after reaching the limit; 0 until its next wake.", Min = "0 ns", Max = "1000 s")]
    public Nanoseconds UnwarpTime { get; init; } = Nanoseconds.FromSeconds(1);
}
