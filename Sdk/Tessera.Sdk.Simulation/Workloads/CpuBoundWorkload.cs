namespace Tessera.Sdk.Simulation;

/// <summary>Uses all the CPU time it gets: for good, or so much and then sleeps for good.</summary>
/// <param name="demand">How much CPU time it wants; null for ever more.</param>
public sealed class CpuBoundWorkload(Nanoseconds? demand = null) : Workload
{
    private bool _begun;

    /// <inheritdoc/>
    public override WorkloadStep Next(Nanoseconds now)
    {
        if (_begun)
        {
            Completed = 1;
            return WorkloadStep.SleepUntil(Nanoseconds.Never);
        }

        _begun = true;
        return WorkloadStep.Run(demand ?? Nanoseconds.Never);
    }
}
