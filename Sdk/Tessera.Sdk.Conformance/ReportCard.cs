using Tessera.Sdk.Conformance.Scenarios;

namespace Tessera.Sdk.Conformance;

/// <summary>What a conformance suite found out about a plugin.</summary>
/// <param name="Plugin">The plugin's name.</param>
/// <param name="Checks">One result for each check, in the suite's order.</param>
public sealed record ReportCard(string Plugin, IReadOnlyList<CheckResult> Checks)
{
    /// <summary>Whether no check failed.</summary>
    public bool Passed => Checks.All(static check => check.Outcome != CheckOutcome.Failed);
}

/// <summary>How a check ended.</summary>
public enum CheckOutcome
{
    /// <summary>What is promised holds.</summary>
    Passed,

    /// <summary>It does not.</summary>
    Failed,

    /// <summary>The plugin does not promise or offer it, so nothing was checked.</summary>
    NotDeclared,
}

/// <summary>One check's result.</summary>
/// <param name="Check">The check's name.</param>
/// <param name="Outcome">How it ended.</param>
/// <param name="Detail">What was found: figures, or the failure as a sentence.</param>
/// <param name="Scenario">The smallest failing scenario found, to be written to a file and replayed; null when the check has none.</param>
public sealed record CheckResult(string Check, CheckOutcome Outcome, string Detail, Scenario? Scenario = null)
{
    /// <summary>What ended the check that the check itself did not ask for; null mostly.</summary>
    public Exception? Exception { get; init; }
}

/// <summary>One check of the suite.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Summary">What it checks, one sentence.</param>
public sealed record CheckInfo(string Name, string Summary);

/// <summary>How thorough the suite is.</summary>
public sealed record ConformanceOptions
{
    /// <summary>Random scenarios for each random check.</summary>
    public int Scenarios { get; init; } = 150;

    /// <summary>Steps of the longest scenario.</summary>
    public int Steps { get; init; } = 120;

    /// <summary>The seed of the random scenarios: the same seed gives the same scenarios.</summary>
    public long Seed { get; init; } = 1;

    /// <summary>vCPUs of the largest machine on which the cost of decisions is measured.</summary>
    public int MostVcpus { get; init; } = 10_000;

    /// <summary>After how long a check is given up because the plugin does not come back.</summary>
    public TimeSpan HangLimit { get; init; } = TimeSpan.FromMinutes(3);
}
