using Tessera.Plugins.Schedulers.Bvt;
using Tessera.Plugins.Schedulers.Credit;
using Tessera.Plugins.Schedulers.Credit2;
using Tessera.Plugins.Schedulers.Eevdf;
using Tessera.Plugins.Schedulers.Null;
using Tessera.Plugins.Schedulers.RoundRobin;
using Tessera.Plugins.Schedulers.Rtds;
using Tessera.Plugins.Schedulers.Sedf;
using Tessera.Plugins.Schedulers.Stride;
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

[TestFixture]
public sealed class CreditConformance : SchedulerConformance
{
    protected override IScheduler Create() => new CreditScheduler(new());
}

[TestFixture]
public sealed class Credit2Conformance : SchedulerConformance
{
    protected override IScheduler Create() => new Credit2Scheduler(new());
}

[TestFixture]
public sealed class EevdfConformance : SchedulerConformance
{
    protected override IScheduler Create() => new EevdfScheduler(new());
}

[TestFixture]
public sealed class NullConformance : SchedulerConformance
{
    protected override IScheduler Create() => new NullScheduler();
}

[TestFixture]
public sealed class RtdsConformance : SchedulerConformance
{
    protected override IScheduler Create() => new RtdsScheduler();
}

[TestFixture]
public sealed class SedfConformance : SchedulerConformance
{
    protected override IScheduler Create() => new SedfScheduler();
}

[TestFixture]
public sealed class StrideConformance : SchedulerConformance
{
    protected override IScheduler Create() => new StrideScheduler(new());
}
