using Tessera.Experiments.Planning;
using Tessera.Experiments.Runs;
using Tessera.Hosting;
using Tessera.Sdk.Scheduling;

namespace Tessera.Cli.Control;

/// <summary>A run as commands see it; only the run's own thread touches it.</summary>
/// <param name="prepared">What runs: its plan always says what is in force.</param>
/// <param name="machine">The machine.</param>
/// <param name="domains">Its domains, as in the plan.</param>
/// <param name="consoles">Their consoles.</param>
internal sealed class ControlledRun(PreparedExperiment prepared, IRunMachine machine, IReadOnlyList<IRunDomain> domains, IReadOnlyList<ConsoleFan> consoles)
{
    private const int NamesShown = 20;
    private readonly List<RunChange> _changes = [];

    /// <summary>What runs.</summary>
    public PreparedExperiment Prepared => prepared;

    /// <summary>The machine.</summary>
    public IRunMachine Machine => machine;

    /// <summary>The domains.</summary>
    public IReadOnlyList<IRunDomain> Domains => domains;

    /// <summary>Their consoles.</summary>
    public IReadOnlyList<ConsoleFan> Consoles => consoles;

    /// <summary>The domains' plans: names, and the parameters in force.</summary>
    public IReadOnlyList<DomainPlan> Plans => prepared.Plan.Domains;

    /// <summary>The scheduler that was put in charge last; the fallback may have replaced it (<see cref="IsFallbackInCharge"/>).</summary>
    public ChosenPlugin Scheduler => prepared.Plugins.Scheduler;

    /// <summary>Whether the scheduler was ejected.</summary>
    public bool IsFallbackInCharge => machine.SchedulerName != Scheduler.Title;

    /// <summary>What was changed so far.</summary>
    public IReadOnlyList<RunChange> Changes => _changes;

    /// <summary>Writes down a change.</summary>
    public void Note(string command, string what) => _changes.Add(new RunChange(machine.Now, "ctl", command, what));

    /// <summary>The indexes of the domains that a name means: one, or all for "*".</summary>
    /// <exception cref="ControlException">There is none.</exception>
    public IReadOnlyList<int> Find(string name)
    {
        if (name == "*")
            return [.. Enumerable.Range(0, Plans.Count)];
        for (int index = 0; index < Plans.Count; index++)
        {
            if (Plans[index].Name == name)
                return [index];
        }

        string[] names = [.. Plans.Select(plan => plan.Name)];
        string nearest = Suggestion.Nearest(name, names) is { } near ? $" Did you mean \"{near}\"?" : "";
        string more = names.Length > NamesShown ? $" and {names.Length - NamesShown} more" : "";
        throw new ControlException(ControlCode.UnknownDomain, $"There is no domain \"{name}\".{nearest} The domains are {string.Join(", ", names.Take(NamesShown))}{more}; \"*\" means all.");
    }

    /// <summary>
    /// Puts another scheduler in charge and lets the one before go. From here on the plugin belongs to the run, also when it fails.
    /// </summary>
    /// <param name="chosen">The plugin and its options.</param>
    /// <param name="scheduler">The instance.</param>
    /// <param name="options">Each domain's options record, by index.</param>
    /// <returns>Null, or why the fallback is in charge instead.</returns>
    public string? Swap(ChosenPlugin chosen, IScheduler scheduler, object?[] options)
    {
        string before = machine.SchedulerName;
        for (int index = 0; index < options.Length; index++)
            Plans[index].SchedulerOptions = options[index];
        string? evidence = machine.SwapScheduler(scheduler, chosen.Title, domains.Select((domain, index) => (domain.Id, options[index])).ToDictionary());
        ChosenPlugin old = prepared.Plugins.Scheduler;
        prepared.Plugins.Scheduler = chosen;
        old.Plugin.Dispose();
        Note("swap-scheduler", evidence is null ? $"scheduler {before} → {chosen.Title}" : $"scheduler {before} → {chosen.Title}, which failed at once: {evidence}");
        return evidence;
    }
}
