namespace Tessera.Sdk.Scheduling;

/// <summary>The run states of a vCPU: Offline → Blocked ⇄ Runnable ⇄ Running; only the scheduler core changes them.</summary>
public enum RunState
{
    /// <summary>Not added to a scheduler yet, or removed from it.</summary>
    Offline,

    /// <summary>Waits for an event or is paused.</summary>
    Blocked,

    /// <summary>Could run and waits for a physical CPU.</summary>
    Runnable,

    /// <summary>Runs on <see cref="SchedulableVcpu.Pcpu"/>.</summary>
    Running,
}

/// <summary>
/// A vCPU as schedulers see it: who it is, its domain, its affinity and its run state. The core writes it; policies read it and own
/// <see cref="PolicyData"/>.
/// </summary>
public sealed class SchedulableVcpu
{
    /// <summary>Makes the handle; done by the core's owner, and by tests.</summary>
    /// <param name="domain">Its domain.</param>
    /// <param name="index">Its index in the domain, from 0.</param>
    /// <param name="affinity">The pCPUs it may run on; null means all.</param>
    public SchedulableVcpu(SchedulableDomain domain, int index = 0, CpuSet? affinity = null)
    {
        Domain = domain;
        Id = new(domain.Id, index);
        Affinity = affinity ?? CpuSet.All;
    }

    /// <summary>Which vCPU.</summary>
    public VcpuId Id { get; }

    /// <summary>Its domain, with weight and options.</summary>
    public SchedulableDomain Domain { get; }

    /// <summary>The physical CPUs it may run on.</summary>
    public CpuSet Affinity { get; internal set; }

    /// <summary>The run state.</summary>
    public RunState State { get; internal set; }

    /// <summary>Where it runs; meaningful while <see cref="State"/> is <see cref="RunState.Running"/>.</summary>
    public PcpuId Pcpu { get; internal set; }

    /// <summary>The policy's own record of this vCPU; cleared when the policy is replaced.</summary>
    public object? PolicyData { get; set; }

    /// <summary>The core's own record of this vCPU.</summary>
    internal object? CoreData { get; set; }

    /// <inheritdoc/>
    public override string ToString() => $"{Id} (weight {Domain.Weight}, {State})";
}
