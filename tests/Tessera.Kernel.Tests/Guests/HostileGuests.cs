using Tessera.Guests;
using Tessera.Sdk;

namespace Tessera.Kernel.Tests;

/// <summary>
/// The hostile guest beside two that mind their business: `spin`, which must keep its share, and `paging`, which checks its memory all
/// the time. Whatever is tried, the right error comes back or the attacker dies alone.
/// </summary>
[TestFixtureSource(typeof(Engines), nameof(Engines.Each))]
[NonParallelizable]
internal sealed class HostileGuests(string engine)
{
    private const long CallsOfADomain = 100_000;
    private static readonly TimeSpan StuckLimit = TimeSpan.FromSeconds(2);
    private static readonly Nanoseconds LoopLimit = Nanoseconds.FromSeconds(5);

    private static long WantedCalls => long.TryParse(Environment.GetEnvironmentVariable("TESSERA_FUZZ_CALLS"), out long calls) && calls > 0 ? calls : 1_000_000;

    [Test]
    public void A_million_random_hypercalls_hurt_nobody_else()
    {
        using TestMachine machine = TestMachine.Start(engine);
        Domain spin = machine.Run("spin"), paging = machine.Run("paging");
        long first = FirstSeed(), calls = 0, refusals = 0;
        int domains = 0, died = 0, stopped = 0;
        HashSet<int> numbers = [];
        long grants = 0, frames = machine.Machine.Frames.AssignedFrames;
        for (long seed = first; calls < WantedCalls; seed++, domains++)
        {
            Domain fuzz = machine.Run("fuzz", new FuzzOptions { Mode = FuzzMode.Random, Seed = seed, Count = CallsOfADomain }, weight: 1536);
            bool ended = WaitForEndOrStop(machine, fuzz);
            GuestReport report = TestMachine.ReportOf(fuzz);
            calls += (long)report.Units;
            refusals += report.Fuzz!.Refusals.Sum(count => count);
            numbers.UnionWith(Enumerable.Range(0, 64).Where(number => report.Fuzz.Calls[number] > 0));
            died += fuzz.State == DomainState.Crashed ? 1 : 0;
            stopped += ended ? 0 : 1;
            if (fuzz.State == DomainState.Crashed || !ended)
                TestContext.Out.WriteLine($"seed {seed}: {TestMachine.Describe(fuzz)}");
            Assert.That(fuzz.ExitReason, Does.Not.Contain("VMM failed"), () => $"seed {seed}: {TestMachine.Describe(fuzz)}");
            grants += fuzz.Grants.Taken;
            machine.Machine.Destroy(fuzz);
            Assert.That(machine.Machine.Frames.AssignedFrames, Is.EqualTo(frames), () => $"frames after seed {seed}");
        }

        TestContext.Out.WriteLine($"{grants} grants were taken");
        Assert.That(grants, Is.GreaterThan(200), "well-formed grant operations come through");
        TestContext.Out.WriteLine($"seeds {first} to {first + domains - 1}: {calls} calls, {refusals} refused, {died} domains died, {stopped} stopped themselves");
        Assert.That(numbers, Has.Count.GreaterThanOrEqualTo(63), "every number but iret was tried");
        AssertUnharmed(machine, spin, paging);
        double spun = machine.CpuTimeOf(spin).TotalSeconds, paged = machine.CpuTimeOf(paging).TotalSeconds;
        TestContext.Out.WriteLine($"spin had {100 * spun / (spun + paged):0.00} per cent of what the two neighbours had, {spun + paged:0.0} s");
        AssertShares(machine, spin, paging);
    }

