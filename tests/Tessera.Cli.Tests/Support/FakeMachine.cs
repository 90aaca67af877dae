using Tessera.Experiments.Hosts;
using Tessera.Experiments.Machines;
using Tessera.Experiments.Planning;
using Tessera.Experiments.Runs;
using Tessera.Guests;
using Tessera.Kernel.Devices.Block;
using Tessera.Kernel.Devices.Network;
using Tessera.Kernel.Machines;
using Tessera.Sdk;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Devices;
using Tessera.Sdk.Scheduling;

namespace Tessera.Cli.Tests.Support;

/// <summary>Virtual time that jumps to whatever is waited for, and scripted happenings on the way.</summary>
internal sealed class FakePacer : IRunPacer
{
    private readonly PriorityQueue<Action, long> _happenings = new();

    public Nanoseconds Now { get; private set; }

    /// <summary>Whether the user wants to stop.</summary>
    public bool IsStopped { get; set; }

    public void At(Nanoseconds when, Action happens) => _happenings.Enqueue(happens, when.Value);

    public bool WaitUntil(Nanoseconds instant)
    {
        while (!IsStopped && _happenings.TryPeek(out Action? happens, out long when) && when <= instant.Value)
        {
            Now = Nanoseconds.Max(Now, new Nanoseconds(when));
            _ = _happenings.Dequeue();
            happens!();
        }

        if (!IsStopped)
            Now = Nanoseconds.Max(Now, instant);
        return IsStopped;
    }
}

/// <summary>A machine without a hypervisor: one pCPU or more, shared at the weights among the domains that run.</summary>
internal sealed class FakeMachine(FakePacer pacer, int pcpus = 1) : IRunMachine, IMachineFactory
{
    private Nanoseconds _last;

    public List<FakeDomain> Domains { get; } = [];

    public IReadOnlyList<int> HostCpus { get; } = [.. Enumerable.Range(4, pcpus)];

    public string? Failure { get; set; }

    public string? SchedulerEjected { get; set; }

    public string? MemoryPolicyFailure { get; set; }

    public bool IsDisposed { get; private set; }

    /// <summary>How often a window began.</summary>
    public int Windows { get; private set; }

    /// <summary>Whether it gives its recording away, which has neither events nor an end.</summary>
    public bool KeepsRecording { get; init; } = true;

    /// <summary>The recording, without events.</summary>
    public Sdk.Scheduling.Core.ScheduleLog? Log { get; private set; }

    /// <summary>Called when a domain was made, to script it.</summary>
    public Action<FakeDomain>? Created { get; set; }

    public EngineFacts Engine { get; } = new()
    {
        Name = "fake",
        Strategy = "None.",
        ReservedFrames = 0,
        HypercallInstruction = [],
        FreeSlots = [],
        HardwareCpuidLeaks = false,
        Findings = [new EngineFinding("a probe", "a finding", "")],
    };

    public Nanoseconds Now => pacer.Now;

    public string SchedulerName { get; private set; } = "fake";

    public string? SwapScheduler(IScheduler scheduler, string name, IReadOnlyDictionary<int, object?> domainOptions)
    {
        SchedulerName = name;
        return null;
    }

    public IRunMachine Create(PreparedExperiment prepared) => this;

    public IRunDomain Create(DomainPlan plan, Action<ReadOnlyMemory<byte>> output)
    {
        FakeDomain domain = new(this, plan, output, Domains.Count + 1);
        Domains.Add(domain);
        Created?.Invoke(domain);
        return domain;
    }

    public MachineReading Read()
    {
        Advance();
        return new MachineReading
        {
            At = pacer.Now,
            Domains = [.. Domains.Select(domain => domain.Reading())],
            Pcpus = [.. Enumerable.Range(0, pcpus).Select(_ => new PcpuReading(pacer.Now, Nanoseconds.Zero, 7))],
            Decisions = [new("fake", 42, 500, 2_000)],
            SchedulerEjected = SchedulerEjected,
            MemoryPolicyFailure = MemoryPolicyFailure,
        };
    }

    public void BeginWindow() => Windows++;

    public void StartRecording(int capacity) => Log = new(capacity, pacer.Now);

    public Sdk.Scheduling.Core.ScheduleLog? StopRecording() => KeepsRecording ? Log : null;

