using Tessera.Experiments.Planning;
using Tessera.Kernel.Machines;
using Tessera.Sdk;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Scheduling;

namespace Tessera.Experiments.Runs;

/// <summary>A machine as a run sees it: the kernel's, or a test's.</summary>
public interface IRunMachine : IDisposable
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
    Sdk.Scheduling.Core.ScheduleLog? StopRecording();
}

/// <summary>A domain as a run sees it.</summary>
public interface IRunDomain
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
public interface IHasDisks
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
public interface IHasNics
{
    /// <summary>Plugs an interface in.</summary>
    /// <param name="plan">Makes the plan for the number that is free.</param>
    /// <returns>Its number.</returns>
    int AttachNic(Func<int, NicPlan> plan);

    /// <summary>Unplugs an interface.</summary>
    /// <returns>Whether the guest let go of it; null when there is none of this number.</returns>
    bool? DetachNic(int number, TimeSpan patience);
}
