using Tessera.Sdk;
using Tessera.Sdk.Plugins;

namespace Tessera.Plugins.Schedulers.Credit2;

/// <summary>The options of <see cref="Credit2Scheduler"/>; the default is Xen's.</summary>
public sealed record Credit2Options
{
    [Option("How long a vCPU runs at least before another may preempt it; 0 for no such limit.", Min = "0 ns", Max = "500 ms")]
    public Nanoseconds Ratelimit { get; init; } = Nanoseconds.FromMilliseconds(1);
}

/// <summary>Credit2's parameters of one domain besides its weight.</summary>
public sealed record Credit2DomainOptions
{
    [Option("The most CPU the domain gets even if CPUs are idle, in percent of one; 0 for no cap.", Min = "0", Max = "25600")]
    public int Cap { get; init; }
}
