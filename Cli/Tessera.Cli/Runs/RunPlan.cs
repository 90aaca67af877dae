using System.Diagnostics;
using Tessera.Cli.Configuration;
using Tessera.Cli.Terminal;
using Tessera.Lab.Recording;
using Tessera.Lab.Reports;
using Tessera.Sdk;
using Tessera.Sdk.Plugins;

namespace Tessera.Cli.Runs;

/// <summary>What a session does, all looked up.</summary>
internal sealed record RunPlan
{
    /// <summary>The domains, in order.</summary>
    public required IReadOnlyList<DomainPlan> Domains { get; init; }

    /// <summary>How long to measure; <see cref="Nanoseconds.Never"/> until every domain has ended.</summary>
    public required Nanoseconds Duration { get; init; }

    /// <summary>When measuring begins; null when every domain is up.</summary>
    public required Nanoseconds? MeasureAfter { get; init; }

    /// <summary>How long to wait for that.</summary>
    public required Nanoseconds ReadyTimeout { get; init; }

    /// <summary>How many scheduling events of the window to record; 0 for none.</summary>
    public int RecordedEvents { get; init; }

    /// <summary>The most that the file of a domain's console keeps, when there is one.</summary>
    public ByteSize ConsoleLimit { get; init; } = ConfigurationKeys.DefaultConsoleLimit;
}

/// <summary>Time as a session sees it; a seam, so that tests need no real time.</summary>
internal interface IRunPacer
{
    /// <summary>Now, from some fixed moment.</summary>
    Nanoseconds Now { get; }

    /// <summary>Waits until an instant, or until the user wants to stop.</summary>
    /// <returns>Whether the user wants to stop.</returns>
    bool WaitUntil(Nanoseconds instant);
}

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

/// <summary>How a session is going.</summary>
/// <param name="IsMeasuring">False before the measured window.</param>
/// <param name="Elapsed">Time since the window's beginning, or since the machine's start before it.</param>
/// <param name="Total">How long that will take at most.</param>
/// <param name="Baseline">The reading that shares count from.</param>
/// <param name="Now">The reading of this moment.</param>
/// <param name="Expected">The expected shares so far, by domain.</param>
/// <param name="Consoles">The consoles, by domain.</param>
internal sealed record RunProgress(
    bool IsMeasuring, Nanoseconds Elapsed, Nanoseconds Total, MachineReading Baseline, MachineReading Now, double[] Expected, IReadOnlyList<ConsoleLog> Consoles);

/// <summary>What a session left behind.</summary>
internal sealed record RunRecord
{
    /// <summary>Completed, interrupted or failed.</summary>
    public required Results.RunOutcome Outcome { get; init; }

    /// <summary>What failed.</summary>
    public required IReadOnlyList<string> Failures { get; init; }

    /// <summary>The reading at the window's beginning.</summary>
    public required MachineReading Baseline { get; init; }

    /// <summary>The reading at its end.</summary>
    public required MachineReading Final { get; init; }

    /// <summary>What the host took from the physical CPUs in the window; null in virtual time and where the host keeps no such accounts.</summary>
    public Withheld? Withheld { get; init; }

    /// <summary>The expected shares of the window, by domain.</summary>
    public required double[] Expected { get; init; }

    /// <summary>What was changed from outside meanwhile, in order.</summary>
    public IReadOnlyList<RunChange> Changes { get; init; } = [];

    /// <summary>Domain numbers.</summary>
    public required IReadOnlyList<int> Ids { get; init; }

    /// <summary>Why each domain ended; null while it lived.</summary>
    public required IReadOnlyList<string?> ExitReasons { get; init; }

    /// <summary>The registers of those that crashed; null for the others.</summary>
    public required IReadOnlyList<IReadOnlyDictionary<string, string>?> CrashRegisters { get; init; }

    /// <summary>From each domain's start to its first user-space line.</summary>
    public required IReadOnlyList<Nanoseconds?> BootTimes { get; init; }

    /// <summary>The consoles, by domain.</summary>
    public required IReadOnlyList<ConsoleLog> Consoles { get; init; }

    /// <summary>Who ran where in the window; null when nobody asked or the window never began.</summary>
    public ScheduleRecording? Recording { get; init; }

    /// <summary>Traps and hypercalls through the window; empty when nothing was recorded or nobody trapped.</summary>
    public IReadOnlyList<CounterSample> Counters { get; init; } = [];
}
