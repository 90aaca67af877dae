using Tessera.Sdk;
using Tessera.Sdk.Plugins;

namespace Tessera.Plugins.Schedulers.Eevdf;

/// <summary>The options of <see cref="EevdfScheduler"/>. Linux has 0.75 ms on one CPU, which grows to 3 ms from eight CPUs on.</summary>
public sealed record EevdfOptions
{
    [Option("r, the length of a request: the CPU time a vCPU asks for at a time; also the quantum, after which another may preempt.", Min = "100us", Max = "1 s")]
    public Nanoseconds RequestLength { get; init; } = Nanoseconds.FromMilliseconds(3);
}

/// <summary>EEVDF's parameters of one domain besides its weight.</summary>
public sealed record EevdfDomainOptions
{
    [Option("The domain's own request length: shorter asks more often and has earlier deadlines, for the same share; 0 for the machine's.", Min = "0 ns", Max = "1 s")]
    public Nanoseconds RequestLength { get; init; }
}
