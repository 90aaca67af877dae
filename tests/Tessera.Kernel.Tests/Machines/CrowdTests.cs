using System.Diagnostics;
using System.Globalization;
using Tessera.Guests;
using Tessera.Images;
using Tessera.Plugins.Cpu.Kvm;
using Tessera.Plugins.Memory.DirectPaging;
using Tessera.Plugins.Memory.StaticPartition;
using Tessera.Plugins.Schedulers.RoundRobin;
using Tessera.Sdk;

namespace Tessera.Kernel.Tests;

/// <summary>What a domain costs beside its memory: time, memory and mappings of this process. `bench/guests/crowd.sh` makes a thousand.</summary>
internal sealed class CrowdTests
{
    /// <summary>How many domains to make.</summary>
    private const string Variable = "TESSERA_CROWD";
    private const int Few = 200;

    [Test]
    public void A_crowd_of_domains_takes_little_but_its_own_memory()
    {
        Engines.RequireKvm();
        int count = Environment.GetEnvironmentVariable(Variable) is { Length: > 0 } text ? int.Parse(text, CultureInfo.InvariantCulture) : Few;
        KernelImage image = KernelImage.Load(BuiltinGuests.Build("spin"), "spin");
        using KvmEngine engine = new(new KvmOptions());
        using Machine machine = new(new MachineConfiguration
        {
            HostCpus = [0],
            MemoryLimitBytes = 16L << 30,
            Engine = engine,
            Mmu = new DirectPaging(),
            MemoryPolicy = new StaticPartition(),
            Scheduler = new RoundRobinScheduler(new RoundRobinOptions()),
            SchedulerName = "round-robin",
            FallbackScheduler = () => new RoundRobinScheduler(new RoundRobinOptions()),
        });
        Domain Create(int number) => machine.CreateDomain(new DomainConfiguration
        {
            Name = $"spin-{number}",
            Image = image,
            MemoryBytes = BuiltinGuests.LeastMemoryBytes,
        });

        // With the first of all, code is compiled and the clock is measured.
        for (int number = -5; number < 0; number++)
            _ = Create(number);
        Cost before = Cost.Now(), last = before;
        List<Domain> domains = [];
        while (domains.Count < count)
        {
            domains.Add(Create(domains.Count));
            if (domains.Count % 100 != 0)
                continue;
            Cost now = Cost.Now();
            TestContext.Out.WriteLine(
                $"{domains.Count,5} domains: the last hundred took {(now.Wall - last.Wall).TotalMilliseconds / 100:0.00} ms each, " +
                $"{(now.Cpu - last.Cpu).TotalMilliseconds / 100:0.00} of CPU time");
            last = now;
        }

        Cost after = Cost.Now();
        double own = domains.Sum(domain => (double)domain.Memory.ResidentBytes) / count / 1024;
        double beside = ((double)(after.Resident - before.Resident) / count / 1024) - own;
        double mappings = (double)(after.Mappings - before.Mappings) / count;
        TestContext.Out.WriteLine(
            $"{count} domains in {(after.Wall - before.Wall).TotalSeconds:0.00} s, {(after.Cpu - before.Cpu).TotalSeconds:0.00} s of CPU time; " +
            $"each {own:0} KiB of its own memory, {beside:0} KiB of the process beside it, {mappings:0.0} mappings");
        Assert.That(beside, Is.LessThan(300), "KiB beside a domain's own memory");
        Assert.That(mappings, Is.LessThan(2), "mappings of a domain: its vCPU's run area, and what the process makes meanwhile");
    }

    private readonly record struct Cost(TimeSpan Wall, TimeSpan Cpu, long Resident, int Mappings)
    {
        public static Cost Now()
        {
            using Process self = Process.GetCurrentProcess();
            return new(Stopwatch.GetElapsedTime(0), self.TotalProcessorTime, self.WorkingSet64, File.ReadLines("/proc/self/maps").Count());
        }
    }
}
