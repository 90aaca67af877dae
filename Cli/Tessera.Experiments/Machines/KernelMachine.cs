using System.Globalization;
using Tessera.Experiments.Hosts;
using Tessera.Experiments.Planning;
using Tessera.Experiments.Runs;
using Tessera.Guests;
using Tessera.Hosting;
using Tessera.Kernel.Domains;
using Tessera.Kernel.Machines;
using Tessera.Kernel.Time;
using Tessera.Lab.Results;
using Tessera.Sdk;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Devices;
using Tessera.Sdk.Memory;
using Tessera.Sdk.Plugins;
using Tessera.Sdk.Scheduling;

namespace Tessera.Experiments.Machines;

/// <summary>Makes the kernel's machines from plugins.</summary>
public sealed class KernelMachineFactory(IServiceProvider services, IExperimentHost host, EngineChoice engines, TimeProvider time) : IMachineFactory, IDisposable
{
    private Task<ICpuEngine>? _begun;

    /// <inheritdoc/>
    public void Begin(PluginSet plugins) => _begun = Task.Run(() => plugins.Engine.Create<ICpuEngine>(services));

    /// <summary>Lets go of an engine that was begun and never used.</summary>
    public void Dispose()
    {
        try
        {
            Interlocked.Exchange(ref _begun, null)?.GetAwaiter().GetResult().Dispose();
        }
        catch (Exception exception) when (exception is EngineException or PluginException)
        {
            // The host cannot, but nobody asked for a machine in the end: something else was wrong and has been said.
        }
    }

    /// <inheritdoc/>
    public IRunMachine Create(PreparedExperiment prepared)
    {
        VirtualTimeLimits.Check(prepared);
        if (prepared.Experiment.Machine.VirtualTime is not null)
            return CreateInVirtualTime(prepared);
        (Machine machine, ICpuEngine engine) = Assemble(prepared);
        return new KernelMachine(engine, prepared.Experiment.Machine.HostCpus, machine, host.Duties);
    }

    private VirtualKernelMachine CreateInVirtualTime(PreparedExperiment prepared)
    {
        VirtualTimeOptions options = VirtualKernelMachine.TimeOf(prepared, time, out IReadOnlyList<OutsideEvent>? replay);
        RunRecording? recording = prepared.Recording?.Record is { } file ? RunRecording.Create(file, prepared.Resolved, options) : null;
        try
        {
            (Machine machine, ICpuEngine engine) = Assemble(prepared, options);
            VirtualKernelMachine made = new(engine, prepared.Experiment.Machine.HostCpus, machine, host, recording);
            if (replay is not null)
                machine.Outside!.Replay(replay);
            else if (VirtualKernelMachine.ReachesOutside(prepared))
                made.InputMayCome = static () => true;
            return made;
        }
        catch
        {
            recording?.Dispose();
            throw;
        }
    }

    /// <summary>The kernel's machine itself; the caller disposes it, and then the engine.</summary>
    public (Machine Machine, ICpuEngine Engine) Assemble(PreparedExperiment prepared, VirtualTimeOptions? virtualTime = null)
    {
        PluginSet plugins = prepared.Plugins;
        engines.Say(prepared.Experiment);
        ICpuEngine engine = Interlocked.Exchange(ref _begun, null)?.GetAwaiter().GetResult() ?? plugins.Engine.Create<ICpuEngine>(services);
        try
        {
            return (new Machine(new MachineConfiguration
            {
                HostCpus = prepared.Experiment.Machine.HostCpus,
                // What the host has at the moment would be one more thing that no run repeats.
                MemoryLimitBytes = virtualTime is not null && prepared.Experiment.Machine.MemoryLimit is null
                    ? 2 * prepared.Plan.Domains.Sum(domain => domain.MemoryBytes)
                    : prepared.Experiment.Machine.MostMemory.Bytes,
                VirtualTime = virtualTime,
                Engine = engine,
                Mmu = plugins.Mmu.Create<IMmuVirtualization>(services),
                MemoryPolicy = plugins.MemoryPolicy.Create<IMemoryPolicy>(services),
                Scheduler = plugins.Scheduler.Create<IScheduler>(services),
                SchedulerName = plugins.Scheduler.Title,
                FallbackScheduler = () => plugins.Fallback.Create<IScheduler>(services),
                FastPaths = prepared.Experiment.Machine.FastPaths,
                BeforeGuests = host.BeforeGuests,
                Duties = host.Duties,
            }), engine);
        }
        catch
        {
            engine.Dispose();
            throw;
        }
    }

    /// <summary>A planned domain as the kernel wants it.</summary>
    public static DomainConfiguration ConfigurationOf(DomainPlan plan) => new()
    {
        Name = plan.Name,
        Image = plan.Image,
        Initrd = plan.Initrd,
        CommandLine = plan.CommandLine,
        MemoryBytes = plan.MemoryBytes,
        MaxMemoryBytes = plan.MaxMemoryBytes,
        Weight = plan.Weight,
        SchedulerOptions = plan.SchedulerOptions,
        Affinity = plan.Affinity,
    };
}

