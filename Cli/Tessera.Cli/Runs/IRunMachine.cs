using System.Collections.Immutable;
using System.Net;
using Tessera.Cli.Composition;
using Tessera.Cli.Results;
using Tessera.Guests;
using Tessera.Images;
using Tessera.Kernel.Devices.Block;
using Tessera.Kernel.Devices.Network;
using Tessera.Kernel.Machines;
using Tessera.Sdk;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Devices;
using Tessera.Sdk.Scheduling;

namespace Tessera.Cli.Runs;

/// <summary>A domain to run: everything looked up and loaded.</summary>
internal sealed record DomainPlan
{
    /// <summary>The name.</summary>
    public required string Name { get; init; }

    /// <summary>Which item of the configuration it came from; equal ones are shown together.</summary>
    public required int Group { get; init; }

    /// <summary>The guest's name or the kernel's file.</summary>
    public required string Guest { get; init; }

    /// <summary>Which built-in guest it is; <see cref="GuestKind.None"/> for others.</summary>
    public GuestKind Builtin { get; init; }

    /// <summary>A built-in guest's options record; null for others and for those without options.</summary>
    public object? GuestOptions { get; init; }

    /// <summary>The kernel.</summary>
    public required KernelImage Image { get; init; }

    /// <summary>The initial RAM disk; empty for none.</summary>
    public ReadOnlyMemory<byte> Initrd { get; init; }

    /// <summary>The command line.</summary>
    public string CommandLine { get; init; } = "";

    /// <summary>Memory in bytes.</summary>
    public required long MemoryBytes { get; init; }

    /// <summary>The share weight in force.</summary>
    public required int Weight { get; set; }

    /// <summary>The scheduler's per-domain options in force; null for its defaults. A swap must leave nothing of the old plugin here.</summary>
    public object? SchedulerOptions { get; set; }

    /// <summary>Where it may run now.</summary>
    public CpuSet Affinity { get; set; } = CpuSet.All;

    /// <summary>When it starts, after the machine.</summary>
    public Nanoseconds StartDelay { get; init; }

    /// <summary>Its disks.</summary>
    public IReadOnlyList<DiskPlan> Disks { get; init; } = [];

    /// <summary>Its network interfaces.</summary>
    public IReadOnlyList<NicPlan> Nics { get; init; } = [];

    /// <summary>Whether a line of user space on its console says that it is up; else it is up once started.</summary>
    public required bool SpeaksWhenUp { get; init; }
}

/// <summary>A disk to attach: everything looked up and bound.</summary>
/// <param name="Name">Its name in the guest.</param>
/// <param name="IsReadOnly">Whether the guest may only read it.</param>
/// <param name="PersistentGrants">Whether frontends may keep their grants.</param>
/// <param name="Backends">The backend, and the layers over it.</param>
internal sealed record DiskPlan(string Name, bool IsReadOnly, bool PersistentGrants, IReadOnlyList<ChosenPlugin> Backends);

/// <summary>A network interface to attach: everything looked up and bound.</summary>
/// <param name="Number">Its number in the domain, from 0.</param>
/// <param name="Address">Its address.</param>
/// <param name="BytesPerSecond">The most it may send; 0 for no bound.</param>
/// <param name="AntiSpoofing">Whether it may send in its own name only.</param>
/// <param name="Addresses">The domain's IP addresses; none when any may be used.</param>
/// <param name="Backends">The backend, and the layers over it.</param>
internal sealed record NicPlan(int Number, MacAddress Address, long BytesPerSecond, bool AntiSpoofing, IReadOnlyList<IPAddress> Addresses, IReadOnlyList<ChosenPlugin> Backends);

/// <summary>A machine as a run sees it: the kernel's, or a test's.</summary>
internal interface IRunMachine : IDisposable
{
    /// <summary>The host CPUs in use, by machine index.</summary>
    IReadOnlyList<int> HostCpus { get; }

    /// <summary>What the engine found.</summary>
    EngineFacts Engine { get; }

    /// <summary>Why the machine cannot go on; null while it can.</summary>
    string? Failure { get; }

    /// <summary>Machine time.</summary>
    Nanoseconds Now { get; }

    /// <summary>The scheduler in charge, with its version.</summary>
    string SchedulerName { get; }

