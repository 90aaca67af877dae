using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using Tessera.Experiments.Configuration;
using Tessera.Experiments.Planning;
using Tessera.Experiments.Runs;
using Tessera.Sdk;

namespace Tessera.Cli.Control.Commands;

/// <summary>`ctl set domain.web.weight=512`: a domain's weight, affinity, or option of the scheduler. All edits of one command are checked before the first is made.</summary>
internal sealed class SetCommand : IControlCommand
{
    private const string Edits = "edits";
    private const string Prefix = "domain.";
    private const string WeightEnd = ".weight";
    private const string AffinityEnd = ".affinity";
    private const string SchedulerPart = ".scheduler.";
    private const string Form = "What can be set: domain.NAME.weight=512, domain.NAME.affinity=0,1 (or all), domain.NAME.scheduler.OPTION=VALUE; \"*\" for NAME means all. A scheduler's own options are given with `ctl swap-scheduler NAME --set key=value`.";

    /// <inheritdoc/>
    public string Name => "set";

    /// <inheritdoc/>
    public Command Build(ControlClient client)
    {
        Argument<string[]> edits = new("edit")
        {
            Description = "domain.NAME.weight=512, domain.NAME.affinity=0,1 or domain.NAME.scheduler.OPTION=VALUE; \"*\" for NAME means all domains.",
            HelpName = "path=value",
            Arity = ArgumentArity.OneOrMore,
        };
        Command set = new(Name, "Change domains' weight, affinity or scheduler options.") { edits };
        set.SetAction(parsed => client.Ask(parsed, Name, new JsonObject { [Edits] = new JsonArray([.. parsed.GetRequiredValue(edits).Select(edit => JsonValue.Create(edit))]) }));
        return set;
    }

    /// <inheritdoc/>
    public ControlAnswer Run(ControlDesk desk, JsonElement arguments)
    {
        IReadOnlyList<string> edits = ControlArguments.Texts(arguments, Edits);
        if (edits.Count == 0)
            throw new ControlException(ControlCode.BadRequest, $"There is nothing to set. {Form}");
        return desk.Do(run => Apply(run, edits));
    }

    private ControlAnswer Apply(ControlledRun run, IReadOnlyList<string> edits)
    {
        Dictionary<int, Change> changes = [];
        List<string> problems = [];
        foreach (string edit in edits)
            Read(run, edit, changes, problems);
        SchedulerOptions.Require(problems);
        List<string> said = [];
        foreach ((int index, Change change) in changes.OrderBy(pair => pair.Key))
        {
            DomainPlan plan = run.Plans[index];
            run.Domains[index].Adjust(change.Weight, change.Options, change.Affinity);
            (plan.Weight, plan.SchedulerOptions, plan.Affinity) = (change.Weight ?? plan.Weight, change.Options ?? plan.SchedulerOptions, change.Affinity ?? plan.Affinity);
            string what = $"domain {plan.Name}: {string.Join(", ", change.Said)}";
            run.Note(Name, what);
            said.Add(what);
        }

        return new ControlAnswer(string.Join("; ", said) + ".", new JsonObject { ["changes"] = new JsonArray([.. said.Select(what => JsonValue.Create(what))]) });
    }

    private static void Read(ControlledRun run, string edit, Dictionary<int, Change> changes, List<string> problems)
    {
        int equals = edit.IndexOf('=', StringComparison.Ordinal);
        string path = equals < 0 ? "" : edit[..equals].Trim();
        string value = edit[(equals + 1)..].Trim();
        int option = path.LastIndexOf(SchedulerPart, StringComparison.Ordinal);
        int end = path.EndsWith(WeightEnd, StringComparison.Ordinal) ? path.Length - WeightEnd.Length
            : path.EndsWith(AffinityEnd, StringComparison.Ordinal) ? path.Length - AffinityEnd.Length
            : option;
        if (option >= Prefix.Length)
            end = option;
        if (!path.StartsWith(Prefix, StringComparison.Ordinal) || end <= Prefix.Length)
            throw new ControlException(ControlCode.BadRequest, $"\"{edit}\" cannot be set. {Form}");
        foreach (int index in run.Find(path[Prefix.Length..end]))
        {
            if (run.Domains[index].Phase.HasEnded())
            {
                if (path[Prefix.Length..end] != "*")
                    throw new ControlException(ControlCode.WrongState, $"Domain {run.Plans[index].Name} is {run.Domains[index].Phase.Word()}: none of its parameters can be set.");
                continue;
            }

            if (!changes.TryGetValue(index, out Change? change))
                changes[index] = change = new Change();
            if (end == option)
                ReadOption(run, index, path[(option + SchedulerPart.Length)..], value, change, problems);
            else if (path.EndsWith(WeightEnd, StringComparison.Ordinal))
                ReadWeight(run.Plans[index], path, value, change, problems);
            else
                ReadAffinity(run, run.Plans[index], path, value, change, problems);
        }
    }

    private static void ReadWeight(DomainPlan plan, string path, string value, Change change, List<string> problems)
    {
        if (!int.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out int weight)
            || weight is < DomainSettings.MinWeight or > DomainSettings.MaxWeight)
        {
            problems.Add($"{path}={value}: a weight is a whole number from {DomainSettings.MinWeight} to {DomainSettings.MaxWeight}");
            return;
        }

        change.Weight = weight;
        change.Said.Add($"weight {plan.Weight} → {weight}");
    }

    private static void ReadAffinity(ControlledRun run, DomainPlan plan, string path, string value, Change change, List<string> problems)
    {
        int pcpus = run.Machine.HostCpus.Count;
        if (value == DomainSettings.All)
        {
            change.Affinity = CpuSet.All;
        }
        else
        {
            List<int> indexes = [];
            foreach (string part in value.Trim('[', ']').Split(',', StringSplitOptions.TrimEntries))
            {
                if (!int.TryParse(part, NumberStyles.None, CultureInfo.InvariantCulture, out int index) || index >= pcpus)
                {
                    string wanted = $"\"{DomainSettings.All}\" or indexes of the machine's pCPUs, 0 to {pcpus - 1}, such as 0,1";
                    problems.Add($"{path}={value}: an affinity is {wanted}");
                    return;
                }

                indexes.Add(index);
            }

            change.Affinity = CpuSet.Of([.. indexes]);
        }

        change.Said.Add($"affinity {plan.Affinity} → {change.Affinity}");
    }

    private static void ReadOption(ControlledRun run, int index, string key, string value, Change change, List<string> problems)
    {
        DomainPlan plan = run.Plans[index];
        if (run.IsFallbackInCharge)
            throw new ControlException(ControlCode.Refused, $"{run.Scheduler.Title} was ejected and the fallback is in charge, which has no per-domain options. Put another scheduler in charge with `ctl swap-scheduler`.");
        Type? type = run.Scheduler.Plugin.DomainOptionsType;
        JsonObject written = type is null ? [] : SchedulerOptions.Written(type, change.Options ?? plan.SchedulerOptions);
        string before = written[key]?.ToString() ?? "";
        written[key] = SchedulerOptions.Typed(value);
        int found = problems.Count;
        object? options = SchedulerOptions.Bind(type, written, $"domain.{plan.Name}.scheduler", problems);
        if (problems.Count > found || type is null)
            return;
        change.Options = options;
        change.Said.Add($"scheduler.{key} {before} → {SchedulerOptions.Written(type, options)[key]}");
    }

    private sealed class Change
    {
        public int? Weight { get; set; }

        public object? Options { get; set; }

        public CpuSet? Affinity { get; set; }

        public List<string> Said { get; } = [];
    }
}
