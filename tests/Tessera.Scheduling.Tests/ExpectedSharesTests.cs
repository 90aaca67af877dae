using FsCheck;
using FsCheck.Fluent;
using Tessera.Sdk;
using Tessera.Sdk.Scheduling;
using Tessera.Sdk.Scheduling.Core;

namespace Tessera.Scheduling.Tests;

internal sealed class ExpectedSharesTests
{
    private const double Tolerance = 1e-9;

    private static Arbitrary<(ShareClaim[] Claims, int Pcpus)> Machines => Arb.From(
        from pcpus in Gen.Choose(1, 64)
        from count in Gen.Choose(0, 200)
        from claims in Gen.ArrayOf(
            from weight in Gen.Choose(1, 65_535)
            from demand in Gen.Frequency((1, Gen.Constant(0.0)), (3, Gen.Constant(1.0)), (2, Gen.Choose(0, 1000).Select(thousandth => thousandth / 1000.0)))
            select new ShareClaim(weight, demand), count)
        select (claims, pcpus));

    [Test]
    public void Busy_domains_on_one_pCPU_share_by_weight() =>
        Assert.That(Of(1, (256, 1), (512, 1), (1024, 1)), Is.EqualTo(new[] { 1 / 7.0, 2 / 7.0, 4 / 7.0 }).Within(Tolerance));

    [Test]
    public void One_vCPU_uses_at_most_one_pCPU_and_the_rest_goes_to_the_others() =>
        Assert.That(Of(2, (1000, 1), (1, 1), (1, 1)), Is.EqualTo(new[] { 0.5, 0.25, 0.25 }).Within(Tolerance));

    [Test]
    public void A_blocked_domain_is_left_out() =>
        Assert.That(Of(1, (256, 1), (256, 0), (256, 1)), Is.EqualTo(new[] { 0.5, 0, 0.5 }).Within(Tolerance));

    [Test]
    public void A_domain_that_wants_less_than_its_part_gets_what_it_wants() =>
        Assert.That(Of(1, (256, 0.1), (256, 1)), Is.EqualTo(new[] { 0.1, 0.9 }).Within(Tolerance));

    [Test]
    public void A_lone_domain_on_two_pCPUs_gets_half_the_machine() => Assert.That(Of(2, (1, 1)), Is.EqualTo(new[] { 0.5 }).Within(Tolerance));

    [Test]
    public void Shares_add_up_to_the_lesser_of_everything_and_the_demand() => Check(Prop.ForAll(Machines, machine =>
        Math.Abs(ExpectedShares.Of(machine.Claims, machine.Pcpus).Sum() - Math.Min(1, machine.Claims.Sum(claim => claim.Demand) / machine.Pcpus)) < 1e-6));

    [Test]
    public void Nobody_gets_more_than_it_can_use() => Check(Prop.ForAll(Machines, machine =>
        ExpectedShares.Of(machine.Claims, machine.Pcpus).Zip(machine.Claims).All(pair => pair.First >= 0 && pair.First <= (pair.Second.Demand / machine.Pcpus) + 1e-9)));

    [Test]
    public void Whoever_gets_less_than_it_wants_has_the_greatest_share_per_weight() => Check(Prop.ForAll(Machines, machine =>
    {
        double[] shares = ExpectedShares.Of(machine.Claims, machine.Pcpus);
        double most = shares.Zip(machine.Claims).Select(pair => pair.First / pair.Second.Owed.Weight).DefaultIfEmpty(0).Max();
        return shares.Zip(machine.Claims).All(pair =>
            pair.First >= (pair.Second.Demand / machine.Pcpus) - 1e-9 || pair.First / pair.Second.Owed.Weight >= most * (1 - 1e-6));
    }));

    [Test]
    public void Budgets_without_extra_time_are_shares() =>
        Assert.That(Owed(1, new(0, 0.3, 0.3, Second), new(0, 0.2, 0.2, Second), new(0, 0.1, 0.1, Second)), Is.EqualTo(new[] { 0.3, 0.2, 0.1 }).Within(Tolerance));

    [Test]
    public void What_is_not_reserved_is_dealt_out_by_weight() =>
        Assert.That(Owed(1, new(256, 0.4, 1, Second), Entitlement.ByWeight(256), Entitlement.ByWeight(256)), Is.EqualTo(new[] { 0.6, 0.2, 0.2 }).Within(Tolerance));

    [Test]
    public void A_cap_leaves_the_rest_to_the_others() =>
        Assert.That(Owed(1, new(512, 0, 0.1, Second), Entitlement.ByWeight(256)), Is.EqualTo(new[] { 0.1, 0.9 }).Within(Tolerance));

    [Test]
    public void Reservations_beyond_the_capacity_are_cut_alike() =>
        Assert.That(Owed(1, new(0, 0.9, 0.9, Second), new(0, 0.6, 0.6, Second), Entitlement.ByWeight(256)), Is.EqualTo(new[] { 0.6, 0.4, 0 }).Within(Tolerance));

    [Test]
    public void A_reservation_that_is_not_wanted_goes_to_the_others() =>
        Assert.That(ExpectedShares.Of([new(new Entitlement(0, 0.5, 0.5, Second), 0.1), new(256, 1)], 1), Is.EqualTo(new[] { 0.1, 0.9 }).Within(Tolerance));

    private static Nanoseconds Second => Nanoseconds.FromSeconds(1);

    private static double[] Owed(int pcpus, params Entitlement[] owed) => ExpectedShares.Of([.. owed.Select(static each => new ShareClaim(each, 1))], pcpus);

    private static void Check(Property property) => property.QuickCheckThrowOnFailure();

    private static double[] Of(int pcpus, params (int Weight, double Demand)[] claims) =>
        ExpectedShares.Of([.. claims.Select(claim => new ShareClaim(claim.Weight, claim.Demand))], pcpus);
}
