using Tessera.Sdk;
using Tessera.Sdk.Plugins;

namespace Tessera.Plugins.Schedulers.Credit;

/// <summary>The options of <see cref="CreditScheduler"/>; the defaults are Xen's.</summary>
public sealed record CreditOptions
{
    [Option("How long a vCPU runs before another of its priority, and how often credits are given out.", Min = "1 ms", Max = "1 s")]
    public Nanoseconds Timeslice { get; init; } = Nanoseconds.FromMilliseconds(30);

    [Option("How long a vCPU runs at least before another may preempt it; 0 for no such limit.", Min = "0 ns", Max = "500 ms")]
    public Nanoseconds Ratelimit { get; init; } = Nanoseconds.FromMilliseconds(1);
}

/// <summary>Credit's parameters of one domain besides its weight.</summary>
public sealed record CreditDomainOptions
{
    [Option("The most CPU the domain gets even if CPUs are idle, in percent of one; 0 for no cap.", Min = "0", Max = "25600")]
    public int Cap { get; init; }
}
