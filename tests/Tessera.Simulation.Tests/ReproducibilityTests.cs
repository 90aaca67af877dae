using FsCheck;
using FsCheck.Fluent;
using Tessera.Plugins.Schedulers.Bvt;
using Tessera.Plugins.Schedulers.RoundRobin;
using Tessera.Sdk;
using Tessera.Sdk.Scheduling;
using Tessera.Sdk.Simulation;

namespace Tessera.Simulation.Tests;

/// <summary>The same input gives the same run, to the bit.</summary>
public sealed class ReproducibilityTests
{
    [Test]
    public void Two_runs_of_one_seed_make_the_same_decisions_and_another_seed_makes_others([Values("bvt", "round-robin")] string policy)
    {
        (long Decisions, ulong Hash) first = Trace(policy, 7, []);
        (long Decisions, ulong Hash) second = Trace(policy, 7, []);
        (long Decisions, ulong Hash) other = Trace(policy, 8, []);
        Assert.That(second, Is.EqualTo(first));
        Assert.That(other, Is.Not.EqualTo(first));
    }

    [Test]
    public void A_run_does_not_depend_on_how_it_is_cut()
    {
        (long Decisions, ulong Hash) whole = Trace("bvt", 3, []);
        Prop.ForAll<NonNegativeInt[]>(cuts => Trace("bvt", 3, cuts) == whole).Check(Config.QuickThrowOnFailure.WithMaxTest(20));
    }

    [Test]
    public void A_vcpu_more_changes_no_others_random_numbers()
    {
        ulong[] alone = [.. Numbers(SimulationRandom.Stream(9, 4))];
        SimulationRandom other = SimulationRandom.Stream(9, 5);
        Assert.Multiple(() =>
        {
            Assert.That(Numbers(SimulationRandom.Stream(9, 4)), Is.EqualTo(alone));
            Assert.That(Numbers(other), Is.Not.EqualTo(alone));
        });
    }

    [Test]
    public void Random_numbers_are_those_of_the_published_generator()
    {
        // Reference values of SplitMix64 for the seed 1234567.
        SimulationRandom random = new(1234567);
        Assert.That(Numbers(random).Take(3), Is.EqualTo((ulong[])[6457827717110365317, 3203168211198807973, 9817491932198370423]));
    }

    [Test]
    public void Exponential_times_have_their_mean_and_their_logarithm_is_right()
    {
        SimulationRandom random = new(1);
        double sum = 0;
        for (int index = 0; index < 200_000; index++)
            sum += random.Exponential(Nanoseconds.FromMilliseconds(1)).Value;
        Assert.That(sum / 200_000, Is.EqualTo(1e6).Within(1e4));
        SimulationRandom unit = new(77);
        SimulationRandom exponential = new(77);
        for (int index = 0; index < 1000; index++)
        {
            double expected = -Math.Log(1 - unit.NextUnit()) * 1e9;
            Assert.That(exponential.Exponential(new(1_000_000_000)).Value, Is.EqualTo(expected).Within(1.0 + (expected * 1e-12)));
        }
    }

    [Test]
    public void Whole_numbers_stay_below_their_limit_and_reach_both_ends() =>
        Prop.ForAll<PositiveInt, int>((limit, seed) =>
        {
            SimulationRandom random = new((ulong)seed);
            return Enumerable.Range(0, 50).All(_ => random.Below(limit.Get) is >= 0 and var value && value < limit.Get);
        }).Check(Config.QuickThrowOnFailure);

    private static IEnumerable<ulong> Numbers(SimulationRandom random) => Enumerable.Range(0, 10).Select(_ => random.NextBits());

    private static (long Decisions, ulong Hash) Trace(string policy, ulong seed, NonNegativeInt[] cuts)
    {
        VirtualMachine machine = new(
            policy == "bvt" ? new BvtScheduler(new()) : new RoundRobinScheduler(new()),
            new VirtualMachineOptions { PcpuCount = 3, ContextSwitchCost = Nanoseconds.FromMicroseconds(3), WakeCost = Nanoseconds.FromMicroseconds(7) });
        long decisions = 0;
        ulong hash = 14695981039346656037;
        machine.Decided = (pcpu, dispatch) =>
        {
            decisions++;
            foreach (long part in (ReadOnlySpan<long>)[machine.Now.Value, pcpu.Index, dispatch.Vcpu?.Id.Domain.Value ?? 0, dispatch.Until.Value])
                hash = (hash ^ (ulong)part) * 1099511628211;
        };
        for (int domain = 1; domain <= 20; domain++)
        {
            SimulationRandom random = SimulationRandom.Stream(seed, (ulong)domain);
            Workload workload = (domain % 4) switch
            {
                0 => new CpuBoundWorkload(),
                1 => new OnOffWorkload(Nanoseconds.FromMilliseconds(2), Nanoseconds.FromMilliseconds(9), random),
                2 => QueueWorkload.Poisson(Nanoseconds.FromMilliseconds(11), Nanoseconds.FromMilliseconds(1), random),
                _ => new PeriodicWorkload(Nanoseconds.FromMilliseconds(1), Nanoseconds.FromMilliseconds(13)),
            };
            machine.Start(domain, workload, weight: 100 * domain);
        }

        Nanoseconds end = Nanoseconds.FromSeconds(2);
        foreach (NonNegativeInt cut in cuts.OrderBy(static cut => cut.Get))
            machine.RunUntil(Nanoseconds.Min(end, Nanoseconds.Max(machine.Now, new Nanoseconds(cut.Get * 7_919_993L))));
        machine.RunUntil(end);
        return (decisions, hash);
    }
}
