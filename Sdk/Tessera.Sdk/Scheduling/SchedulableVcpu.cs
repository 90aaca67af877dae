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

/// <summary>A vCPU as schedulers see it: who it is, its parameters and its run state. The core writes it; policies read it and own <see cref="PolicyData"/>.</summary>
public sealed class SchedulableVcpu
{
    /// <summary>Makes the handle; done by the core's owner, and by tests.</summary>
    /// <param name="id">Which vCPU.</param>
    /// <param name="weight">Its domain's share weight, at least 1; 256 is the customary default.</param>
    /// <param name="options">The policy's own per-domain options record, or null for its defaults.</param>
    /// <param name="affinity">The pCPUs it may run on; null means all.</param>
    public SchedulableVcpu(VcpuId id, int weight = 256, object? options = null, CpuSet? affinity = null)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(weight, 1);
        Id = id;
        Weight = weight;
        Options = options;
        Affinity = affinity ?? CpuSet.All;
    }

    /// <summary>Which vCPU.</summary>
    public VcpuId Id { get; }

    /// <summary>The domain's share weight, at least 1.</summary>
    public int Weight { get; set; }

    /// <summary>The policy's per-domain options: the record its plugin attribute names as DomainOptions; null means its defaults.</summary>
    public object? Options { get; set; }

    /// <summary>The physical CPUs it may run on.</summary>
    public CpuSet Affinity { get; set; }

    /// <summary>The run state.</summary>
    public RunState State { get; set; }

    /// <summary>Where it runs; meaningful while <see cref="State"/> is <see cref="RunState.Running"/>.</summary>
    public PcpuId Pcpu { get; set; }

    /// <summary>The policy's own record of this vCPU; cleared when the policy is replaced.</summary>
    public object? PolicyData { get; set; }

    /// <summary>The core's own record of this vCPU; policies leave it alone.</summary>
    public object? CoreData { get; set; }

    /// <inheritdoc/>
    public override string ToString() => $"{Id} (weight {Weight}, {State})";
}
