using Tessera.Guests;

namespace Tessera.Kernel.Tests;

/// <summary>The way of a trap, from the engine through the router, the hypercall and the scheduler and back, allocates nothing.</summary>
[TestFixtureSource(typeof(Engines), nameof(Engines.Each))]
internal sealed class TrapPathAllocation(string engine)
{
    private const int Traps = 50_000;
    private const long WarmUpTraps = 10_000;

    /// <summary>On a busy host code may still be translated for the first time in one window; what a trap allocates it allocates in each.</summary>
    private const int MostWindows = 5;

    /// <summary>Less than one byte for ten traps: what the runtime itself may do meanwhile (tiering, a timer) is not a trap's.</summary>
    private const long Tolerated = Traps / 10;

    [TestCase("fuzz", FuzzMode.YieldStorm)]
    [TestCase("fuzz", FuzzMode.EventStorm)]
    [TestCase("fuzz", FuzzMode.HltStorm)]
    public void A_storm_of_traps_allocates_no_managed_memory(string guest, FuzzMode mode)
    {
        using TestMachine test = TestMachine.Start(engine);
        Domain domain = test.Run(guest, new FuzzOptions { Mode = mode, Count = 100_000_000 });
        Assert.That(test.WaitFor(() => TrapsOf(test) > WarmUpTraps, Hang.Limit), TestMachine.Describe(domain));
        long allocated = long.MaxValue;
        for (int window = 0; window < MostWindows && allocated >= Tolerated; window++)
            allocated = AllocatedBy(Traps, test, domain);
        Assert.That(allocated, Is.LessThan(Tolerated));
    }

    private static long AllocatedBy(int count, TestMachine test, Domain domain)
    {
        long traps = TrapsOf(test);
        long before = test.Machine.Accounts.Snapshot().AllocatedBytes.Sum();
        Assert.That(test.WaitFor(() => TrapsOf(test) > traps + count, Hang.Limit), TestMachine.Describe(domain));
        return test.Machine.Accounts.Snapshot().AllocatedBytes.Sum() - before;
    }

    private static long TrapsOf(TestMachine test) => test.Machine.Accounts.Snapshot().Domains[0].Traps.Values.Sum();
}