    [Test]
    public void Frames_that_are_not_its_own_are_refused_by_every_call()
    {
        using TestMachine machine = TestMachine.Start(engine);
        Domain spin = machine.Run("spin"), paging = machine.Run("paging");
        Domain fuzz = Attack(machine, FuzzMode.MapForeign, 0);
        Domain neighbour = machine.Run("paging");
        AssertFinished(fuzz);
        IReadOnlyList<AttackRecord> records = TestMachine.ReportOf(fuzz).Fuzz!.Records;
        Assert.That(records, Has.Count.GreaterThan(100));
        Assert.That(records.Select(record => record.Result).Distinct(), Is.SubsetOf(new long[] { -(long)XenErrno.EPERM, -(long)XenErrno.EINVAL }));
        Assert.That(
            records.Select(record => record.Attack).Distinct(),
            Is.SupersetOf(new[] { FuzzAttack.MapByUpdateVa, FuzzAttack.MapByMmuUpdate, FuzzAttack.AttachForeignTable, FuzzAttack.PinForeign, FuzzAttack.RunOnForeign, FuzzAttack.ReplaceHypervisorSlot, FuzzAttack.MapInHypervisorSlot }));
        AssertUnharmed(machine, spin, paging, neighbour);
    }

    [Test]
    public void Page_tables_are_never_writable()
    {
        using TestMachine machine = TestMachine.Start(engine);
        Domain spin = machine.Run("spin"), paging = machine.Run("paging");
        Domain fuzz = Attack(machine, FuzzMode.WriteTable, 0);
        AssertFinished(fuzz);
        ILookup<FuzzAttack, long> results = TestMachine.ReportOf(fuzz).Fuzz!.Records.ToLookup(record => record.Attack, record => record.Result);
        Assert.That(results[FuzzAttack.MapTableWritable].ToArray(), Has.Length.EqualTo(8).And.All.Negative);
        Assert.That(results[FuzzAttack.StoreToTable].ToArray(), Has.Length.EqualTo(2).And.All.AnyOf(FuzzOutcome.Trapped + 14, FuzzOutcome.NoEffect));
        AssertUnharmed(machine, spin, paging);
    }

    [Test]
    public void A_page_table_that_is_executed_stays_what_it_is([Values] FastPathMode fastPaths)
    {
        using TestMachine machine = TestMachine.Start(engine, fastPaths: fastPaths);
        Domain spin = machine.Run("spin");
        Domain fuzz = Attack(machine, FuzzMode.ExecuteTable, 0);
        AssertFinished(fuzz);
        AttackRecord record = TestMachine.ReportOf(fuzz).Fuzz!.Records.Single();
        Assert.That((record.Attack, record.Result), Is.EqualTo((FuzzAttack.ExecuteTable, FuzzOutcome.Trapped + 14)));
        machine.Machine.Destroy(fuzz);
        AssertUnharmed(machine, spin);
    }

    [TestCase(0)]
    [TestCase(1)]
    [TestCase(3)]
    public void A_trap_into_handlers_that_are_no_code_ends_its_domain_alone(long variant)
    {
        using TestMachine machine = TestMachine.Start(engine);
        Domain spin = machine.Run("spin"), paging = machine.Run("paging");
        Domain fuzz = Attack(machine, FuzzMode.BadTrapTable, variant);
        AssertDiedOfItsStack(fuzz);
        AssertUnharmed(machine, spin, paging);
    }

    [Test]
    public void A_handler_at_an_address_that_is_none_is_refused()
    {
        using TestMachine machine = TestMachine.Start(engine);
        Domain fuzz = Attack(machine, FuzzMode.BadTrapTable, 2);
        AssertFinished(fuzz);
        Assert.That(TestMachine.ReportOf(fuzz).Fuzz!.Records, Is.EqualTo(new[] { new AttackRecord(FuzzAttack.SetBadTrapTable, 2, -(long)XenErrno.EINVAL) }));
    }

    [TestCase(0)]
    [TestCase(1)]
    [TestCase(2)]
    [TestCase(3)]
    public void A_trap_without_a_stack_ends_its_domain_alone(long variant)
    {
        using TestMachine machine = TestMachine.Start(engine);
        Domain spin = machine.Run("spin"), paging = machine.Run("paging");
        Domain fuzz = Attack(machine, FuzzMode.BadStack, variant);
        AssertDiedOfItsStack(fuzz);
        Assert.That(fuzz.CrashReport!.Registers, Contains.Key("rip"));
        AssertUnharmed(machine, spin, paging);
    }

