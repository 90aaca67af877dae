using Tessera.Plugins.Schedulers.Bvt;
using Tessera.Sdk;
using Tessera.Sdk.Scheduling;
using Tessera.Sdk.Simulation;

namespace Tessera.Scheduling.Tests;

/// <summary>Weight and options are the domain's: all its vCPUs have them, and a policy hears of a change for each.</summary>
public sealed class DomainTests
{
    [Test]
    public void A_domain_knows_its_vCPUs_that_are_scheduled_in_the_order_in_which_they_joined()
    {
        VirtualMachine machine = new(Policies.Bvt());
        SchedulableDomain domain = new(new DomainId(1));
        Assert.That(domain.Vcpus, Is.Empty);
        SchedulableVcpu second = machine.Start(domain, 1, new CpuBoundWorkload());
        SchedulableVcpu first = machine.Start(domain, 0, new CpuBoundWorkload());
        Assert.That(domain.Vcpus, Is.EqualTo(new[] { second, first }));
        Assert.That((first.Domain, first.Id, second.Id), Is.EqualTo((domain, new VcpuId(new DomainId(1), 0), new VcpuId(new DomainId(1), 1))));
        machine.Stop(second);
        Assert.That(domain.Vcpus, Is.EqualTo(new[] { first }));
    }

    [Test]
    public void A_change_of_a_domain_is_told_for_each_of_its_vCPUs_and_one_of_a_vCPU_for_it_alone()
    {
        BentScheduler policy = new(Policies.Bvt());
        VirtualMachine machine = new(policy, pcpus: 2);
        SchedulableDomain domain = new(new DomainId(1), weight: 256);
        SchedulableVcpu[] vcpus = [.. Enumerable.Range(0, 2).Select(index => machine.Start(domain, index, new CpuBoundWorkload()))];
        machine.Start(2, new CpuBoundWorkload());
        policy.Calls.Clear();
        BvtDomainOptions warp = new() { Warp = true };
        machine.Core.Adjust(domain, 512, warp, CpuSet.Of(1), machine.Now);
        Assert.That(policy.Calls, Is.EqualTo(new[] { "adjust d1v0", "adjust d1v1" }));
        Assert.That((domain.Weight, domain.Options), Is.EqualTo((512, warp)));
        Assert.That(vcpus.Select(vcpu => vcpu.Affinity.ToString()), Is.EqualTo(new[] { "1", "1" }));
        policy.Calls.Clear();
        machine.Core.Adjust(vcpus[1], CpuSet.Of(0), machine.Now);
        Assert.That(policy.Calls, Is.EqualTo(new[] { "adjust d1v1" }));
        Assert.That(vcpus.Select(vcpu => vcpu.Affinity.ToString()), Is.EqualTo(new[] { "1", "0" }));
    }

    [Test]
    public void An_affinity_that_one_of_its_vCPUs_cannot_have_changes_nothing()
    {
        VirtualMachine machine = new(Policies.Bvt());
        SchedulableVcpu vcpu = machine.Start(1, new CpuBoundWorkload());
        Assert.That(() => machine.Core.Adjust(vcpu.Domain, 512, null, CpuSet.Of(7), machine.Now), Throws.ArgumentException.With.Message.Contains("d1v0"));
        Assert.That((vcpu.Domain.Weight, vcpu.Affinity), Is.EqualTo((256, CpuSet.All)));
    }

    /// <summary>Whoever keeps the handle for its figures would keep the plugin that the options are of in memory.</summary>
    [Test]
    public void When_its_last_vCPU_has_left_a_domain_has_no_options_and_gets_none()
    {
        VirtualMachine machine = new(Policies.Bvt());
        SchedulableDomain domain = new(new DomainId(1), options: new BvtDomainOptions { Warp = true });
        SchedulableVcpu[] vcpus = [.. Enumerable.Range(0, 2).Select(index => machine.Start(domain, index, new CpuBoundWorkload()))];
        machine.Stop(vcpus[0]);
        Assert.That(domain.Options, Is.Not.Null);
        machine.Stop(vcpus[1]);
        Assert.That(domain.Options, Is.Null);
        machine.Core.Adjust(domain, 512, new BvtDomainOptions(), null, machine.Now);
        Assert.That(domain.Options, Is.Null);
    }

    [Test]
    public void Options_of_another_policy_are_refused_by_name() => Assert.That(
        () => new SchedulableDomain(new DomainId(3), options: "fast").OptionsOr(new BvtDomainOptions()),
        Throws.ArgumentException.With.Message.EqualTo("Domain d3 has options of type String; this policy needs BvtDomainOptions."));

    [Test]
    public void All_idle_pCPUs_of_a_set_are_asked_and_no_others()
    {
        ISchedulerMachine? seen = null;
        List<string> asked = [];
        BentScheduler policy = new(Policies.RoundRobin()) { OnAttach = machine => seen = machine };
        HandMachine machine = new(policy, pcpus: 4);
        machine.Start(1, affinity: CpuSet.Of(1));
        machine.Settle();
        policy.OnWake = _ => asked.Add($"{seen!.RequestIdle(CpuSet.Of(1))} {seen.RequestIdle(CpuSet.Of(0, 1, 3))}");
        policy.Calls.Clear();
        machine.Start(2, affinity: CpuSet.Of(1));
        machine.Settle();
        Assert.That(asked, Is.EqualTo(new[] { "False True" }));
        Assert.That(policy.Calls.Where(call => call.StartsWith('p')), Is.EquivalentTo(new[] { "p0: idle -> idle", "p3: idle -> idle" }));
    }

    [Test]
    public void A_policy_writes_six_members_and_is_adjusted_yielded_and_described_without_harm()
    {
        SmallestScheduler policy = new();
        HandMachine machine = new(policy, pcpus: 1);
        SchedulableVcpu vcpu = machine.Start(1);
        machine.Settle();
        machine.Core.Adjust(vcpu.Domain, 512, null, null, machine.Now);
        Assert.That(machine.Core.Yield(vcpu, machine.Now), Is.True);
        Assert.That(machine.Core.Describe(vcpu), Is.Empty);
        Assert.That(machine.Core.EntitlementOf(vcpu), Is.EqualTo(Entitlement.ByWeight(512)));
        Assert.That(machine.Ejected, Is.Empty);
        policy.Idles = true;
        machine.Advance(Nanoseconds.FromSeconds(60));
        Assert.That(machine.Ejected.Single().Evidence, Does.EndWith("while p0 idled"), "it has no view of its own to tell");
    }

    /// <summary>One vCPU, and what a policy must write.</summary>
    private sealed class SmallestScheduler : IScheduler
    {
        private SchedulableVcpu? _only;

        public bool Idles { get; set; }

        public void Attach(ISchedulerMachine machine)
        {
        }

        public void Add(SchedulableVcpu vcpu, Nanoseconds now)
        {
        }

        public void Remove(SchedulableVcpu vcpu, Nanoseconds now) => _only = null;

        public void Wake(SchedulableVcpu vcpu, Nanoseconds now) => _only = vcpu;

        public void Sleep(SchedulableVcpu vcpu, Nanoseconds now) => _only = null;

        public Decision Schedule(in SchedulingPoint point) => Idles ? Decision.Idle : new(_only, Nanoseconds.FromMilliseconds(10));
    }
}