    /// <summary>Puts another scheduler in charge while the domains go on.</summary>
    /// <param name="scheduler">The policy.</param>
    /// <param name="name">Its name in reports.</param>
    /// <param name="domainOptions">Its per-domain options by domain number; its defaults for the others.</param>
    /// <returns>Null, or why the fallback is in charge instead.</returns>
    string? SwapScheduler(IScheduler scheduler, string name, IReadOnlyDictionary<int, object?> domainOptions);

    /// <summary>Builds a domain that does not run yet.</summary>
    /// <param name="plan">What to build.</param>
    /// <param name="output">Gets its console output, on the guest's own physical CPU: must return at once.</param>
    IRunDomain Create(DomainPlan plan, Action<ReadOnlyMemory<byte>> output);

    /// <summary>The counters of this moment, since the machine's start.</summary>
    MachineReading Read();

    /// <summary>The measured window begins: decisions with their cost, and what devices do, are counted from now on.</summary>
    void BeginWindow();

    /// <summary>Starts recording every scheduling event.</summary>
    /// <param name="capacity">How many it keeps before it is cut.</param>
    void StartRecording(int capacity);

    /// <summary>Ends the recording.</summary>
    /// <returns>It; null when none was going on.</returns>
    Scheduling.ScheduleLog? StopRecording();
}

/// <summary>A domain as a run sees it.</summary>
internal interface IRunDomain
{
    /// <summary>Its number.</summary>
    int Id { get; }

    /// <summary>Lets it run.</summary>
    void Start();

    /// <summary>Ends it and frees its memory.</summary>
    void Destroy();

    /// <summary>Holds it; it runs.</summary>
    void Pause();

    /// <summary>Lets it go on; it is paused.</summary>
    void Resume();

    /// <summary>Changes its parameters; null leaves one as it is.</summary>
    void Adjust(int? weight, object? schedulerOptions, CpuSet? affinity);

    /// <summary>Its console's input; answers how many bytes still wait for the guest.</summary>
    int WriteConsole(ReadOnlySpan<byte> input);

    /// <summary>Where it is in its life.</summary>
    DomainPhase Phase { get; }

    /// <summary>How long its vCPUs ran and waited to run so far; cheap.</summary>
    DomainActivity Activity { get; }

    /// <summary>What the scheduler owes its vCPU while that can run; cheap.</summary>
    Entitlement Owed { get; }

    /// <summary>All its traps (hypercalls among them) and its hypercalls so far; cheap. Both 0 where guests are only modelled.</summary>
    (long Traps, long Hypercalls) Calls { get; }

    /// <summary>Why it ended; null while it lives.</summary>
    string? ExitReason { get; }

    /// <summary>The registers at a crash, hexadecimal by name; null without one.</summary>
    IReadOnlyDictionary<string, string>? CrashRegisters { get; }
}

/// <summary>A domain whose disks can be plugged while it runs. Any thread.</summary>
internal interface IHasDisks
{
    /// <summary>Plugs a disk in.</summary>
    void AttachDisk(DiskPlan disk);

    /// <summary>Looks whether a disk's storage has become larger, and if so tells the guest.</summary>
    /// <returns>Its size in bytes; null when there is none of this name.</returns>
    long? GrowDisk(string name);

    /// <summary>Unplugs a disk.</summary>
    /// <returns>Whether the guest let go of it; null when there is none of this name.</returns>
    bool? DetachDisk(string name, TimeSpan patience);
}

/// <summary>A domain whose network interfaces can be plugged while it runs. Any thread, one at a time.</summary>
internal interface IHasNics
{
    /// <summary>Plugs an interface in.</summary>
    /// <param name="plan">Makes the plan for the number that is free.</param>
    /// <returns>Its number.</returns>
    int AttachNic(Func<int, NicPlan> plan);

    /// <summary>Unplugs an interface.</summary>
    /// <returns>Whether the guest let go of it; null when there is none of this number.</returns>
    bool? DetachNic(int number, TimeSpan patience);
}

/// <summary>A domain's life as results name it.</summary>
internal enum DomainPhase
{
    /// <summary>Built, not started.</summary>
    Created,

    /// <summary>Runs, or could.</summary>
    Running,

    /// <summary>Waits for an event.</summary>
    Blocked,

    /// <summary>Held by the administrator.</summary>
    Paused,

    /// <summary>Ended itself.</summary>
    Shutdown,

    /// <summary>Did something fatal.</summary>
    Crashed,

