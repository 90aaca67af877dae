using Tessera.Sdk;
using Tessera.Sdk.Plugins;

namespace Tessera.Plugins.Schedulers.Sedf;

/// <summary>SEDF's parameters of one domain besides its weight, for each of its vCPUs; the defaults are Xen's for a domain nobody has configured: best effort.</summary>
public sealed record SedfDomainOptions
{
    [Option("How often the slice is due; the deadline is the period's end.", Min = "10us", Max = "10 s")]
    public Nanoseconds Period { get; init; } = Nanoseconds.FromMilliseconds(100);

    [Option("The CPU time reserved in each period; 0 for none, more than the period counts as the period.", Min = "0 ns", Max = "10 s")]
    public Nanoseconds Slice { get; init; }

    [Option("Whether it shares in the time nobody has reserved, by weight; always so without a slice.")]
    public bool ExtraTime { get; init; } = true;

    [Option("The period it begins with after a long sleep, its slice scaled to it, both doubled until they are back; 0 for none.", Min = "0 ns", Max = "10 s")]
    public Nanoseconds Latency { get; init; }
}
