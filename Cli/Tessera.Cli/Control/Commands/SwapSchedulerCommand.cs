using System.CommandLine;
using System.Text.Json;
using System.Text.Json.Nodes;
using Tessera.Experiments.Planning;
using Tessera.Hosting;
using Tessera.Sdk.Plugins;
using Tessera.Sdk.Scheduling;

namespace Tessera.Cli.Control.Commands;

/// <summary>
/// `ctl swap-scheduler NAME-or-DLL`: another scheduler takes over while the guests go on, also a new build of the same DLL. Everything that can
/// be refused is refused before anything changes; loading and making it happens beside the run.
/// </summary>
internal sealed class SwapSchedulerCommand(PluginCatalog catalog, IServiceProvider services) : IControlCommand
{
    private const string Plugin = "plugin";
    private const string Options = "options";

    /// <inheritdoc/>
    public string Name => "swap-scheduler";

    /// <inheritdoc/>
    public Command Build(ControlClient client)
    {
        Argument<string> plugin = new("scheduler") { Description = "The scheduler plugin, by name or by the path of its DLL.", HelpName = "NAME-or-DLL" };
        Option<string[]> set = new("--set") { Description = "One of its options: slice=5ms. May be given several times; the others have their defaults.", HelpName = "key=value", AllowMultipleArgumentsPerToken = false };
        set.Validators.Add(result =>
        {
            foreach (string value in result.Tokens.Select(token => token.Value).Where(value => value.IndexOf('=', StringComparison.Ordinal) < 1))
                result.AddError($"--set {value}: an option is key=value, such as slice=5ms.");
        });
        Command swap = new(Name, "Put another scheduler in charge; the guests go on.") { plugin, set };
        swap.SetAction(parsed =>
        {
            string named = parsed.GetRequiredValue(plugin);
            JsonObject options = [];
            foreach (string edit in parsed.GetValue(set) ?? [])
            {
                int equals = edit.IndexOf('=', StringComparison.Ordinal);
                options[edit[..equals].Trim()] = SchedulerOptions.Typed(edit[(equals + 1)..].Trim());
            }

            // The machine's process may stand in another folder.
            bool isPath = named.Contains('/', StringComparison.Ordinal) || named.EndsWith(".dll", StringComparison.OrdinalIgnoreCase);
            return client.Ask(parsed, Name, new JsonObject { [Plugin] = isPath ? Path.GetFullPath(named) : named, [Options] = options });
        });
        return swap;
    }

    /// <inheritdoc/>
    public ControlAnswer Run(ControlDesk desk, JsonElement arguments)
    {
        string named = ControlArguments.Text(arguments, Plugin);
        JsonObject options = arguments.TryGetProperty(Options, out JsonElement given) && given.ValueKind == JsonValueKind.Object ? JsonNode.Parse(given.GetRawText())!.AsObject() : [];
        Present present = desk.Do(Look);
        LoadedPlugin plugin = catalog.Load(named, PluginKind.Scheduler);
        bool handedOver = false;
        try
        {
            List<string> problems = [];
            ChosenPlugin chosen = new(plugin, SchedulerOptions.Bind(plugin.OptionsType, options, Options, problems));

            // A new build of the same plugin keeps what its domains were given; another plugin's options mean nothing to it.
            bool same = plugin.Info.Name == present.Plugin && plugin.DomainOptionsType is not null;
            object?[] domains = [.. present.Domains.Select(domain => same && domain.Options is { } written
                ? SchedulerOptions.Bind(plugin.DomainOptionsType, written, $"domain.{domain.Name}.scheduler", problems)
                : null)];
            SchedulerOptions.Require(problems);
            IScheduler scheduler = chosen.Create<IScheduler>(services);
            string? evidence = desk.Do(run =>
            {
                handedOver = true;
                return run.Swap(chosen, scheduler, domains);
            });
            return evidence is null
                ? new ControlAnswer($"{chosen.Title} is in charge, {present.InCharge} is gone.", new JsonObject { ["from"] = present.InCharge, ["to"] = chosen.Title })
                : throw new ControlException(ControlCode.Ejected, $"{chosen.Title} failed while it took over; the fallback is in charge and the guests go on. {evidence}");
        }
        finally
        {
            if (!handedOver)
                plugin.Dispose();
        }
    }

    private static Present Look(ControlledRun run)
    {
        Type? type = run.Scheduler.Plugin.DomainOptionsType;
        return new Present(
            run.Scheduler.Plugin.Info.Name,
            run.Machine.SchedulerName,
            [.. run.Plans.Select(plan => (plan.Name, type is null || plan.SchedulerOptions is null ? null : SchedulerOptions.Written(type, plan.SchedulerOptions)))]);
    }

    private sealed record Present(string Plugin, string InCharge, IReadOnlyList<(string Name, JsonObject? Options)> Domains);
}