    /// <summary>Ended from outside.</summary>
    Destroyed,
}

/// <summary>All counters at one moment.</summary>
internal sealed record MachineReading
{
    /// <summary>Machine time.</summary>
    public required Nanoseconds At { get; init; }

    /// <summary>By domain, in the order of creation.</summary>
    public required IReadOnlyList<DomainReading> Domains { get; init; }

    /// <summary>By physical CPU.</summary>
    public required IReadOnlyList<PcpuReading> Pcpus { get; init; }

    /// <summary>Decisions since the window's start, by scheduler.</summary>
    public required IReadOnlyList<DecisionReading> Decisions { get; init; }

    /// <summary>Why the scheduler was replaced by the fallback; null when it was not.</summary>
    public string? SchedulerEjected { get; init; }
}

/// <summary>One domain's counters.</summary>
internal sealed record DomainReading
{
    /// <summary>Where it is in its life.</summary>
    public required DomainPhase Phase { get; init; }

    /// <summary>Time its vCPUs ran.</summary>
    public required Nanoseconds Running { get; init; }

    /// <summary>How often they became runnable.</summary>
    public required long Wakes { get; init; }

    /// <summary>From wake to running since the window's start, as the scheduler core saw it; null when it saw none.</summary>
    public LatencySummary? WakeLatency { get; init; }

    /// <summary>Traps by kind.</summary>
    public required IReadOnlyDictionary<string, long> Traps { get; init; }

    /// <summary>Hypercalls by name.</summary>
    public required IReadOnlyDictionary<string, long> Hypercalls { get; init; }

    /// <summary>Memory it owns.</summary>
    public required long AssignedBytes { get; init; }

    /// <summary>Host memory it takes.</summary>
    public required long ResidentBytes { get; init; }

    /// <summary>Code that its engine does not run, since it began.</summary>
    public IReadOnlyList<UnknownCode> UnknownCode { get; init; } = [];

    /// <summary>What a built-in guest reports; null for others.</summary>
    public GuestReport? Report { get; init; }

    /// <summary>Response times of what it was asked for, as a model counts them; null for others.</summary>
    public LatencyHistogram? Responses { get; init; }

    /// <summary>What its disks did since the window began, or since they were attached when there is none yet or they came later, by name.</summary>
    public IReadOnlyDictionary<string, BlockReading> Disks { get; init; } = ImmutableDictionary<string, BlockReading>.Empty;

    /// <summary>The same of its network interfaces, by number.</summary>
    public IReadOnlyDictionary<int, (MacAddress Address, NetworkReading Reading)> Nics { get; init; } = ImmutableDictionary<int, (MacAddress, NetworkReading)>.Empty;
}

/// <summary>What one scheduler decided.</summary>
/// <param name="Scheduler">Its name.</param>
/// <param name="Count">How many decisions.</param>
/// <param name="P50Ns">Median of their cost in ns; null where it was not measured.</param>
/// <param name="P99Ns">99th percentile of the same.</param>
internal readonly record struct DecisionReading(string Scheduler, long Count, long? P50Ns, long? P99Ns)
{
    /// <summary>The core's account as a reading.</summary>
    public static DecisionReading Of(Scheduling.PolicyDecisions decisions)
    {
        Scheduling.LatencySummary cost = decisions.Account.Cost;
        return cost.Count == 0
            ? new(decisions.Policy, decisions.Account.Decisions, null, null)
            : new(decisions.Policy, decisions.Account.Decisions, cost.P50.Value, cost.P99.Value);
    }
}

/// <summary>One physical CPU's counters.</summary>
/// <param name="Busy">Time given to vCPUs.</param>
/// <param name="Idle">Time with nothing to run.</param>
/// <param name="Switches">Changes of vCPU.</param>
internal readonly record struct PcpuReading(Nanoseconds Busy, Nanoseconds Idle, long Switches);

/// <summary>Words and tests on <see cref="DomainPhase"/>.</summary>
internal static class DomainPhases
{
    /// <summary>Whether it will never run again.</summary>
    public static bool HasEnded(this DomainPhase phase) => phase is DomainPhase.Shutdown or DomainPhase.Crashed or DomainPhase.Destroyed;

    /// <summary>The word results use.</summary>
    public static string Word(this DomainPhase phase) => phase.ToString().ToLowerInvariant();
}