/// <summary>The kernel's machine as a run sees it. Owns the engine.</summary>
internal class KernelMachine : IRunMachine
{
    private readonly Machine _machine;
    private readonly ICpuEngine _engine;
    private readonly DeviceMaker _devices;
    private readonly List<Domain> _domains = [];
    private volatile string? _failure;

    /// <summary>Takes over a machine and its engine.</summary>
    public KernelMachine(ICpuEngine engine, IReadOnlyList<int> hostCpus, Machine machine, IThreadDuties? duties)
    {
        (_engine, HostCpus, _machine) = (engine, hostCpus, machine);
        _devices = new DeviceMaker(machine, duties);
        machine.Failed = exception => _failure = exception is ReplayException ? exception.Message : exception.ToString();
    }

    /// <inheritdoc/>
    public IReadOnlyList<int> HostCpus { get; }

    /// <inheritdoc/>
    public EngineFacts Engine => _engine.Facts;

    /// <inheritdoc/>
    public string? Failure => _failure;

    /// <inheritdoc/>
    public Nanoseconds Now => _machine.Now;

    /// <inheritdoc/>
    public string SchedulerName => _machine.SchedulerName;

    /// <inheritdoc/>
    public string? SwapScheduler(IScheduler scheduler, string name, IReadOnlyDictionary<int, object?> domainOptions) =>
        _machine.SwapScheduler(scheduler, name, domain => domainOptions.GetValueOrDefault(domain.Id.Value))?.ToString();

    /// <inheritdoc/>
    public IRunDomain Create(DomainPlan plan, Action<ReadOnlyMemory<byte>> output)
    {
        Domain domain = _machine.CreateDomain(KernelMachineFactory.ConfigurationOf(plan));
        domain.Console.Output = output;
        _machine.Outside?.Declare(KernelDomain.SourceOf(domain), input => _ = domain.Console.Write(input));
        lock (_domains)
            _domains.Add(domain);
        foreach (DiskPlan disk in plan.Disks)
            Attach($"disk {disk.Name}", () => _machine.AttachDisk(domain, _devices.Make(disk, plan.Name)));
        foreach (NicPlan nic in plan.Nics)
            Attach($"interface {nic.Number}", () => _machine.AttachNic(domain, _devices.Make(nic, plan.Name)));
        return new KernelDomain(_machine, domain, _devices);

        // A backend knows its file or address, not whose it is.
        void Attach(string what, Action attach)
        {
            try
            {
                attach();
            }
            catch (BackendException exception)
            {
                throw new BackendException($"domain {plan.Name}, {what}: {exception.Message}", "");
            }
        }
    }

    /// <inheritdoc/>
    public MachineReading Read()
    {
        Domain[] domains;
        lock (_domains)
            domains = [.. _domains];
        MachineSnapshot snapshot = _machine.Accounts.Snapshot(domains);
        return new MachineReading
        {
            At = snapshot.Now,
            Domains = [.. snapshot.Domains.Select((domain, index) => Reading(domain, domains[index]))],
            Pcpus = [.. snapshot.Pcpus.Select(pcpu => new PcpuReading(pcpu.Busy, pcpu.Idle, pcpu.Switches))],
            Decisions = [.. snapshot.Decisions.Select(DecisionReading.Of)],
            SchedulerEjected = snapshot.Ejections.Count == 0 ? null : string.Join("; ", snapshot.Ejections),
            MemoryPolicyFailure = _machine.MemoryPolicyFailure,
        };
    }

    /// <inheritdoc/>
    public void BeginWindow() => _machine.Accounts.BeginWindow();

    /// <inheritdoc/>
    public void StartRecording(int capacity) => _machine.Accounts.StartRecording(capacity);

    /// <inheritdoc/>
    public Sdk.Scheduling.Core.ScheduleLog? StopRecording() => _machine.Accounts.StopRecording();

    /// <inheritdoc/>
    public virtual void Dispose()
    {
        _machine.Dispose();
        _devices.Dispose();
        _engine.Dispose();
    }

    private static DomainReading Reading(DomainSnapshot snapshot, Domain domain) => new()
    {
        Phase = KernelDomain.PhaseOf(snapshot.State, snapshot.IsRunnable),
        Running = snapshot.CpuTime,
        Wakes = snapshot.Wakes,
        WakeLatency = LatencySummary.Of(snapshot.WakeLatency),
        Traps = snapshot.Traps,
        Hypercalls = snapshot.Hypercalls,
        AssignedBytes = snapshot.AssignedBytes,
        ResidentBytes = snapshot.ResidentBytes,
        Disks = domain.Disks.ToDictionary(disk => disk.Name, disk => disk.Read()),
        Nics = domain.Nics.ToDictionary(nic => nic.Number, nic => (nic.Address, nic.Read())),
        UnknownCode = domain.UnknownCode,
        Report = ReportPage.TryRead(domain.ReadReportPage(), out GuestReport? report) ? report : null,
    };
}

