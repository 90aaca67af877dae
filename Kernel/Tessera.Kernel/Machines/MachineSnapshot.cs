using Tessera.Kernel.Domains;
using Tessera.Sdk;
using Tessera.Sdk.Scheduling.Core;

namespace Tessera.Kernel.Machines;

/// <summary>The accounts of a machine at one moment.</summary>
/// <param name="Now">The moment, machine time.</param>
/// <param name="Domains">Every domain that was ever created.</param>
/// <param name="Pcpus">The physical CPUs.</param>
/// <param name="Decisions">What scheduling decisions cost, by policy.</param>
/// <param name="SchedulerName">The policy in charge.</param>
/// <param name="Ejections">Policies that were thrown out, with the evidence.</param>
/// <param name="GuestTime">Of each physical CPU's busy time, what was spent inside the engine; the rest is the VMM's own work.</param>
/// <param name="AllocatedBytes">Managed memory that each physical CPU's thread has allocated: none of it by traps or decisions.</param>
public sealed record MachineSnapshot(
    Nanoseconds Now, IReadOnlyList<DomainSnapshot> Domains, IReadOnlyList<PcpuAccount> Pcpus, IReadOnlyList<PolicyDecisions> Decisions, string SchedulerName, IReadOnlyList<Ejection> Ejections,
    IReadOnlyList<Nanoseconds> GuestTime, IReadOnlyList<long> AllocatedBytes);

/// <summary>The accounts of a domain, all its vCPUs together.</summary>
/// <param name="Id">Its number.</param>
/// <param name="Name">Its name.</param>
/// <param name="State">Where it is in its life.</param>
/// <param name="IsRunnable">A vCPU runs or waits for a physical CPU.</param>
/// <param name="ExitReason">Why it ended; empty while it lives.</param>
/// <param name="Weight">Its share weight.</param>
/// <param name="CpuTime">pCPU time.</param>
/// <param name="WaitTime">Time runnable without running.</param>
/// <param name="Wakes">Ends of blocks.</param>
/// <param name="WakeLatency">Wake to run.</param>
/// <param name="Traps">Traps by kind.</param>
/// <param name="Hypercalls">Hypercalls by name.</param>
/// <param name="AssignedBytes">Memory it holds.</param>
/// <param name="ResidentBytes">Host memory that backs it.</param>
public sealed record DomainSnapshot(
    DomainId Id, string Name, DomainState State, bool IsRunnable, string ExitReason, int Weight, Nanoseconds CpuTime, Nanoseconds WaitTime, long Wakes, LatencySummary WakeLatency,
    IReadOnlyDictionary<string, long> Traps, IReadOnlyDictionary<string, long> Hypercalls, long AssignedBytes, long ResidentBytes);

/// <summary>What a domain's vCPUs did with their time so far.</summary>
/// <param name="Now">The moment, machine time.</param>
/// <param name="Running">pCPU time.</param>
/// <param name="Waiting">Time runnable without running.</param>
public readonly record struct DomainActivity(Nanoseconds Now, Nanoseconds Running, Nanoseconds Waiting);