    [Test]
    public void A_return_frame_it_may_not_have_gives_nothing([Range(0, 7)] int variant)
    {
        using TestMachine machine = TestMachine.Start(engine);
        Domain spin = machine.Run("spin"), paging = machine.Run("paging");
        Domain fuzz = Attack(machine, FuzzMode.BadIret, variant);
        AssertFinished(fuzz);
        Assert.That(TestMachine.ReportOf(fuzz).Fuzz!.Records.Single().Result, Is.InRange(FuzzOutcome.Trapped, FuzzOutcome.Trapped + 31));
        AssertUnharmed(machine, spin, paging);
    }

    [Test]
    public void The_hypervisors_range_cannot_be_written_and_a_jump_into_it_comes_back()
    {
        using TestMachine machine = TestMachine.Start(engine, fastPaths: FastPathMode.Off);
        Domain spin = machine.Run("spin"), paging = machine.Run("paging");
        Domain fuzz = Attack(machine, FuzzMode.JumpStub, 0);
        AssertFinished(fuzz);
        ILookup<FuzzAttack, AttackRecord> records = TestMachine.ReportOf(fuzz).Fuzz!.Records.ToLookup(record => record.Attack);
        Assert.That(records[FuzzAttack.WriteHypervisor].Select(record => record.Result), Is.All.EqualTo(FuzzOutcome.Trapped + 14));
        Assert.That(records[FuzzAttack.ReadHypervisor].Count(), Is.EqualTo(records[FuzzAttack.WriteHypervisor].Count()), "what could be read was tried for writing");
        TestContext.Out.WriteLine(string.Join("; ", records[FuzzAttack.ReadHypervisor].Select(record => $"readable 0x{record.Target:x}")));
        TestContext.Out.WriteLine(string.Join("; ", records[FuzzAttack.JumpHypervisor].GroupBy(record => record.Result).Select(group => $"jumps with result 0x{group.Key:x}: {group.Count()}")));
        AssertUnharmed(machine, spin, paging);
    }

    [Test]
    public void A_jump_into_the_middle_of_the_fast_paths_hurts_nobody_else()
    {
        using TestMachine machine = TestMachine.Start(engine);
        Domain spin = machine.Run("spin"), paging = machine.Run("paging");
        Domain fuzz = machine.Run("fuzz", new FuzzOptions { Mode = FuzzMode.JumpStub, Count = 0 });
        machine.WaitForEnd(fuzz);
        Assert.That(fuzz.ExitReason, Does.Not.Contain("VMM failed"), () => TestMachine.Describe(fuzz));
        machine.Machine.Destroy(fuzz);
        AssertUnharmed(machine, spin, paging);
    }

    [TestCase(FuzzMode.HltStorm)]
    [TestCase(FuzzMode.YieldStorm)]
    [TestCase(FuzzMode.EventStorm)]
    public void A_storm_takes_no_more_than_its_share(FuzzMode mode)
    {
        using TestMachine machine = TestMachine.Start(engine);
        Domain spin = machine.Run("spin"), paging = machine.Run("paging");
        Domain storm = machine.Run("fuzz", new FuzzOptions { Mode = mode, Count = 0 });
        machine.WaitForUnits(storm, 1000);
        Nanoseconds end = machine.Machine.Now + Nanoseconds.FromSeconds(2);
        Assert.That(machine.WaitFor(() => machine.Machine.Now > end, Hang.Limit), Is.True);
        Assert.That(WaitForShare(machine, storm, [spin, paging], share => share < 0.36), Is.LessThan(0.36), "one of three of equal weight");
        Assert.That(TestMachine.HasEnded(storm), Is.False, TestMachine.Describe(storm));
        AssertShares(machine, spin, paging);
        machine.Machine.Destroy(storm);
        AssertUnharmed(machine, spin, paging);
    }

    [Test]
    public void Shares_hold_while_domains_come_attack_and_die()
    {
        using TestMachine machine = TestMachine.Start(engine);
        Domain one = machine.Run("spin", weight: 100), three = machine.Run("spin", weight: 300);
        (FuzzMode Mode, long Variant)[] attacks = [(FuzzMode.BadTrapTable, 0), (FuzzMode.BadStack, 1), (FuzzMode.BadIret, 4), (FuzzMode.MapForeign, 0), (FuzzMode.WriteTable, 0)];
        for (int round = 0; round < 8; round++)
        {
            foreach ((FuzzMode mode, long variant) in attacks)
                machine.Machine.Destroy(Attack(machine, mode, variant));
        }

        // At least so long that the context-switch allowance does not count.
        Assert.That(machine.WaitFor(() => machine.CpuTimeOf(one) > Nanoseconds.FromSeconds(1), Hang.Limit), Is.True);
        Assert.That(WaitForShare(machine, one, [three], share => Math.Abs(share - 0.25) < 0.015), Is.EqualTo(0.25).Within(0.015));
    }

