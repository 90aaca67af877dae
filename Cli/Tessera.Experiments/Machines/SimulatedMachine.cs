using System.Text;
using Tessera.Experiments.Hosts;
using Tessera.Experiments.Planning;
using Tessera.Experiments.Runs;
using Tessera.Guests;
using Tessera.Kernel.Domains;
using Tessera.Kernel.Machines;
using Tessera.Lab.Results;
using Tessera.Sdk;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Scheduling;
using Tessera.Sdk.Simulation;

namespace Tessera.Experiments.Machines;

/// <summary>How to simulate.</summary>
public sealed record SimulationSettings
{
    /// <summary>The seed of random workloads.</summary>
    public ulong Seed { get; init; } = 1;

    /// <summary>What a context switch costs.</summary>
    public Nanoseconds ContextSwitchCost { get; init; }

    /// <summary>What a wake costs.</summary>
    public Nanoseconds WakeCost { get; init; }

    /// <summary>CPU time of a beat guest's own work for one wake.</summary>
    public Nanoseconds BeatWork { get; init; } = Nanoseconds.FromMicroseconds(20);

    /// <summary>Domains begin to work at random instants of this length after their starts; zero for all at once.</summary>
    public Nanoseconds Stagger { get; init; }

    /// <summary>Models of domains that are not those of their guests.</summary>
    public IReadOnlyList<WorkloadModel> Models { get; init; } = [];
}

/// <summary>Makes machines in virtual time; the scheduler is the same plugin that the real machine would load.</summary>
public sealed class SimulatedMachineFactory(IExperimentHost host, IServiceProvider services)
{
    /// <summary>The machine of an experiment.</summary>
    /// <exception cref="UsageException">A domain has no model, or there are too many.</exception>
    public IRunMachine Create(PreparedExperiment prepared, SimulationSettings settings)
    {
        IReadOnlyList<DomainPlan> domains = prepared.Plan.Domains;
        if (domains.Count > VirtualMachineOptions.MaxVcpus)
            throw new UsageException($"There are {domains.Count} domains; the simulator takes at most {VirtualMachineOptions.MaxVcpus}.");
        if (prepared.Experiment.Machine.HostCpus.Count > VirtualMachineOptions.MaxPcpus)
            throw new UsageException($"The machine has {prepared.Experiment.Machine.HostCpus.Count} pCPUs; the simulator takes at most {VirtualMachineOptions.MaxPcpus}.");
        Dictionary<string, WorkloadModel> models = [];
        foreach (WorkloadModel model in settings.Models)
        {
            string[] named = [.. prepared.Experiment.Domains.Where(item => item.Name == model.Domain).SelectMany(item => item.Names), .. domains.Where(domain => domain.Name == model.Domain).Select(domain => domain.Name)];
            if (named.Length == 0)
                throw new UsageException($"--model {model.Domain}: there is no domain of this name.");
            foreach (string name in named)
                models[name] = model;
        }

        if (domains.FirstOrDefault(domain => !models.ContainsKey(domain.Name) && !WorkloadModel.Has(domain.Builtin)) is { } strange)
            throw new UsageException($"The simulator has no model of {strange.Guest} ({strange.Name}); it has of spin, beat, burst and hello. Give it one: --model \"{strange.Name}=cpu\"; docs/simulator.md lists them.");
        PluginSet plugins = prepared.Plugins;
        VirtualMachine machine = new(
            plugins.Scheduler.Create<IScheduler>(services),
            new VirtualMachineOptions
            {
                PcpuCount = prepared.Experiment.Machine.HostCpus.Count,
                ContextSwitchCost = settings.ContextSwitchCost,
                WakeCost = settings.WakeCost,
                PolicyName = plugins.Scheduler.Title,
            },
            () => plugins.Fallback.Create<IScheduler>(services));
        return new SimulatedMachine(machine, prepared.Experiment.Machine.HostCpus, settings, models, host);
    }
}

