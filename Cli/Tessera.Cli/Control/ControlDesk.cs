using System.Runtime.ExceptionServices;
using Tessera.Experiments.Planning;

namespace Tessera.Cli.Control;

/// <summary>Where connections leave what the run's own thread is to do: between two steps of the run, one thing after the other.</summary>
/// <param name="patience">How long somebody waits to be served.</param>
/// <param name="prepared">What runs; null in tests of the desk alone.</param>
internal sealed class ControlDesk(TimeSpan patience, PreparedExperiment? prepared = null)
{
    /// <summary>What runs; only what never changes of it may be read on any thread.</summary>
    public PreparedExperiment? Prepared => prepared;

    private readonly object _gate = new();
    private readonly Queue<Order> _orders = new();
    private bool _isClosed;

    /// <summary>Lets the run's thread do something and waits for it. Any other thread.</summary>
    /// <exception cref="ControlException">Refused by what was to be done; the run is over; or it did not come to it in time, then it was not done.</exception>
    public T Do<T>(Func<ControlledRun, T> what)
    {
        T? result = default;
        Order order = new(run => result = what(run));
        lock (_gate)
        {
            if (_isClosed)
                throw Ended();
            _orders.Enqueue(order);
            long patienceEnds = Environment.TickCount64 + (long)patience.TotalMilliseconds;
            while (order.State is OrderState.Waiting or OrderState.Taken)
            {
                long left = patienceEnds - Environment.TickCount64;
                if (order.State == OrderState.Waiting && left <= 0)
                {
                    order.State = OrderState.Withdrawn;
                    throw new ControlException(ControlCode.Busy, $"The run did not get to it within {patience.TotalSeconds:0} s, so nothing was changed: it is building its domains or ending. Try again.");
                }

                _ = Monitor.Wait(_gate, (int)Math.Clamp(left, 1, 1000));
            }
        }

        if (order.State == OrderState.Withdrawn)
            throw Ended();
        order.Failure?.Throw();
        return result!;
    }

    /// <summary>Does what waits; the run's thread.</summary>
    /// <param name="run">The run.</param>
    /// <param name="before">Called before the first thing that is done.</param>
    public void Serve(ControlledRun run, Action before)
    {
        for (bool first = true; Take() is { } order; first = false)
        {
            if (first)
                before();
            order.Do(run);
            lock (_gate)
            {
                order.State = OrderState.Done;
                Monitor.PulseAll(_gate);
            }
        }
    }

    /// <summary>The run is over: nobody is served any more.</summary>
    public void Close()
    {
        lock (_gate)
        {
            _isClosed = true;
            while (_orders.TryDequeue(out Order? order))
                order.State = OrderState.Withdrawn;
            Monitor.PulseAll(_gate);
        }
    }

    private static ControlException Ended() => new(ControlCode.Ended, "The run is over.");

    private Order? Take()
    {
        lock (_gate)
        {
            while (_orders.TryDequeue(out Order? order))
            {
                if (order.State != OrderState.Waiting)
                    continue;
                order.State = OrderState.Taken;
                return order;
            }

            return null;
        }
    }

    private enum OrderState
    {
        Waiting,
        Taken,
        Done,
        Withdrawn,
    }

    private sealed class Order(Action<ControlledRun> action)
    {
        public OrderState State { get; set; }

        public ExceptionDispatchInfo? Failure { get; private set; }

        public void Do(ControlledRun run)
        {
            try
            {
                action(run);
            }
            catch (Exception exception)
            {
                Failure = ExceptionDispatchInfo.Capture(exception);
            }
        }
    }
}