    private static Domain Attack(TestMachine machine, FuzzMode mode, long variant)
    {
        Domain fuzz = machine.Run("fuzz", new FuzzOptions { Mode = mode, Seed = variant, Count = 1 });
        machine.WaitForEnd(fuzz);
        return fuzz;
    }

    private static void AssertFinished(Domain fuzz) =>
        Assert.That((fuzz.ExitReason, TestMachine.ReportOf(fuzz).Progress, TestMachine.ReportOf(fuzz).Error), Is.EqualTo(("poweroff", GuestProgress.Finished, GuestError.None)), TestMachine.Describe(fuzz));

    private static void AssertDiedOfItsStack(Domain fuzz)
    {
        Assert.That((fuzz.State, TestMachine.ReportOf(fuzz).Progress), Is.EqualTo((DomainState.Crashed, GuestProgress.Running)), TestMachine.Describe(fuzz));
        Assert.That(fuzz.ExitReason, Does.Contain("kernel stack"));
    }

    private static void AssertUnharmed(TestMachine machine, params Domain[] victims)
    {
        foreach (Domain victim in victims)
            machine.WaitForUnits(victim, TestMachine.ReportOf(victim).Units + 3);
    }

    /// <summary>A domain's share of its own and others' time, as soon as it is as it should be: what a busy host takes from one of them is made up for.</summary>
    private static double WaitForShare(TestMachine machine, Domain domain, Domain[] others, Func<double, bool> isRight)
    {
        double share = 0;
        machine.WaitFor(() => isRight(share = Share()), TimeSpan.FromSeconds(60));
        return share;

        double Share()
        {
            double its = machine.CpuTimeOf(domain).TotalSeconds;
            return its / (its + others.Sum(other => machine.CpuTimeOf(other).TotalSeconds));
        }
    }

    /// <summary>Equal weights, both always runnable: equal times but for an allowance or two, as soon as what a busy host took from one of them has been made up for.</summary>
    private static void AssertShares(TestMachine machine, Domain left, Domain right)
    {
        machine.WaitFor(() => AreEqual(machine.CpuTimeOf(left).TotalSeconds, machine.CpuTimeOf(right).TotalSeconds), TimeSpan.FromSeconds(20));
        double first = machine.CpuTimeOf(left).TotalSeconds, second = machine.CpuTimeOf(right).TotalSeconds;
        Assert.That(AreEqual(first, second), Is.True, $"{first:0.000} s and {second:0.000} s");
    }

    private static bool AreEqual(double first, double second) => Math.Abs(first - second) < 0.05 + (0.02 * (first + second));

    /// <summary>False when the domain stopped itself (blocked for ever, or in a loop): by right, but then it is over.</summary>
    internal static bool WaitForEndOrStop(TestMachine machine, Domain fuzz)
    {
        (ulong units, Nanoseconds spent) = (0, Nanoseconds.Zero);
        while (!machine.WaitFor(() => TestMachine.HasEnded(fuzz), StuckLimit))
        {
            // It waits for what never comes, or it has made a loop of itself: its own affair, as long as its neighbours have their shares.
            ulong now = TestMachine.ReportOf(fuzz).Units;
            if (now == units && (!machine.IsRunnable(fuzz) || machine.CpuTimeOf(fuzz) - spent > LoopLimit))
                return false;
            if (now != units)
                (units, spent) = (now, machine.CpuTimeOf(fuzz));
        }

        return true;
    }

    private static long FirstSeed() =>
        long.TryParse(Environment.GetEnvironmentVariable("TESSERA_FUZZ_SEED"), out long seed) && seed >= 0 ? seed : Random.Shared.Next(1_000_000_000);
}
