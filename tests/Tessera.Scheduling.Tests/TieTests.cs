using Tessera.Plugins.Schedulers.Rtds;
using Tessera.Plugins.Schedulers.Sedf;
using Tessera.Sdk;
using Tessera.Sdk.Scheduling;
using Tessera.Sdk.Simulation;

namespace Tessera.Scheduling.Tests;

/// <summary>Equal vCPUs get equal shares, also when ties decide, and the running one is in them like any other.</summary>
public sealed class TieTests
{
    private static readonly string[] Sharing = ["bvt", "round-robin", "credit", "credit2", "eevdf", "rtds", "sedf", "stride"];

    [Test]
    public void Equal_vcpus_share_a_cpu_equally([ValueSource(nameof(Sharing))] string policy, [Range(2, 9)] int count) =>
        AssertEqual(policy, count, options: null);

    /// <summary>Budgets that add up to more than there is: everybody's periods end together, most of them unserved.</summary>
    [Test]
    public void In_an_overload_of_equal_periods_everybody_has_as_much([Values("rtds", "sedf")] string policy, [Range(3, 9)] int count, [Values] bool extraTime) =>
        AssertEqual(policy, count, policy == "rtds"
            ? new RtdsDomainOptions { Budget = Nanoseconds.FromMilliseconds(4), Period = Nanoseconds.FromMilliseconds(10), ExtraTime = extraTime }
            : new SedfDomainOptions { Slice = Nanoseconds.FromMilliseconds(4), Period = Nanoseconds.FromMilliseconds(10), ExtraTime = extraTime });

    [Test]
    public void Four_servers_by_default_take_turns_of_a_budget_across_the_ends_of_periods()
    {
        TimingTable table = new(Policies.Rtds());
        for (int domain = 1; domain <= 4; domain++)
            table.Wake(table.Add(domain), 0);
        (int At, int Domain, int Length)[] turns = [(0, 1, 4), (4, 2, 4), (8, 3, 2), (10, 3, 2), (12, 4, 4), (16, 1, 4), (20, 2, 4), (24, 3, 4), (28, 4, 2), (30, 4, 2), (32, 1, 4)];
        foreach ((int at, int domain, int length) in turns)
            table.Row(1_000 * at, domain, 1_000 * length);
    }

    private static void AssertEqual(string policy, int count, object? options)
    {
        VirtualMachine machine = new(Policies.Named(policy));
        SchedulableVcpu[] vcpus = [.. Enumerable.Range(1, count).Select(domain => machine.Start(domain, new CpuBoundWorkload(), options: options))];
        machine.RunUntil(Nanoseconds.FromSeconds(20));
        Assert.That(machine.Core.Ejections, Is.Empty);
        foreach (SchedulableVcpu vcpu in vcpus)
            Assert.That(machine.ShareOf(vcpu, vcpus), Is.EqualTo(1.0 / count).Within(0.01), $"{vcpu.Id}: {string.Join(" ", vcpus.Select(each => machine.ShareOf(each, vcpus).ToString("0.000", null)))}");
    }
}
