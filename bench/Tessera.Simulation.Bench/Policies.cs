using Tessera.Plugins.Schedulers.Bvt;
using Tessera.Plugins.Schedulers.Credit;
using Tessera.Plugins.Schedulers.Credit2;
using Tessera.Plugins.Schedulers.Eevdf;
using Tessera.Plugins.Schedulers.Null;
using Tessera.Plugins.Schedulers.RoundRobin;
using Tessera.Plugins.Schedulers.Rtds;
using Tessera.Plugins.Schedulers.Sedf;
using Tessera.Plugins.Schedulers.Stride;
using Tessera.Sdk.Scheduling;

namespace Tessera.Simulation.Bench;

/// <summary>The policies that come with Tessera, with their defaults, by the names configurations use.</summary>
internal static class Policies
{
    public static readonly IReadOnlyList<(string Name, Func<IScheduler> Create)> All =
    [
        ("bvt", static () => new BvtScheduler(new())),
        ("credit", static () => new CreditScheduler(new())),
        ("credit2", static () => new Credit2Scheduler(new())),
        ("eevdf", static () => new EevdfScheduler(new())),
        ("null", static () => new NullScheduler()),
        ("round-robin", static () => new RoundRobinScheduler(new())),
        ("rtds", static () => new RtdsScheduler()),
        ("sedf", static () => new SedfScheduler()),
        ("stride", static () => new StrideScheduler(new())),
    ];
}
