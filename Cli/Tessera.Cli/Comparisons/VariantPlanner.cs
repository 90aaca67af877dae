using Tessera.Cli.Composition;
using Tessera.Cli.Configuration;
using Tessera.Lab.Comparisons;

namespace Tessera.Cli.Comparisons;

/// <summary>
/// Which schedulers are run with which values: every scheduler with every combination, each read and looked up once, so that what is wrong is said
/// before anything runs. A value that one scheduler takes and another does not is left out for that other; a factor of which it takes no value
/// is left as configured there.
/// </summary>
internal sealed class VariantPlanner(CliHost host, ExperimentPlanner planner, HostResources resources)
{
    /// <summary>The option whose edits a scheduler may not be able to take.</summary>
    private const string Vary = "--vary ";

    /// <summary>The variants, cell by cell.</summary>
    /// <exception cref="ConfigurationException">Something is wrong with the configuration whatever the scheduler.</exception>
    /// <exception cref="UsageException">Two schedulers have one label.</exception>
    public IReadOnlyList<CompareVariant> Plan(CompareRequest request, Experiment configured)
    {
        IReadOnlyList<IReadOnlyList<FactorValue>> cells = FactorialDesign.Cells(request.Factors);
        SchedulerChoice[] schedulers = request.Schedulers.Count == 0 ? [new(null, null)] : [.. request.Schedulers];
        List<CompareVariant> good = [];
        List<(SchedulerChoice Scheduler, IReadOnlyList<FactorValue> Cell, ConfigurationException Why)> bad = [];
        foreach (SchedulerChoice scheduler in schedulers)
        {
            foreach (IReadOnlyList<FactorValue> cell in cells)
                Try(request, configured, scheduler, cell, good, bad);
        }

        foreach ((SchedulerChoice scheduler, IReadOnlyList<FactorValue> cell, ConfigurationException why) in bad)
        {
            // What nobody can take is a mistake, as is anything that is not a varied value's fault.
            bool isValues = why.Errors.All(error => error.Position.Source.StartsWith(Vary, StringComparison.Ordinal));
            if (isValues && cell.All(value => good.Exists(variant => variant.Cell.Contains(value))))
                continue;
            host.Error.WriteLine($"tessera: with {Title(scheduler, configured, cell)}:");
            throw why;
        }

        foreach (IGrouping<SchedulerChoice, IReadOnlyList<FactorValue>> left in bad.GroupBy(item => item.Scheduler, item => item.Cell))
            LeaveOut(request, configured, left.Key, [.. left], good);
        string[] labels = [.. schedulers.Select(scheduler => good.FirstOrDefault(variant => variant.Choice == scheduler)?.Label).OfType<string>()];
        if (labels.GroupBy(label => label).FirstOrDefault(same => same.Count() > 1) is { } twice)
            throw new UsageException($"--scheduler: {twice.Count()} schedulers are called \"{twice.Key}\". Name them: {twice.Key}-1=./one.dll,{twice.Key}-2=./other.dll.");
        IReadOnlyList<FactorValue>[] order = [.. cells.Concat(good.Select(variant => variant.Cell)).DistinctBy(FactorialDesign.Title)];
        return [.. order.SelectMany(cell => good.Where(variant => variant.Cell.SequenceEqual(cell)).OrderBy(variant => Array.IndexOf(schedulers, variant.Choice)))];
    }

    private static string Title(SchedulerChoice scheduler, Experiment configured, IReadOnlyList<FactorValue> cell) =>
        string.Join(", ", new[] { scheduler.Label ?? scheduler.Name ?? configured.Scheduler.Name, FactorialDesign.Title(cell) }.Where(part => part.Length > 0));

    /// <summary>Says what a scheduler does not take, and finds the combinations that are left of a factor it has not got.</summary>
    private void LeaveOut(
        CompareRequest request, Experiment configured, SchedulerChoice scheduler, IReadOnlyList<FactorValue>[] refused, List<CompareVariant> good)
    {
        string name = good.Find(variant => variant.Choice == scheduler)?.Label ?? scheduler.Label ?? scheduler.Name ?? configured.Scheduler.Name;
        bool Takes(IReadOnlyList<FactorValue> cell)
        {
            List<CompareVariant> taken = [];
            Try(request, configured, scheduler, cell, taken, []);
            return taken.Count > 0;
        }

        HashSet<string> missing =
        [
            .. request.Factors.Where(factor => !good.Exists(variant => variant.Choice == scheduler) && !factor.Values.Any(value => Takes([new FactorValue(factor.Path, value)]))).Select(factor => factor.Path),
        ];
        if (missing.Count == 0)
        {
            host.Error.WriteLine($"tessera: {name} cannot take {string.Join("; ", refused.Select(FactorialDesign.Title))}: left out.");
            return;
        }

        Factor[] rest = [.. request.Factors.Select(factor => missing.Contains(factor.Path) ? factor with { Values = [FactorialDesign.NotTaken] } : factor)];
        List<(SchedulerChoice, IReadOnlyList<FactorValue> Cell, ConfigurationException Why)> still = [];
        foreach (IReadOnlyList<FactorValue> cell in FactorialDesign.Cells(rest))
            Try(request, configured, scheduler, cell, good, still);
        host.Error.WriteLine($"tessera: {name} has no {string.Join(", ", missing)}: it runs without, in cells of its own.");
        foreach ((_, IReadOnlyList<FactorValue> cell, _) in still)
            host.Error.WriteLine($"tessera: {name} cannot take {FactorialDesign.Title(cell)}: left out.");
    }

    private void Try(
        CompareRequest request,
        Experiment configured,
        SchedulerChoice scheduler,
        IReadOnlyList<FactorValue> cell,
        List<CompareVariant> good,
        List<(SchedulerChoice, IReadOnlyList<FactorValue>, ConfigurationException)> bad)
    {
        string[] varied = [.. cell.Where(value => value.Value != FactorialDesign.NotTaken).Select(value => CompareArguments.EditOf(configured, value))];
        CompareVariant variant = new("", scheduler, cell, request.Edits, varied, request.Engine);
        try
        {
            using PreparedExperiment prepared = planner.Prepare(variant.Load(request.Config, resources));

            // Of a plugin of one's own the path is long and says little; its name is what it calls itself.
            bool isFile = scheduler.Name?.EndsWith(".dll", StringComparison.OrdinalIgnoreCase) ?? false;
            good.Add(variant with { Label = scheduler.Label ?? (isFile ? prepared.Plugins.Scheduler.Plugin.Info.Name : scheduler.Name) ?? prepared.Plugins.Scheduler.Plugin.Info.Name });
        }
        catch (ConfigurationException e)
        {
            bad.Add((scheduler, cell, e));
        }
    }
}
