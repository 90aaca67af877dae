using Tessera.Kernel.FastPath;
using Tessera.Sdk;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Memory;
using Tessera.Sdk.Plugins;
using Tessera.Sdk.Scheduling;

namespace Tessera.Kernel.Machines;

/// <summary>What a machine is made of. The caller owns the plugins' instances and disposes them after the machine.</summary>
public sealed record MachineConfiguration
{
    /// <summary>Host CPUs to use, one physical CPU each.</summary>
    public required IReadOnlyList<int> HostCpus { get; init; }

    /// <summary>
    /// How the physical CPUs lie to each other, for schedulers; null for how the host's lie, and in virtual time, which no host may
    /// change, for a
    /// flat machine.
    /// </summary>
    public MachineTopology? Topology { get; init; }

    /// <summary>Memory that all domains may take together, bytes.</summary>
    public required long MemoryLimitBytes { get; init; }

    /// <summary>The CPU engine.</summary>
    public required ICpuEngine Engine { get; init; }

    /// <summary>The MMU virtualization.</summary>
    public required IMmuVirtualization Mmu { get; init; }

    /// <summary>The memory policy.</summary>
    public required IMemoryPolicy MemoryPolicy { get; init; }

    /// <summary>The scheduling policy.</summary>
    public required IScheduler Scheduler { get; init; }

    /// <summary>Its name in reports.</summary>
    public required string SchedulerName { get; init; }

    /// <summary>Makes the policy that takes over when the scheduler is ejected.</summary>
    public required Func<IScheduler> FallbackScheduler { get; init; }

    /// <summary>Whether leaf hypercalls may be answered inside the guest.</summary>
    public FastPathMode FastPaths { get; init; } = FastPathMode.Auto;

    /// <summary>Called once, before the first domain runs an instruction: here the process gives up what only building needed.</summary>
    public Action? BeforeGuests { get; init; }

    /// <summary>Told by each of the machine's threads what it is for; null leaves them as they are.</summary>
    public IThreadDuties? Duties { get; init; }

    /// <summary>How the machine's time follows from its work; null for the host's time. The caller drives such a machine (<see cref="Machine.RunUntil"/>).</summary>
    public Time.VirtualTimeOptions? VirtualTime { get; init; }

    /// <summary>
    /// How long a call into the scheduler may take before it counts as hung, in the host's time; null for 1 s, and in virtual time, where a busy host must not change anything, 10 s.
    /// </summary>
    public Nanoseconds? HangLimit { get; init; }

    /// <summary>How long a runnable vCPU may wait before its scheduler is ejected.</summary>
    public Nanoseconds StarvationLimit { get; init; } = Nanoseconds.FromSeconds(30);
}
