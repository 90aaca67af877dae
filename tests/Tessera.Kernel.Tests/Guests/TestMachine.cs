using System.Diagnostics;
using Tessera.Guests;
using Tessera.Images;
using Tessera.Plugins.Cpu.Kvm;
using Tessera.Plugins.Cpu.Software;
using Tessera.Plugins.Memory.DirectPaging;
using Tessera.Plugins.Memory.StaticPartition;
using Tessera.Plugins.Schedulers.Bvt;
using Tessera.Plugins.Schedulers.RoundRobin;
using Tessera.Sdk;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Memory;
using Tessera.Sdk.Scheduling;

namespace Tessera.Kernel.Tests;

/// <summary>A real machine of one physical CPU under BVT, with built-in guests, on the engine of the fixture; the test is ignored with the engine's own words where it cannot be made.</summary>
internal sealed class TestMachine : IDisposable
{
    private readonly ICpuEngine _engine;
    private readonly List<Exception> _failures = [];
    private readonly ManualResetEventSlim _news = new();
    private int _number;

    private TestMachine(ICpuEngine engine, IScheduler scheduler, Func<MachineConfiguration, MachineConfiguration> change)
    {
        _engine = engine;
        Machine = new Machine(change(new MachineConfiguration
        {
            HostCpus = [0],
            MemoryLimitBytes = 256L << 20,
            Engine = engine,
            Mmu = new DirectPaging(),
            MemoryPolicy = new StaticPartition(),
            Scheduler = scheduler,
            SchedulerName = scheduler.GetType().Name,
            FallbackScheduler = () => new RoundRobinScheduler(new RoundRobinOptions()),
        }));
        Machine.DomainEnded = _ => _news.Set();
        Machine.Failed = exception =>
        {
            lock (_failures)
                _failures.Add(exception);
            _news.Set();
        };
    }

    public Machine Machine { get; }

    /// <summary>Starts one under BVT.</summary>
    /// <param name="engine">One of <see cref="Engines"/>.</param>
    /// <param name="options">BVT's.</param>
    /// <param name="fastPaths">Whether there are fast paths where they pay.</param>
    public static TestMachine Start(string engine, BvtOptions? options = null, FastPathMode fastPaths = FastPathMode.Auto) =>
        Start(engine, new BvtScheduler(options ?? new BvtOptions()), fastPaths: fastPaths);

    /// <summary>Starts one under a scheduler of a test's own.</summary>
    public static TestMachine Start(string engine, IScheduler scheduler, Nanoseconds? starvationLimit = null, FastPathMode fastPaths = FastPathMode.Auto) =>
        Start(engine, scheduler, configuration => configuration with { FastPaths = fastPaths, StarvationLimit = starvationLimit ?? configuration.StarvationLimit });

    /// <summary>Starts one with another MMU.</summary>
    public static TestMachine Start(string engine, IMmuVirtualization mmu) =>
        Start(engine, new BvtScheduler(new BvtOptions()), configuration => configuration with { Mmu = mmu });

    /// <summary>Starts one in virtual time, which goes on when it is told to.</summary>
    public static TestMachine StartInVirtualTime(IScheduler scheduler, Nanoseconds? hangLimit = null, IMemoryPolicy? memoryPolicy = null) =>
        Start(Engines.Software, scheduler, configuration => configuration with
        {
            VirtualTime = new(),
            HangLimit = hangLimit,
            MemoryPolicy = memoryPolicy ?? configuration.MemoryPolicy,
        });

    private static TestMachine Start(string engine, IScheduler scheduler, Func<MachineConfiguration, MachineConfiguration> change)
    {
        try
        {
            return new TestMachine(engine == Engines.Kvm ? new KvmEngine(new KvmOptions()) : new SoftwareEngine(new SoftwareOptions()), scheduler, change);
        }
        catch (EngineException exception)
        {
            Assert.Ignore(exception.Message);
            throw;
        }
    }

    /// <summary>Builds and starts a domain of the least memory.</summary>
    public Domain Run(string guest, object? options = null, int weight = 256, string? name = null)
    {
        Domain domain = Machine.CreateDomain(new DomainConfiguration
        {
            Name = name ?? $"{guest}-{_number++}",
            Image = KernelImage.Load(BuiltinGuests.Build(guest, options), guest),
            MemoryBytes = BuiltinGuests.LeastMemoryBytes,
            Weight = weight,
        });
        Machine.Start(domain);
        return domain;
    }

