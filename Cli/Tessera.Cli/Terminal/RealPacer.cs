using System.Diagnostics;
using Tessera.Experiments.Hosts;
using Tessera.Sdk;

namespace Tessera.Cli.Terminal;

/// <summary>Real time and the process's signals.</summary>
internal sealed class RealPacer(StopSignals stop) : IRunPacer
{
    public Nanoseconds Now => new((long)(Stopwatch.GetTimestamp() * (1e9 / Stopwatch.Frequency)));

    public bool WaitUntil(Nanoseconds instant)
    {
        // The wait's unit is a millisecond and it may end early by one: the last stretch is waited for in the same way until it is over.
        while (!stop.IsRequested)
        {
            Nanoseconds left = instant - Now;
            if (left <= Nanoseconds.Zero)
                return false;
            _ = stop.Wait(TimeSpan.FromMilliseconds(Math.Clamp(Math.Ceiling(left.TotalMilliseconds), 1, 60_000)));
        }

        return true;
    }
}
