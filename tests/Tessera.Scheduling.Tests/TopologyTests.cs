using Tessera.Sdk;
using Tessera.Sdk.Scheduling;
using Tessera.Sdk.Simulation;

namespace Tessera.Scheduling.Tests;

/// <summary>What a policy learns of how physical CPUs lie to each other, and what it can do with it.</summary>
internal sealed class TopologyTests
{
    /// <summary>
    /// Two nodes, each a cache with two cores of two threads: p0 and p4 are threads of one core, as hosts often number them.
    /// </summary>
    private static readonly MachineTopology TwoSockets = new([.. Enumerable.Range(0, 8).Select(
        static pcpu => new PcpuPlace(Core: 100 + (pcpu % 4), Cache: pcpu % 4 / 2, Node: 7 + (pcpu % 4 / 2)))]);

    [Test]
    public void Physical_CPUs_are_grouped_by_what_they_share() => Assert.That($"{TwoSockets}", Is.EqualTo(
        "cores 0,4 | 1,5 | 2,6 | 3,7; caches 0,1,4,5 | 2,3,6,7; nodes 0,1,4,5 | 2,3,6,7"));

    [Test]
    public void Groups_are_numbered_by_their_lowest_physical_CPU()
    {
        MachineTopology topology = new(new PcpuPlace(9, 5, 1), new PcpuPlace(3, 4, 1), new PcpuPlace(9, 5, 1));
        PcpuId[] pcpus = [new(0), new(1), new(2)];
        Assert.That(pcpus.Select(topology.CoreOf), Is.EqualTo(new[] { 0, 1, 0 }));
        Assert.That(pcpus.Select(topology.CacheOf), Is.EqualTo(new[] { 0, 1, 0 }));
        Assert.That(pcpus.Select(topology.NodeOf), Is.EqualTo(new[] { 0, 0, 0 }));
        Assert.That(topology.PcpuCount, Is.EqualTo(3));
    }

    [Test]
    public void A_flat_machine_has_as_many_cores_as_physical_CPUs_and_one_cache() =>
        Assert.That($"{MachineTopology.Flat(3)}", Is.EqualTo("cores 0 | 1 | 2; caches 0,1,2; nodes 0,1,2"));

    [Test]
    public void A_topology_that_cannot_be_is_refused()
    {
        Assert.That(() => new MachineTopology(), Throws.ArgumentException);
        Assert.That(() => new MachineTopology(new PcpuPlace(0, 0, 0), new PcpuPlace(0, 1, 0)),
            Throws.ArgumentException.With.Message.Contains("Threads of core 0 lie apart"));
        Assert.That(() => new VirtualMachine(Policies.RoundRobin(), new VirtualMachineOptions { PcpuCount = 2, Topology = TwoSockets }),
            Throws.ArgumentException.With.Message.Contains("8 physical CPUs, and the machine 2"));
    }

    [Test]
    public void A_policy_sees_the_machines_topology_also_after_a_swap_and_a_flat_one_where_none_was_declared()
    {
        List<MachineTopology> seen = [];
        HandMachine machine = new(Looking(), pcpus: 8, options => options with { Topology = TwoSockets });
        _ = machine.Core.SwapPolicy(Looking(), "again", null, machine.Now);
        _ = new HandMachine(Looking(), pcpus: 2);
        Assert.That(seen[..2], Is.EqualTo(new[] { TwoSockets, TwoSockets }));
        Assert.That($"{seen[2]}", Is.EqualTo($"{MachineTopology.Flat(2)}"));

        BentScheduler Looking() => new(Policies.RoundRobin()) { OnAttach = machine => seen.Add(machine.Topology) };
    }

    [TestCase(true, "p0 p2 p4 p6", Description = "a core each")]
    [TestCase(false, "p0 p1 p2 p3", Description = "a flat machine has no threads to avoid")]
    public void A_policy_can_give_each_vCPU_a_core_of_its_own(bool isDeclared, string expected)
    {
        MachineTopology pairs = new([.. Enumerable.Range(0, 8).Select(static pcpu => new PcpuPlace(pcpu / 2, 0, 0))]);
        VirtualMachine machine = new(new CoreAtATime(), new VirtualMachineOptions { PcpuCount = 8, Topology = isDeclared ? pairs : null });
        SchedulableVcpu[] vcpus = [.. Enumerable.Range(1, 4).Select(domain => machine.Start(domain, new CpuBoundWorkload()))];
        machine.RunFor(Nanoseconds.FromMilliseconds(10));
        Assert.That(string.Join(' ', vcpus.Select(static vcpu => vcpu.Pcpu)), Is.EqualTo(expected));
        Assert.That(vcpus.Select(vcpu => machine.Core.AccountOf(vcpu, machine.Now).CpuTime), Is.All.EqualTo(machine.Now));
    }

    /// <summary>Each vCPU gets the first physical CPU whose core nobody has.</summary>
    private sealed class CoreAtATime : IScheduler
    {
        private ISchedulerMachine _machine = null!;
        private SchedulableVcpu?[] _owners = [];

        public void Attach(ISchedulerMachine machine) => (_machine, _owners) = (machine, new SchedulableVcpu?[machine.Topology.Cores.Count]);

        public void Add(SchedulableVcpu vcpu, Nanoseconds now)
        {
        }

        public void Remove(SchedulableVcpu vcpu, Nanoseconds now)
        {
        }

        public void Wake(SchedulableVcpu vcpu, Nanoseconds now)
        {
            int core = Array.IndexOf(_owners, null);
            _owners[core] = vcpu;
            _ = _machine.RequestIdle(_machine.Topology.Cores[core]);
        }

        public void Sleep(SchedulableVcpu vcpu, Nanoseconds now) => _owners[Array.IndexOf(_owners, vcpu)] = null;

        public Decision Schedule(in SchedulingPoint point)
        {
            SchedulableVcpu? owner = _owners[_machine.Topology.CoreOf(point.Pcpu)];
            return owner is null || (owner.State == RunState.Running && owner != point.Current)
                ? Decision.Idle
                : new Decision(owner, Nanoseconds.FromMilliseconds(1));
        }
    }
}
