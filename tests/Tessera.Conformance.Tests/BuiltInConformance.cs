using Tessera.Plugins.Schedulers.Bvt;
using Tessera.Plugins.Schedulers.RoundRobin;
using Tessera.Sdk.Conformance;
using Tessera.Sdk.Scheduling;

namespace Tessera.Conformance.Tests;

[TestFixture]
public sealed class BvtConformance : SchedulerConformance
{
    protected override IScheduler Create() => new BvtScheduler(new());
}

[TestFixture]
public sealed class RoundRobinConformance : SchedulerConformance
{
    protected override IScheduler Create() => new RoundRobinScheduler(new());
}
