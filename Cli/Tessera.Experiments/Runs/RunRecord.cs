using Tessera.Experiments.Hosts;
using Tessera.Lab.Recording;
using Tessera.Lab.Reports;
using Tessera.Lab.Results;
using Tessera.Sdk;

namespace Tessera.Experiments.Runs;

/// <summary>How a session is going.</summary>
/// <param name="IsMeasuring">False before the measured window.</param>
/// <param name="Elapsed">Time since the window's beginning, or since the machine's start before it.</param>
/// <param name="Total">How long that will take at most.</param>
/// <param name="Baseline">The reading that shares count from.</param>
/// <param name="Now">The reading of this moment.</param>
/// <param name="Expected">The expected shares so far, by domain.</param>
/// <param name="Consoles">The consoles, by domain.</param>
public sealed record RunProgress(
    bool IsMeasuring, Nanoseconds Elapsed, Nanoseconds Total, MachineReading Baseline, MachineReading Now, double[] Expected, IReadOnlyList<ConsoleLog> Consoles);

/// <summary>What a session left behind.</summary>
public sealed record RunRecord
{
    /// <summary>Completed, interrupted or failed.</summary>
    public required RunOutcome Outcome { get; init; }

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
