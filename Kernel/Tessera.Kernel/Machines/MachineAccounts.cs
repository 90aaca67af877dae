using Tessera.Kernel.Domains;
using Tessera.Sdk;
using Tessera.Sdk.Scheduling;
using Tessera.Sdk.Scheduling.Core;

namespace Tessera.Kernel.Machines;

/// <summary>What a machine's domains and physical CPUs did: looked at as often as one likes, by any thread.</summary>
public sealed class MachineAccounts
{
    private readonly Machine _machine;

    internal MachineAccounts(Machine machine) => _machine = machine;

    /// <summary>
    /// How long a domain's vCPUs ran and waited to run up to now: the cheap part of <see cref="Snapshot(IEnumerable{Domain})"/>, for looking often.
    /// </summary>
    public DomainActivity ActivityOf(Domain domain)
    {
        Nanoseconds now = _machine.Clock.Now;
        Nanoseconds running = Nanoseconds.Zero;
        Nanoseconds waiting = Nanoseconds.Zero;
        foreach (Vcpu vcpu in domain.Vcpus)
        {
            VcpuAccount account = _machine.Core.AccountOf(vcpu.Schedulable, now);
            running += account.CpuTime;
            waiting += account.WaitTime;
        }

        return new DomainActivity(now, running, waiting);
    }

    /// <summary>How often a domain trapped and called up to now, for looking often as well.</summary>
    /// <returns>All traps, hypercalls among them; and hypercalls.</returns>
    public static (long Traps, long Hypercalls) CallsOf(Domain domain)
    {
        (long traps, long hypercalls) = (0, 0);
        foreach (Vcpu vcpu in domain.Vcpus)
        {
            traps += vcpu.Counters.AllTraps;
            hypercalls += vcpu.Counters.AllHypercalls;
        }

        return (traps, hypercalls);
    }

    /// <summary>The accounts now.</summary>
    /// <param name="domains">Of which domains, destroyed ones too; null for all that were not destroyed.</param>
    public MachineSnapshot Snapshot(IEnumerable<Domain>? domains = null)
    {
        Nanoseconds now = _machine.Clock.Now;
        return new MachineSnapshot(
            now,
            [.. (domains ?? _machine.Domains).Select(domain => Snapshot(domain, now))],
            [.. _machine.Pcpus.Select(pcpu => _machine.Core.AccountOf(pcpu.Id, now))],
            _machine.Core.DecisionsByPolicy,
            _machine.Core.PolicyName,
            _machine.Core.Ejections,
            [.. _machine.Pcpus.Select(pcpu => pcpu.GuestTime)],
            [.. _machine.Pcpus.Select(pcpu => pcpu.AllocatedBytes)]);
    }

    /// <summary>
    /// A measured window begins: scheduling decisions with their cost, wake latencies, and what disks and interfaces do, count from now on.
    /// </summary>
    public void BeginWindow()
    {
        _machine.Core.BeginWindow();
        foreach (Domain domain in _machine.Domains)
            domain.BeginWindow();
    }

    /// <summary>Starts recording every scheduling event; one that was going on is dropped.</summary>
    /// <param name="capacity">How many it keeps before it is cut; 24 bytes each.</param>
    public void StartRecording(int capacity) => _machine.Core.StartRecording(capacity, _machine.Clock.Now);

    /// <summary>Ends the recording.</summary>
    /// <returns>It, in machine time; null when none was going on.</returns>
    public ScheduleLog? StopRecording() => _machine.Core.StopRecording(_machine.Clock.Now);

    /// <summary>What the policy owes each of a domain's vCPUs while it can run.</summary>
    public Entitlement EntitlementOf(Domain domain) => _machine.Core.EntitlementOf(domain.Vcpus[0].Schedulable);

    private DomainSnapshot Snapshot(Domain domain, Nanoseconds now)
    {
        Vcpu vcpu = domain.Vcpus[0];
        VcpuAccount account = _machine.Core.AccountOf(vcpu.Schedulable, now);
        return new DomainSnapshot(
            domain.Id,
            domain.Name,
            domain.State,
            vcpu.Schedulable.State is RunState.Running or RunState.Runnable,
            domain.ExitReason,
            vcpu.Schedulable.Domain.Weight,
            account.CpuTime,
            account.WaitTime,
            account.Wakes,
            account.WakeLatency,
            vcpu.Counters.TrapsByKind(),
            vcpu.Counters.HypercallsByName(),
            domain.State == DomainState.Destroyed ? 0 : domain.AssignedFrames * 4096,
            domain.State == DomainState.Destroyed ? 0 : domain.Memory.ResidentBytes);
    }
}
