using Tessera.Sdk;
using Tessera.Sdk.Plugins;

namespace Tessera.Plugins.Schedulers.Rtds;

/// <summary>The server of each of a domain's vCPUs; the defaults are Xen's.</summary>
public sealed record RtdsDomainOptions
{
    [Option("How often the budget is replenished; the deadline is the period's end.", Min = "10us", Max = "1000 s")]
    public Nanoseconds Period { get; init; } = Nanoseconds.FromMilliseconds(10);

    [Option("The CPU time a vCPU gets in each period; more than the period counts as the period.", Min = "10us", Max = "1000 s")]
    public Nanoseconds Budget { get; init; } = Nanoseconds.FromMilliseconds(4);

    [Option("Whether it may go on beyond its budget while CPUs would idle otherwise.")]
    public bool ExtraTime { get; init; } = true;
}
