using Tessera.Experiments.Configuration;
using Tessera.Sdk;
using Tessera.Sdk.Plugins;

namespace Tessera.Experiments.Planning;

/// <summary>What a session does, all looked up.</summary>
public sealed record RunPlan
{
    /// <summary>Scheduling events that a recorded window keeps: 24 MB at most, and twenty minutes of a hundred busy domains on two physical CPUs.</summary>
    public const int MostRecordedEvents = 1_000_000;

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
    public ByteSize ConsoleLimit { get; init; } = new MachineSettings().ConsoleLimit;
}