/// <summary>A machine in virtual time as a run sees it: its own clock too.</summary>
public sealed class SimulatedMachine(
    VirtualMachine machine, IReadOnlyList<int> hostCpus, SimulationSettings settings, Dictionary<string, WorkloadModel> models, IExperimentHost host) : IRunMachine, IRunPacer
{
    /// <summary>Random streams from here on are those of starts; below are workloads'.</summary>
    private const ulong StaggerStreams = 1UL << 32;

    private readonly List<SimulatedDomain> _domains = [];

    /// <inheritdoc/>
    public IReadOnlyList<int> HostCpus => hostCpus;

    /// <inheritdoc/>
    public EngineFacts Engine { get; } = new()
    {
        Name = EngineReport.Simulated,
        Strategy = $"Virtual time and modelled guests; seed {settings.Seed}, context switch {settings.ContextSwitchCost}, wake {settings.WakeCost}, {(settings.Stagger > Nanoseconds.Zero ? $"starts within {settings.Stagger}" : "starts together")}.",
        ReservedFrames = 0,
        HypercallInstruction = [],
        FreeSlots = [],
        HardwareCpuidLeaks = false,
        Findings = [],
    };

    /// <inheritdoc/>
    public string? Failure { get; private set; }

    /// <inheritdoc/>
    public Nanoseconds Now => machine.Now;

    /// <inheritdoc/>
    public bool WaitUntil(Nanoseconds instant)
    {
        try
        {
            machine.RunUntil(Nanoseconds.Max(instant, machine.Now));
        }
        catch (Sdk.Scheduling.Core.SchedulerFailedException e)
        {
            Failure = e.Message;
        }

        return host.IsStopRequested;
    }

    /// <inheritdoc/>
    public IRunDomain Create(DomainPlan plan, Action<ReadOnlyMemory<byte>> output)
    {
        int id = _domains.Count + 1;
        Workload workload = models.TryGetValue(plan.Name, out WorkloadModel? model)
            ? model.Create(SimulationRandom.Stream(settings.Seed, (ulong)id))
            : WorkloadModel.OfGuest(plan.Builtin, plan.GuestOptions, settings.BeatWork)!;
        SimulatedDomain domain = new(machine, plan, workload, isModel: model is not null, id, output) { After = DelayOf(id) };
        _domains.Add(domain);
        return domain;
    }

    /// <summary>Drawn from a stream of its own: staggered or not, a domain's workload has the same numbers.</summary>
    private Nanoseconds DelayOf(int id) =>
        settings.Stagger > Nanoseconds.Zero ? new(SimulationRandom.Stream(settings.Seed, StaggerStreams + (ulong)id).Below(settings.Stagger.Value)) : Nanoseconds.Zero;

    /// <inheritdoc/>
    public string SchedulerName => machine.Core.PolicyName;

    /// <inheritdoc/>
    public string? SwapScheduler(IScheduler scheduler, string name, IReadOnlyDictionary<int, object?> domainOptions)
    {
        Sdk.Scheduling.Core.Ejection? ejection = machine.Core.SwapPolicy(scheduler, name, domain => domainOptions.GetValueOrDefault(domain.Id.Value), machine.Now);
        foreach (SimulatedDomain domain in _domains)
            domain.ForgetScheduler();
        return ejection?.ToString();
    }

    /// <inheritdoc/>
    public MachineReading Read() => new()
    {
        At = machine.Now,
        Domains = [.. _domains.Select(domain => domain.Read())],
        Pcpus = [.. Enumerable.Range(0, hostCpus.Count).Select(index =>
        {
            Sdk.Scheduling.Core.PcpuAccount account = machine.Core.AccountOf(new PcpuId(index), machine.Now);
            return new PcpuReading(account.Busy, account.Idle, account.Switches);
        })],
        Decisions = [.. machine.Core.DecisionsByPolicy.Select(DecisionReading.Of)],
        SchedulerEjected = machine.Core.Ejections is { Count: > 0 } ejections ? string.Join("; ", ejections) : null,
    };

    /// <inheritdoc/>
    public void BeginWindow() => machine.Core.BeginWindow();

    /// <inheritdoc/>
    public void StartRecording(int capacity) => machine.Core.StartRecording(capacity, machine.Now);

    /// <inheritdoc/>
    public Sdk.Scheduling.Core.ScheduleLog? StopRecording() => machine.Core.StopRecording(machine.Now);

    /// <inheritdoc/>
    public void Dispose()
    {
    }
}

