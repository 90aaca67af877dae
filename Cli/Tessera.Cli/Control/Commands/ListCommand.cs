using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using Spectre.Console;
using Tessera.Cli.Terminal;
using Tessera.Experiments.Planning;
using Tessera.Experiments.Runs;

namespace Tessera.Cli.Control.Commands;

/// <summary>`ctl list`: the machine, its scheduler and its domains with the parameters in force.</summary>
internal sealed class ListCommand : IControlCommand
{
    /// <inheritdoc/>
    public string Name => "list";

    /// <inheritdoc/>
    public Command Build(ControlClient client)
    {
        Command list = new(Name, "Show the machine's scheduler, its domains and their parameters.");
        list.SetAction(parsed => client.Ask(parsed, Name, [], Show, ControlEffect.Looks));
        return list;
    }

    /// <inheritdoc/>
    public ControlAnswer Run(ControlDesk desk, JsonElement arguments) => desk.Do(Describe);

    private static ControlAnswer Describe(ControlledRun run)
    {
        MachineReading reading = run.Machine.Read();
        JsonArray domains = [];
        for (int index = 0; index < run.Plans.Count; index++)
        {
            DomainPlan plan = run.Plans[index];
            domains.Add((JsonNode)new JsonObject
            {
                ["name"] = plan.Name,
                ["id"] = run.Domains[index].Id,
                ["guest"] = plan.Guest,
                ["state"] = reading.Domains[index].Phase.Word(),
                ["weight"] = plan.Weight,
                ["affinity"] = plan.Affinity.ToString(),
                ["scheduler"] = run.IsFallbackInCharge || run.Scheduler.Plugin.DomainOptionsType is null ? null : SchedulerOptions.Written(run.Scheduler.Plugin.DomainOptionsType, plan.SchedulerOptions),
                ["cpuSeconds"] = reading.Domains[index].Running.TotalSeconds,
            });
        }

        JsonArray changes = [.. run.Changes.Select(change => new JsonObject
        {
            ["atSeconds"] = change.At.TotalSeconds,
            ["by"] = change.By,
            ["command"] = change.Command,
            ["what"] = change.What,
        })];
        return new ControlAnswer($"{run.Plans.Count} domains under {run.Machine.SchedulerName}.", new JsonObject
        {
            ["process"] = Environment.ProcessId,
            ["engine"] = run.Machine.Engine.Name,
            ["atSeconds"] = reading.At.TotalSeconds,
            ["scheduler"] = run.Machine.SchedulerName,
            ["schedulerOptions"] = run.IsFallbackInCharge || run.Scheduler.Options is null ? null : SchedulerOptions.Written(run.Scheduler.Options.GetType(), run.Scheduler.Options),
            ["ejected"] = reading.SchedulerEjected,
            ["domains"] = domains,
            ["changes"] = changes,
        });
    }

    private static void Show(CliHost host, JsonElement result)
    {
        string options = Options(result.GetProperty("schedulerOptions"));
        host.Out.WriteLine($"process {result.GetProperty("process")}, engine {result.GetProperty("engine")}, {result.GetProperty("atSeconds").GetDouble().ToString("0.00", CultureInfo.InvariantCulture)} s");
        host.Out.WriteLine($"scheduler {result.GetProperty("scheduler").GetString()}{(options.Length == 0 ? "" : $" ({options})")}");
        if (result.GetProperty("ejected") is { ValueKind: JsonValueKind.String } ejected)
            host.Out.WriteLine($"the fallback is in charge: {ejected.GetString()}");
        Table table = new Table().Border(TableBorder.Simple);
        table.AddColumns("domain", "id", "guest", "state", "weight", "affinity", "cpu s", "scheduler");
        foreach (JsonElement domain in result.GetProperty("domains").EnumerateArray())
        {
            table.AddRow(
                new Text(domain.GetProperty("name").GetString()!),
                new Text(domain.GetProperty("id").ToString()),
                new Text(domain.GetProperty("guest").GetString()!),
                new Text(domain.GetProperty("state").GetString()!),
                new Text(domain.GetProperty("weight").ToString()),
                new Text(domain.GetProperty("affinity").GetString()!),
                new Text(domain.GetProperty("cpuSeconds").GetDouble().ToString("0.00", CultureInfo.InvariantCulture)),
                new Text(Options(domain.GetProperty("scheduler"))));
        }

        host.OutConsole.Write(table);
        foreach (JsonElement change in result.GetProperty("changes").EnumerateArray())
            host.Out.WriteLine($"  {change.GetProperty("atSeconds").GetDouble().ToString("0.00", CultureInfo.InvariantCulture)} s, {change.GetProperty("by").GetString()}: {change.GetProperty("what").GetString()}");
    }

    private static string Options(JsonElement options) =>
        options.ValueKind != JsonValueKind.Object ? "" : string.Join(", ", options.EnumerateObject().Select(option => $"{option.Name} {option.Value}"));
}