    /// <summary>Holds a domain and takes a snapshot of it.</summary>
    public byte[] Save(Domain domain)
    {
        if (domain.State == DomainState.Running)
            Machine.Pause(domain);
        using MemoryStream stream = new();
        Machine.Save(domain, stream);
        return stream.ToArray();
    }

    /// <summary>Makes a domain of a snapshot of this or another machine, and lets it go on.</summary>
    public Domain Restore(Domain like, byte[] snapshot)
    {
        Domain domain = Restored(like, snapshot);
        Machine.Start(domain);
        return domain;
    }

    /// <summary>Makes a domain of a snapshot.</summary>
    public Domain Restored(Domain like, byte[] snapshot)
    {
        using MemoryStream stream = new(snapshot);
        Domain domain = Machine.Restore(like.Configuration with { Name = $"{like.Name.Split('-')[0]}-{_number++}" }, stream);
        Assert.That(stream.Position, Is.EqualTo(stream.Length), "the whole snapshot was read");
        return domain;
    }

    public static GuestReport ReportOf(Domain domain)
    {
        Assert.That(ReportPage.TryRead(domain.ReadReportPage(), out GuestReport? report), Is.True, "the domain has no report page");
        return report!;
    }

    /// <summary>CPU time that a domain got so far.</summary>
    public Nanoseconds CpuTimeOf(Domain domain) => Machine.Accounts.Snapshot().Domains.Single(account => account.Id == domain.Id).CpuTime;

    /// <summary>Whether it runs or waits for its turn: one that does neither for long has stopped itself.</summary>
    public bool IsRunnable(Domain domain) => Machine.Accounts.Snapshot().Domains.Single(account => account.Id == domain.Id).IsRunnable;

    public static bool HasEnded(Domain domain) => domain.State is DomainState.Shutdown or DomainState.Suspended or DomainState.Crashed;

    /// <summary>Waits until the condition holds; false when it does not in this time.</summary>
    public bool WaitFor(Func<bool> condition, TimeSpan limit)
    {
        Stopwatch watch = Stopwatch.StartNew();
        while (!condition())
        {
            ThrowIfFailed();
            if (watch.Elapsed > limit)
                return false;
            _ = _news.Wait(TimeSpan.FromMilliseconds(5));
            _news.Reset();
        }

        return true;
    }

    /// <summary>Waits until a domain ends by itself.</summary>
    public void WaitForEnd(Domain domain) =>
        Assert.That(WaitFor(() => HasEnded(domain), Hang.Limit), Is.True, () => $"{domain.Name} did not end; {Describe(domain)}");

    /// <summary>Runs until a domain has done so much; fails when it ends before or does not come so far.</summary>
    public void WaitForUnits(Domain domain, ulong units)
    {
        bool done = WaitFor(() => HasEnded(domain) || ReportPage.UnitsOf(domain.ReadReportPage()) >= units, Hang.Limit);
        Assert.That(done && ReportOf(domain).Units >= units, Is.True, () => $"{domain.Name} did not do {units} units; {Describe(domain)}");
    }

    public static string Describe(Domain domain)
    {
        GuestReport report = ReportOf(domain);
        string last = report.Fuzz is { } fuzz ? $"; last call {string.Join(' ', fuzz.LastCall.Select(word => word.ToString("x")))}; last attack {(fuzz.Records.Count == 0 ? default : fuzz.Records[^1])}" : "";
        string registers = domain.CrashReport is { } crash ? $"; rip {crash.Registers.GetValueOrDefault("rip"):x} rsp {crash.Registers.GetValueOrDefault("rsp"):x}" : "";
        return $"{domain.State} ({domain.ExitReason}), {report.Progress}, {report.Units} units, error {report.Error} 0x{report.ErrorDetail:x}, vector {(long)report.LastVector}{last}{registers}";
    }

    public void Dispose()
    {
        Machine.Dispose();
        _engine.Dispose();
        _news.Dispose();
        ThrowIfFailed();
    }

    private void ThrowIfFailed()
    {
        lock (_failures)
        {
            if (_failures.Count > 0)
                throw new AssertionException($"a physical CPU failed: {_failures[0]}");
        }
    }
}
