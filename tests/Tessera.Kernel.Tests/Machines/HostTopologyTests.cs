using Tessera.Kernel.Native;
using Tessera.Plugins.Schedulers.RoundRobin;
using Tessera.Sdk.Scheduling;

namespace Tessera.Kernel.Tests;

/// <summary>What Linux says of its CPUs, as folders of files; what makes no sense is a flat machine.</summary>
internal sealed class HostTopologyTests
{
    private string _root = "";

    [SetUp]
    public void Make_folder() => _root = Directory.CreateTempSubdirectory("tessera-topology-").FullName;

    [TearDown]
    public void Remove_folder() => Directory.Delete(_root, recursive: true);

    [Test]
    public void Threads_caches_and_nodes_are_read_for_the_CPUs_used()
    {
        for (int cpu = 0; cpu < 8; cpu++)
            Write(cpu, threads: $"{cpu % 4},{(cpu % 4) + 4}", cache: cpu % 4 < 2 ? "0-1,4-5" : "2-3,6-7", node: cpu % 4 / 2);
        int[] all = [.. Enumerable.Range(0, 8)];
        Assert.That($"{HostTopology.Read(all, _root)}", Is.EqualTo(
            "cores 0,4 | 1,5 | 2,6 | 3,7; caches 0,1,4,5 | 2,3,6,7; nodes 0,1,4,5 | 2,3,6,7"));
        Assert.That($"{HostTopology.Read([6, 2, 1], _root)}", Is.EqualTo("cores 0,1 | 2; caches 0,1 | 2; nodes 0,1 | 2"), "by physical CPU");
        Assert.That($"{HostTopology.Read([3, 3], _root)}", Is.EqualTo("cores 0,1; caches 0,1; nodes 0,1"), "two on one host CPU");
    }

    [Test]
    public void The_last_level_counts_whatever_the_order_of_the_folders()
    {
        for (int cpu = 0; cpu < 2; cpu++)
        {
            Write(cpu, $"{cpu}", cache: "0-1", node: 0);
            Put(cpu, "cache/index9/level", "2");
            Put(cpu, "cache/index9/shared_cpu_list", $"{cpu}");
        }

        Assert.That($"{HostTopology.Read([0, 1], _root)}", Is.EqualTo("cores 0 | 1; caches 0,1; nodes 0,1"));
    }

    [Test]
    public void Without_caches_and_nodes_there_is_one_of_each()
    {
        Put(0, "topology/thread_siblings_list", "0-1");
        Put(1, "topology/thread_siblings_list", "0-1");
        Assert.That($"{HostTopology.Read([0, 1], _root)}", Is.EqualTo("cores 0,1; caches 0,1; nodes 0,1"));
    }

    [TestCase("topology/thread_siblings_list", "")]
    [TestCase("topology/thread_siblings_list", "zero")]
    [TestCase("topology/thread_siblings_list", "1-0")]
    [TestCase("topology/thread_siblings_list", "0-1-2")]
    [TestCase("topology/thread_siblings_list", "-1")]
    [TestCase("topology/thread_siblings_list", "1")]
    [TestCase("topology/thread_siblings_list", "0-99999999999999999999")]
    [TestCase("cache/index3/level", "high")]
    [TestCase("cache/index3/shared_cpu_list", "0,,1")]
    [TestCase("cache/index3/shared_cpu_list", "0", Description = "threads of one core with different caches")]
    public void What_makes_no_sense_is_a_flat_machine(string file, string text)
    {
        Write(0, "0-1", "0-1", node: 0);
        Write(1, "0-1", "0-1", node: 0);
        Assert.That($"{HostTopology.Read([0, 1], _root)}", Is.EqualTo("cores 0,1; caches 0,1; nodes 0,1"));
        Put(0, file, text);
        if (text == "0")
            Put(1, file, "1");
        Assert.That($"{HostTopology.Read([0, 1], _root)}", Is.EqualTo($"{MachineTopology.Flat(2)}"));
    }

    [Test]
    public void Missing_folders_and_folders_for_files_are_a_flat_machine()
    {
        Assert.That($"{HostTopology.Read([0, 1], Path.Combine(_root, "nowhere"))}", Is.EqualTo($"{MachineTopology.Flat(2)}"));
        _ = Directory.CreateDirectory(Path.Combine(_root, "cpu0/topology/thread_siblings_list"));
        Assert.That($"{HostTopology.Read([0], _root)}", Is.EqualTo($"{MachineTopology.Flat(1)}"));
    }

    [Test]
    public void A_machine_tells_its_scheduler_what_was_declared_and_else_what_the_host_says()
    {
        MachineTopology declared = new(new PcpuPlace(0, 0, 3));
        Assert.That(SeenBy(configuration => configuration with { Topology = declared }), Is.SameAs(declared));
        Assert.That($"{SeenBy(static configuration => configuration)}", Is.EqualTo($"{HostTopology.Read([0])}"));

        static MachineTopology SeenBy(Func<MachineConfiguration, MachineConfiguration> change)
        {
            LookingScheduler policy = new();
            using HandMachine machine = new(configure: configuration => change(configuration with { Scheduler = policy }));
            return policy.Seen!;
        }
    }

    private void Write(int cpu, string threads, string cache, int node)
    {
        Put(cpu, "topology/thread_siblings_list", threads);
        Put(cpu, "cache/index0/level", "1");
        Put(cpu, "cache/index0/shared_cpu_list", threads);
        Put(cpu, "cache/index3/level", "3");
        Put(cpu, "cache/index3/shared_cpu_list", cache);
        _ = Directory.CreateDirectory(Path.Combine(_root, $"cpu{cpu}/node{node}"));
    }

    private void Put(int cpu, string file, string text)
    {
        string path = Path.Combine(_root, $"cpu{cpu}", file);
        _ = Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        File.WriteAllText(path, text + "\n");
    }

    private sealed class LookingScheduler() : WrappedScheduler(new RoundRobinScheduler(new RoundRobinOptions()))
    {
        public MachineTopology? Seen { get; private set; }

        public override void Attach(ISchedulerMachine machine)
        {
            Seen = machine.Topology;
            base.Attach(machine);
        }

        protected override void Before(SchedulerCall call, SchedulableVcpu? vcpu)
        {
        }
    }
}
