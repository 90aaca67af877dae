using Tessera.Kernel.Time;
using Tessera.Sdk;
using Tessera.Sdk.Scheduling.Core;

namespace Tessera.Kernel.Domains;

/// <summary>The machine as its domains and their vCPUs see it.</summary>
internal interface IVcpuHost
{
    /// <summary>The machine's time.</summary>
    MachineClock Clock { get; }

    /// <summary>Where vCPUs go to sleep.</summary>
    SchedulerCore Core { get; }

    /// <summary>Arms an alarm where the vCPU runs, or ran last.</summary>
    void Arm(Vcpu vcpu, Alarm alarm, Nanoseconds deadline);

    /// <summary>
    /// Makes a vCPU runnable if it blocks. Any thread; a physical CPU tells the scheduler when the trap at hand is done with: a policy that
    /// hangs must find no lock held, no vCPU half-way through a hypercall, and nobody's thread but one that can be replaced.
    /// </summary>
    /// <param name="vcpu">The vCPU.</param>
    /// <param name="due">The deadline of the alarm that causes it; <see cref="Nanoseconds.Never"/> when none does.</param>
    void Wake(Vcpu vcpu, Nanoseconds due);

    /// <summary>A domain has ended: its vCPUs leave the scheduler. Once for each domain, any thread.</summary>
    void Ended(Domain domain);
}

/// <summary>A physical CPU as who does long work on it sees it.</summary>
internal interface IPcpu
{
    /// <summary>Somebody else's turn has come, or an alarm's.</summary>
    bool ShouldLeaveGuest { get; }

    /// <summary>Does what a domain's MMU has left to do, as long as it is nobody else's turn; under the domain's gate.</summary>
    /// <returns>Whether nothing is left.</returns>
    bool FinishMmuWork(Domain domain);
}
