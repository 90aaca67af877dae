using Tessera.Sdk.Scheduling.Core;


namespace Tessera.Sdk.Simulation;

/// <summary>
/// A server with an unbounded first-come-first-served queue: requests arrive whether it runs or not, each needs a service time, and
/// it sleeps while there is none. With exponential gaps and services on a physical CPU of its own it is the M/M/1 queue.
/// </summary>
public sealed class QueueWorkload : Workload
{
    private readonly Func<Nanoseconds> _gap;
    private readonly Func<Nanoseconds> _service;
    private Nanoseconds _arrival;
    private bool _serving;
    private bool _begun;

    /// <summary>Makes the server from any two distributions.</summary>
    /// <param name="gap">Draws the time from one arrival to the next.</param>
    /// <param name="service">Draws a request's CPU time; more than nothing.</param>
    public QueueWorkload(Func<Nanoseconds> gap, Func<Nanoseconds> service) => (_gap, _service) = (gap, service);

    /// <summary>From each request's arrival to its response.</summary>
    public LatencyHistogram ResponseTime { get; } = new();

    /// <summary>The sum of all response times, ns: their exact mean is this over <see cref="Workload.Completed"/>.</summary>
    public double TotalResponseTime { get; private set; }

    /// <summary>Poisson arrivals and exponential service times.</summary>
    /// <param name="meanGap">Mean time between arrivals.</param>
    /// <param name="meanService">Mean CPU time of a request.</param>
    /// <param name="random">The random numbers.</param>
    public static QueueWorkload Poisson(Nanoseconds meanGap, Nanoseconds meanService, SimulationRandom random) =>
        new(() => random.Exponential(meanGap), () => random.Exponential(meanService));

    /// <summary>An arrival every so often, each with the same service time.</summary>
    /// <param name="gap">Time between arrivals.</param>
    /// <param name="service">CPU time of a request.</param>
    public static QueueWorkload Fixed(Nanoseconds gap, Nanoseconds service) => new(() => gap, () => service);

    /// <inheritdoc/>
    public override WorkloadStep Next(Nanoseconds now)
    {
        if (_serving)
        {
            _serving = false;
            Completed++;
            Nanoseconds response = now - _arrival;
            ResponseTime.Record(response);
            TotalResponseTime += response.Value;
            _arrival += _gap();
        }
        else if (!_begun)
        {
            _begun = true;
            _arrival = now + _gap();
        }

        if (_arrival > now)
            return WorkloadStep.SleepUntil(_arrival);
        _serving = true;
        return WorkloadStep.Run(_service());
    }
}
