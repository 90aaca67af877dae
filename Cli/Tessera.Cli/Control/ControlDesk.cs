using Tessera.Common;
using Tessera.Experiments.Planning;

namespace Tessera.Cli.Control;

/// <summary>Where connections leave what the run's own thread is to do: between two steps of the run, one thing after the other.</summary>
/// <param name="patience">How long somebody waits to be served.</param>
/// <param name="prepared">What runs; null in tests of the desk alone.</param>
internal sealed class ControlDesk(TimeSpan patience, PreparedExperiment? prepared = null)
{
    /// <summary>What runs; only what never changes of it may be read on any thread.</summary>
    public PreparedExperiment? Prepared => prepared;

    private readonly WorkQueue _orders = new();
    private ControlledRun? _run;

    /// <summary>Lets the run's thread do something and waits for it. Any other thread.</summary>
    /// <exception cref="ControlException">Refused by what was to be done; the run is over; or it did not come to it in time, then it was not done.</exception>
    public T Do<T>(Func<ControlledRun, T> what)
    {
        T? result = default;
        return _orders.Do(() => result = what(_run!), patience) switch
        {
            WorkEnd.Done => result!,
            WorkEnd.Late => throw new ControlException(
                ControlCode.Busy,
                $"The run did not get to it within {patience.TotalSeconds:0} s, so nothing was changed: it is building its domains or ending. Try again."),
            _ => throw new ControlException(ControlCode.Ended, "The run is over."),
        };
    }

    /// <summary>Does what waits; the run's thread.</summary>
    /// <param name="run">The run.</param>
    /// <param name="before">Called before the first thing that is done.</param>
    public void Serve(ControlledRun run, Action before)
    {
        _run = run;
        for (bool first = true; _orders.Take(waits: false) is { } order; first = false)
        {
            if (first)
                before();
            _ = _orders.Finish(order);
        }
    }

    /// <summary>The run is over: nobody is served any more.</summary>
    public void Close() => _orders.Close(drops: true);
}
