using Tessera.Sdk.Conformance;
using Tessera.Sdk.Scheduling;

namespace PolicyNamespace.Tests;

/// <summary>The rules of every scheduler, and the promises of this one: a test each.</summary>
[TestFixture]
public sealed class ConformanceTests : SchedulerConformance
{
    protected override IScheduler Create() => new PolicyClassScheduler(new PolicyClassOptions());
}