/// <summary>A domain in virtual time as a run sees it: one vCPU and a workload.</summary>
public sealed class SimulatedDomain(
    VirtualMachine machine, DomainPlan plan, Workload workload, bool isModel, int id, Action<ReadOnlyMemory<byte>> output) : IRunDomain
{
    /// <summary>What a unit of `spin` and `burst` takes here; on real CPUs it is 4 to 6 µs.</summary>
    private static readonly Nanoseconds Unit = Nanoseconds.FromMicroseconds(5);

    private SchedulableVcpu? _vcpu;
    private bool _isPaused;
    private bool _isDestroyed;

    /// <summary>How long after its start its workload begins.</summary>
    public Nanoseconds After { get; init; }

    /// <inheritdoc/>
    public int Id => id;

    /// <inheritdoc/>
    public string? ExitReason => Phase == DomainPhase.Shutdown ? "poweroff" : null;

    /// <inheritdoc/>
    public IReadOnlyDictionary<string, string>? CrashRegisters => null;

    /// <inheritdoc/>
    public DomainPhase Phase => _vcpu switch
    {
        null => _isDestroyed ? DomainPhase.Destroyed : DomainPhase.Created,
        { State: RunState.Offline } => DomainPhase.Destroyed,
        _ when _isPaused => DomainPhase.Paused,
        _ when !isModel && plan.Builtin == GuestKind.Hello && workload.Completed > 0 => DomainPhase.Shutdown,
        _ => DomainPhase.Running,
    };

    /// <inheritdoc/>
    public (long Traps, long Hypercalls) Calls => (0, 0);

    /// <inheritdoc/>
    public DomainActivity Activity
    {
        get
        {
            Sdk.Scheduling.Core.VcpuAccount? account = Account();
            return new DomainActivity(machine.Now, account?.CpuTime ?? Nanoseconds.Zero, account?.WaitTime ?? Nanoseconds.Zero);
        }
    }

    /// <inheritdoc/>
    public Entitlement Owed => _vcpu is null ? Entitlement.ByWeight(plan.Weight) : machine.Core.EntitlementOf(_vcpu);

    /// <inheritdoc/>
    public void Start()
    {
        _vcpu = machine.Start(new SchedulableDomain(new DomainId((ushort)id), plan.Weight, plan.SchedulerOptions), 0, workload, plan.Affinity, After);
        if (plan.GuestOptions is HelloOptions hello && !isModel)
            output(Encoding.ASCII.GetBytes(hello.Message + "\n"));

        // A kernel that is only modelled boots in no time: the first line that is not its own says that it is up.
        else if (plan.SpeaksWhenUp)
            output("modelled: there is no console in virtual time\n"u8.ToArray());
    }

    /// <inheritdoc/>
    public void Destroy()
    {
        _isDestroyed = true;
        if (_vcpu is not null)
            machine.Stop(_vcpu);
    }

    /// <inheritdoc/>
    public void Pause()
    {
        _isPaused = true;
        machine.Core.Pause(_vcpu!, machine.Now);
    }

    /// <inheritdoc/>
    public void Resume()
    {
        _isPaused = false;
        machine.Core.Resume(_vcpu!, machine.Now);
    }

    /// <inheritdoc/>
    public void Adjust(int? weight, object? schedulerOptions, CpuSet? affinity)
    {
        // One that has not started will start with what its plan says then.
        if (_vcpu is not null)
            machine.Core.Adjust(_vcpu.Domain, weight, schedulerOptions, affinity, machine.Now);
    }

    /// <summary>After a swap: the core sees to the vCPUs it schedules; what one that is gone keeps would hold the old plugin.</summary>
    public void ForgetScheduler()
    {
        if (_vcpu is { State: RunState.Offline })
            _vcpu.PolicyData = null;
    }

    /// <inheritdoc/>
    public int WriteConsole(ReadOnlySpan<byte> input) => 0;

    /// <summary>The counters of this moment.</summary>
    public DomainReading Read()
    {
        Sdk.Scheduling.Core.VcpuAccount? account = Account();
        return new DomainReading
        {
            Phase = Phase == DomainPhase.Running && _vcpu!.State == RunState.Blocked ? DomainPhase.Blocked : Phase,
            Running = account?.CpuTime ?? Nanoseconds.Zero,
            Wakes = account?.Wakes ?? 0,
            Traps = new Dictionary<string, long>(),
            Hypercalls = new Dictionary<string, long>(),
            AssignedBytes = plan.MemoryBytes,
            ResidentBytes = 0,
            Report = _vcpu is null ? null : Report(account!),
            Responses = workload switch
            {
                // A beat guest has no jobs that anybody waits for: what it is late by is its wake.
                PeriodicWorkload periodic when isModel => Latency(periodic.ResponseTime),
                QueueWorkload queue => Latency(queue.ResponseTime),
                _ => null,
            },
        };
    }

    private Sdk.Scheduling.Core.VcpuAccount? Account() => _vcpu is null ? null : machine.Core.AccountOf(_vcpu, machine.Now);

    private GuestReport Report(Sdk.Scheduling.Core.VcpuAccount account) => new()
    {
        Kind = isModel ? GuestKind.None : plan.Builtin,
        Progress = GuestProgress.Running,
        Units = isModel || plan.Builtin is GuestKind.Beat or GuestKind.Hello
            ? (ulong)workload.Completed
            : (ulong)(Math.Max(0, (account.CpuTime - machine.OverheadOf(_vcpu!)).Value) / Unit.Value),
        UnitInstructions = 0,
        Error = GuestError.None,
        ErrorDetail = 0,
        Overruns = (ulong)(workload switch
        {
            PeriodicWorkload beat => isModel ? beat.MissesBy(machine.Now) : beat.SkippedBy(machine.Now),
            BusyPeriodWorkload burst => burst.SkippedBy(machine.Now),
            _ => 0,
        }),
        LastVector = 0,
        Latency = workload is CpuBoundWorkload ? null : Latency(workload.WakeLatency),
    };

    /// <summary>As guests report it: the same buckets, fewer of them.</summary>
    private static LatencyHistogram Latency(Sdk.Scheduling.Core.LatencyHistogram recorded)
    {
        uint[] counts = recorded.Counts[..LatencyHistogram.Buckets].ToArray();
        foreach (uint longer in recorded.Counts[LatencyHistogram.Buckets..])
            counts[^1] += longer;
        return new LatencyHistogram(counts, (ulong)recorded.Sum, (ulong)recorded.Max.Value);
    }
}
