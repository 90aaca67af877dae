using System.Runtime.ExceptionServices;

namespace Tessera.Sdk.Conformance;

/// <summary>
/// Holds plugins of one kind to their contract: checks that pass or fail by themselves, for whatever runs and shows them.
/// </summary>
public abstract class ConformanceSuite
{
    private readonly TimeSpan _hangLimit;

    private protected ConformanceSuite(string plugin, TimeSpan hangLimit) => (Plugin, _hangLimit) = (plugin, hangLimit);

    /// <summary>The plugin's name in the report.</summary>
    public string Plugin { get; }

    /// <summary>The checks, in the order of a report card.</summary>
    public abstract IReadOnlyList<CheckInfo> Checks { get; }

    /// <summary>Runs every check.</summary>
    /// <param name="progress">Told the name of each check before it runs.</param>
    public ReportCard Run(Action<string>? progress = null)
    {
        List<CheckResult> results = [];
        foreach (CheckInfo check in Checks)
        {
            progress?.Invoke(check.Name);
            results.Add(RunCheck(check.Name));
        }

        return new(Plugin, results);
    }

    /// <summary>Runs one check, on a thread of its own: a plugin that never comes back fails it instead of stopping the suite.</summary>
    /// <param name="name">One of <see cref="Checks"/>.</param>
    /// <exception cref="ArgumentException">There is no such check.</exception>
    /// <exception cref="Sdk.Cpu.EngineException">The plugin cannot work on this host.</exception>
    public CheckResult RunCheck(string name)
    {
        if (Checks.All(check => check.Name != name))
        {
            string names = string.Join(", ", Checks.Select(static check => check.Name));
            throw new ArgumentException($"There is no check {name}; there are {names}.");
        }

        CheckResult? result = null;
        ExceptionDispatchInfo? failure = null;
        Thread runner = new(() =>
        {
            try
            {
                result = Carry(name);
            }
            catch (Exception exception)
            {
                failure = ExceptionDispatchInfo.Capture(exception);
            }
        })
        {
            IsBackground = true,
            Name = $"conformance {name}",
        };
        runner.Start();
        if (!runner.Join(_hangLimit))
        {
            string limit = $"{_hangLimit.TotalSeconds:0} s";
            return new(name, CheckOutcome.Failed, $"the plugin did not come back within {limit}: a call of it blocks or loops");
        }

        if (failure?.SourceException is Sdk.Cpu.EngineException)
            failure.Throw();
        return failure?.SourceException is { } thrown
            ? new(name, CheckOutcome.Failed, $"{thrown.GetType().Name}: {thrown.Message}") { Exception = thrown }
            : result!;
    }

    /// <summary>Carries a check out on the calling thread.</summary>
    private protected abstract CheckResult Carry(string name);
}
