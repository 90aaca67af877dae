namespace Tessera.Sdk.Simulation;

/// <summary>Runs for a burst, sleeps for a pause counted from the burst's end, and so on; the lengths fixed or exponentially distributed.</summary>
/// <param name="burst">The burst's CPU time, or its mean.</param>
/// <param name="pause">The pause's length, or its mean.</param>
/// <param name="random">Draws both lengths from exponential distributions; null keeps them fixed.</param>
public sealed class OnOffWorkload(Nanoseconds burst, Nanoseconds pause, SimulationRandom? random = null) : Workload
{
    private bool _running;

    /// <inheritdoc/>
    public override WorkloadStep Next(Nanoseconds now)
    {
        _running = !_running;
        if (_running)
            return WorkloadStep.Run(random?.Exponential(burst) ?? burst);
        Completed++;
        return WorkloadStep.SleepUntil(now + (random?.Exponential(pause) ?? pause));
    }
}
