using Tessera.Plugins.Memory.StaticPartition;
using Tessera.Sdk;
using Tessera.Sdk.Memory;

namespace Tessera.Memory.Tests;

[TestFixture]
internal sealed class StaticPartitionTests
{
    private static readonly StaticPartition Policy = new();

    [TestCase(100, 100, 1000, 900, 100, Description = "fits exactly")]
    [TestCase(101, 200, 1000, 900, 0, Description = "one frame short")]
    [TestCase(100, 50, 1000, 0, 0, Description = "more than its own maximum")]
    [TestCase(0, 50, 1000, 0, 0, Description = "nothing asked")]
    public void Creation_is_all_or_nothing(long frames, long maximum, long total, long assigned, long expected) =>
        Assert.That(Policy.Admit(new(new DomainId(1), frames, maximum), new(total, assigned)), Is.EqualTo(expected));

    [TestCase(100, 200, 50, 900, 50, Description = "as asked")]
    [TestCase(180, 200, 50, 900, 20, Description = "up to the maximum")]
    [TestCase(100, 200, 50, 970, 30, Description = "up to the machine's room")]
    [TestCase(200, 200, 50, 0, 0, Description = "at the maximum")]
    [TestCase(100, 200, -5, 0, 0, Description = "a negative request")]
    public void Growth_stops_at_the_maximum_and_at_the_machine(long has, long maximum, long asked, long assigned, long expected) =>
        Assert.That(Policy.Grant(Facts(has, maximum), asked, new MemoryBudget(1000, assigned)), Is.EqualTo(expected));

    [Test]
    public void No_target_ever_changes()
    {
        IMemoryPolicy policy = Policy;
        Assert.That(policy.RebalancePeriod, Is.EqualTo(Nanoseconds.Never));
        Assert.That(policy.Rebalance(Nanoseconds.Zero, [Facts(100, 200)], new MemoryBudget(1000, 100)), Is.Empty);
    }

    private static DomainMemoryFacts Facts(long has, long maximum) => new(new DomainId(1), 100, maximum, has, 100);
}
