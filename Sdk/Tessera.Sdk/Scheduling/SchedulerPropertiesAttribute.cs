namespace Tessera.Sdk.Scheduling;

/// <summary>
/// What a scheduling policy promises, on its plugin class: the conformance suite (Tessera.Sdk.Conformance, `tessera plugins check`)
/// holds it to that. A property that is left out is not promised and not checked. All promises are for the options' defaults.
/// </summary>
[AttributeUsage(AttributeTargets.Class)]
public sealed class SchedulerPropertiesAttribute : Attribute
{
    /// <summary>No physical CPU idles while a vCPU waits that may run there. Promised unless taken back.</summary>
    public bool WorkConserving { get; set; } = true;

    /// <summary>It schedules several physical CPUs. Promised unless taken back.</summary>
    public bool MultiCpu { get; set; } = true;

    /// <summary>Affinities are kept, also when they change. Promised unless taken back, for a policy whose source has none.</summary>
    public bool Affinity { get; set; } = true;

    /// <summary>
    /// The greatest error of a CPU-bound vCPU's share by weight, in percent of that share, over 20 s with weights from 64 to 512; 0
    /// when shares do not follow weights.
    /// </summary>
    public double ShareErrorPercent { get; set; }

    /// <summary>The longest a runnable vCPU waits among <see cref="VcpusPerPcpu"/> CPU-bound ones of equal weight on a physical CPU, ms; 0 when there is no bound.</summary>
    public double StarvationBoundMs { get; set; }

    /// <summary>The longest from wake to running of a vCPU that needs 0.5 ms every 20 ms beside <see cref="VcpusPerPcpu"/> CPU-bound ones of equal weight, ms; 0 when there is no bound.</summary>
    public double WakeLatencyBoundMs { get; set; }

    /// <summary>How many vCPUs with default options the promises hold for on each physical CPU.</summary>
    public int VcpusPerPcpu { get; set; } = 8;

    /// <summary>The per-domain option (a property of the plugin's DomainOptions) that caps a vCPU, in percent of a physical CPU; null when there are no caps.</summary>
    public string? CapOption { get; set; }

    /// <summary>The per-domain option that is the period of a reservation; null when there are no reservations.</summary>
    public string? PeriodOption { get; set; }

    /// <summary>The per-domain option that is the CPU time reserved in each period; null when there are no reservations.</summary>
    public string? SliceOption { get; set; }

    /// <summary>
    /// Up to which utilisation, 0 to 1, periodic tasks meet every deadline on one physical CPU, each with its own CPU time and period reserved and
    /// waking at its period's beginning: 1 for earliest deadline first; 0 when that is not promised.
    /// </summary>
    public double DeadlineUtilisation { get; set; }
}
