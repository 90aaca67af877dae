using Tessera.Cli;
using Tessera.GuestLibrary;
using Tessera.Images;
using Tessera.Kernel.Domains;
using Tessera.Kernel.Machines;
using Tessera.Plugins.Cpu.Kvm;
using Tessera.Plugins.Cpu.Software;
using Tessera.Plugins.Memory.DirectPaging;
using Tessera.Plugins.Memory.StaticPartition;
using Tessera.Plugins.Schedulers.RoundRobin;
using Tessera.Sdk;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Memory;
using Tessera.Sdk.Scheduling;

namespace Tessera.Linux.Tests.Support;

/// <summary>A machine for Linux guests, with the built-in plugins and a console for each domain.</summary>
internal sealed class LinuxMachine : IDisposable
{
    private readonly ICpuEngine _engine;
    private readonly Dictionary<Domain, LinuxConsole> _consoles = [];
    private readonly Dictionary<Domain, ManualResetEventSlim> _ends = [];
    private Exception? _failure;

    /// <param name="engine">One of <see cref="Engines"/>.</param>
    /// <param name="pcpus">Physical CPUs, each on a host CPU of its own where there are as many.</param>
    /// <param name="scheduler">The policy; round-robin when null.</param>
    /// <param name="memoryPolicy">Static partition when null.</param>
    public LinuxMachine(string engine, int pcpus = 1, IScheduler? scheduler = null, IMemoryPolicy? memoryPolicy = null)
    {
        try
        {
            _engine = engine == Engines.Kvm ? new KvmEngine(new KvmOptions()) : new SoftwareEngine(new SoftwareOptions());
        }
        catch (EngineException exception)
        {
            Assert.Ignore(exception.Message);
            throw;
        }

        Machine = new Machine(new MachineConfiguration
        {
            HostCpus = [.. Enumerable.Range(0, pcpus).Select(index => (Environment.ProcessorCount - 1 + index) % Environment.ProcessorCount)],
            MemoryLimitBytes = 4L << 30,
            Engine = _engine,
            Mmu = new DirectPaging(),
            MemoryPolicy = memoryPolicy ?? new StaticPartition(),
            Scheduler = scheduler ?? new RoundRobinScheduler(new()),
            SchedulerName = scheduler is null ? "round-robin" : scheduler.GetType().Name,
            FallbackScheduler = () => new RoundRobinScheduler(new()),
        });
        Machine.DomainEnded = domain =>
        {
            lock (_consoles)
            {
                _consoles[domain].Ended();
                _ends[domain].Set();
            }
        };
        Machine.Failed = exception => _failure = exception;
    }

    public Machine Machine { get; }

    /// <summary>The engine found that a guest's hardware breakpoints strike here.</summary>
    public bool HasHardwareBreakpoints => _engine.Facts.Findings.Any(finding => finding.Probe == "hardware breakpoint in ring 3" && finding.Finding.Equals("strikes", StringComparison.Ordinal));

    /// <summary>The engine says that it does not run 32-bit code.</summary>
    public bool RefusesOldCode => _engine.Facts.Findings.Any(finding => finding.Probe == "32-bit code" && finding.Finding.Equals("faults", StringComparison.Ordinal));

    /// <summary>Builds a domain of a fetched guest, without starting it.</summary>
    public Domain Create(
        string name, GuestEntry guest, int mebibytes = 256, byte[]? initrd = null, string arguments = "", int weight = 256, int mostMebibytes = 0)
    {
        Domain domain = Machine.CreateDomain(new DomainConfiguration
        {
            Name = name,
            Image = KernelImage.Load(File.ReadAllBytes(guest.KernelPath), guest.KernelPath),
            Initrd = initrd ?? File.ReadAllBytes(guest.InitrdPath!),
            CommandLine = $"{guest.DefaultCommandLine} {arguments}",
            MemoryBytes = (long)mebibytes << 20,
            MaxMemoryBytes = (long)mostMebibytes << 20,
            Weight = weight,
        });
        return Watched(domain);
    }

    /// <summary>Takes a snapshot of a domain, which is paused for it unless it suspended itself.</summary>
    public byte[] Save(Domain domain)
    {
        if (domain.State == DomainState.Running)
            Machine.Pause(domain);
        using MemoryStream stream = new();
        Machine.Save(domain, stream);
        return stream.ToArray();
    }

    /// <summary>Makes a domain of a snapshot, of a domain of any machine, without starting it.</summary>
    public Domain Restore(Domain like, byte[] snapshot)
    {
        using MemoryStream stream = new(snapshot);
        return Watched(Machine.Restore(like.Configuration with { Name = $"{like.Name}+" }, stream));
    }

    private Domain Watched(Domain domain)
    {
        lock (_consoles)
        {
            _consoles[domain] = new LinuxConsole(domain);
            _ends[domain] = new ManualResetEventSlim();
        }

        return domain;
    }

    /// <summary>Builds and starts a domain and waits for its shell.</summary>
    public (Domain Domain, LinuxConsole Console) Boot(string name, GuestEntry guest, int mebibytes = 256, byte[]? initrd = null, string arguments = "", int weight = 256)
    {
        Domain domain = Create(name, guest, mebibytes, initrd, arguments, weight);
        Machine.Start(domain);
        WaitForShell(domain);
        return (domain, ConsoleOf(domain));
    }

    public LinuxConsole ConsoleOf(Domain domain)
    {
        lock (_consoles)
            return _consoles[domain];
    }

    /// <summary>Waits for the prompt of a started domain.</summary>
    public void WaitForShell(Domain domain)
    {
        LinuxConsole console = ConsoleOf(domain);
        _ = console.WaitFor(GuestInit.FirstLine);
        _ = console.WaitFor("# ");
    }

    /// <summary>Waits until a domain ended by itself or crashed.</summary>
    public void WaitForEnd(Domain domain)
    {
        if (!_ends[domain].Wait(Hang.Limit))
            throw new AssertionException($"{domain.Name} did not end. Its last output:\n{string.Join('\n', domain.Console.TailLines(30))}");
    }

    public void Dispose()
    {
        Machine.Dispose();
        _engine.Dispose();
        if (_failure is not null)
            throw new AssertionException($"The machine failed: {_failure}", _failure);
    }
}