/// <summary>The kernel's domain as a run sees it.</summary>
internal sealed class KernelDomain(Machine machine, Domain domain, DeviceMaker devices) : IRunDomain, IHasDisks, IHasNics
{
    /// <inheritdoc/>
    public void AttachDisk(DiskPlan disk) => _ = machine.AttachDisk(domain, devices.Make(disk, domain.Name));

    /// <inheritdoc/>
    public long? GrowDisk(string name) => domain.Disks.FirstOrDefault(disk => disk.Name == name && disk.IsAttached)?.Grow();

    /// <inheritdoc/>
    public bool? DetachDisk(string name, TimeSpan patience) =>
        domain.Disks.FirstOrDefault(disk => disk.Name == name && disk.IsAttached) is { } found ? WaitFor(found.DetachAsync(patience), patience) : null;

    /// <summary>Where its console's input comes from.</summary>
    internal static string SourceOf(Domain domain) => $"console {domain.Name}";

    /// <inheritdoc/>
    public int AttachNic(Func<int, NicPlan> plan)
    {
        int number = 0;
        while (domain.Nics.Any(nic => nic.Number == number && nic.IsAttached))
            number++;
        _ = machine.AttachNic(domain, devices.Make(plan(number), domain.Name));
        return number;
    }

    /// <inheritdoc/>
    public bool? DetachNic(int number, TimeSpan patience) =>
        domain.Nics.FirstOrDefault(nic => nic.Number == number && nic.IsAttached) is { } found ? WaitFor(found.DetachAsync(patience), patience) : null;

    /// <inheritdoc/>
    public int Id => domain.Id.Value;

    /// <inheritdoc/>
    public DomainPhase Phase => PhaseOf(domain.State, isRunnable: true);

    /// <inheritdoc/>
    public DomainActivity Activity => machine.Accounts.ActivityOf(domain);

    /// <inheritdoc/>
    public Entitlement Owed => machine.Accounts.EntitlementOf(domain);

    /// <inheritdoc/>
    public (long Traps, long Hypercalls) Calls => MachineAccounts.CallsOf(domain);

    /// <inheritdoc/>
    public string? ExitReason => domain.ExitReason.Length == 0 ? null : domain.ExitReason;

    /// <inheritdoc/>
    public IReadOnlyDictionary<string, string>? CrashRegisters => domain.CrashReport is { Registers.Count: > 0 } report
        ? report.Registers.ToDictionary(register => register.Key, register => register.Value.ToString("x", CultureInfo.InvariantCulture))
        : null;

    /// <inheritdoc/>
    public void Start() => machine.Start(domain);

    /// <inheritdoc/>
    public void Destroy() => machine.Destroy(domain);

    /// <inheritdoc/>
    public void Pause() => machine.Pause(domain);

    /// <inheritdoc/>
    public void Resume() => machine.Resume(domain);

    /// <inheritdoc/>
    public void Adjust(int? weight, object? schedulerOptions, CpuSet? affinity) => machine.Adjust(domain, weight, schedulerOptions, affinity);

    /// <inheritdoc/>
    public int WriteConsole(ReadOnlySpan<byte> input) =>
        machine.Outside is { } outside ? outside.Post(SourceOf(domain), input) + domain.Console.Queued : domain.Console.Write(input);

    /// <summary>Waits for what a guest is to do; in virtual time it does it while somebody drives the machine, who is the caller.</summary>
    private bool WaitFor(Task<bool> done, TimeSpan patience)
    {
        Nanoseconds step = Nanoseconds.FromMilliseconds(1);
        for (Nanoseconds left = new(patience.Ticks * 100); machine.Outside is not null && !done.IsCompleted && left > Nanoseconds.Zero; left -= step)
            machine.RunUntil(machine.Now + step);
        return done.GetAwaiter().GetResult();
    }

    /// <summary>The kernel's state in the words of results.</summary>
    internal static DomainPhase PhaseOf(DomainState state, bool isRunnable) => state switch
    {
        DomainState.Created => DomainPhase.Created,
        DomainState.Running => isRunnable ? DomainPhase.Running : DomainPhase.Blocked,
        DomainState.Paused => DomainPhase.Paused,
        // One that suspended itself has come to its end here: nobody restores it. Its reason says what it did.
        DomainState.Shutdown or DomainState.Suspended => DomainPhase.Shutdown,
        DomainState.Crashed => DomainPhase.Crashed,
        _ => DomainPhase.Destroyed,
    };
}