    public void Dispose() => IsDisposed = true;

    /// <summary>Deals out the time since the last call.</summary>
    internal void Advance()
    {
        Nanoseconds passed = pacer.Now - _last;
        _last = pacer.Now;
        FakeDomain[] running = [.. Domains.Where(domain => domain.Phase == DomainPhase.Running)];
        double[] shares = Sdk.Scheduling.Core.ExpectedShares.Of([.. running.Select(domain => new Sdk.Scheduling.Core.ShareClaim(domain.Plan.Weight, 1))], pcpus);
        for (int index = 0; index < running.Length; index++)
            running[index].Account(new Nanoseconds((long)(passed.Value * shares[index] * pcpus)), passed);
    }
}

/// <summary>A domain of a <see cref="FakeMachine"/>.</summary>
internal sealed class FakeDomain(FakeMachine machine, DomainPlan plan, Action<ReadOnlyMemory<byte>> output, int id) : IRunDomain
{
    private Nanoseconds _running;
    private Nanoseconds _waiting;

    public DomainPlan Plan => plan;

    public int Id => id;

    public DomainPhase Phase { get; private set; } = DomainPhase.Created;

    public (long Traps, long Hypercalls) Calls => (_running.Value / 1000, _running.Value / 2000);

    public DomainActivity Activity
    {
        get
        {
            machine.Advance();
            return new DomainActivity(machine.Now, _running, _waiting);
        }
    }

    /// <summary>What a scheduler would owe it.</summary>
    public Entitlement Owed { get; set; } = Entitlement.ByWeight(plan.Weight);

    public string? ExitReason { get; private set; }

    public IReadOnlyDictionary<string, string>? CrashRegisters { get; private set; }

    /// <summary>What was typed.</summary>
    public List<byte> Input { get; } = [];

    public Action? Started { get; set; }

    /// <summary>What its disks did.</summary>
    public Dictionary<string, BlockReading> Disks { get; } = [];

    /// <summary>What its interfaces did.</summary>
    public Dictionary<int, (MacAddress Address, NetworkReading Reading)> Nics { get; } = [];

    public void Start()
    {
        machine.Advance();
        Phase = DomainPhase.Running;
        Started?.Invoke();
    }

    public void Destroy()
    {
        machine.Advance();
        Phase = DomainPhase.Destroyed;
    }

    public void Say(string text) => output(System.Text.Encoding.UTF8.GetBytes(text));

    public void End(DomainPhase phase, string reason)
    {
        machine.Advance();
        (Phase, ExitReason) = (phase, reason);
        if (phase == DomainPhase.Crashed)
            CrashRegisters = new Dictionary<string, string> { ["rip"] = "deadbeef" };
    }

    public void Block()
    {
        machine.Advance();
        Phase = DomainPhase.Blocked;
    }

    public void Pause()
    {
        machine.Advance();
        Phase = DomainPhase.Paused;
    }

    public void Resume()
    {
        machine.Advance();
        Phase = DomainPhase.Running;
    }

    public void Adjust(int? weight, object? schedulerOptions, CpuSet? affinity) => machine.Advance();

    public int WriteConsole(ReadOnlySpan<byte> input)
    {
        Input.AddRange(input);
        return 0;
    }

    internal void Account(Nanoseconds ran, Nanoseconds passed)
    {
        _running += ran;
        _waiting += passed - ran;
    }

    internal DomainReading Reading() => new()
    {
        Phase = Phase,
        Running = _running,
        Wakes = 3,
        Traps = new Dictionary<string, long> { ["syscall"] = _running.Value / 1000 },
        Hypercalls = new Dictionary<string, long> { ["sched_op"] = _running.Value / 2000 },
        AssignedBytes = plan.MemoryBytes,
        ResidentBytes = plan.MemoryBytes / 2,
        Disks = Disks,
        Nics = Nics,
        Report = plan.SpeaksWhenUp ? null : new GuestReport
        {
            Kind = GuestKind.Spin,
            Progress = GuestProgress.Running,
            Units = (ulong)(_running.Value / 1_000_000),
            UnitInstructions = 1,
            Error = GuestError.None,
            ErrorDetail = 0,
            Overruns = 0,
            LastVector = 0,
        },
    };
}
