using System.CommandLine;
using System.Text.Json;
using System.Text.Json.Serialization;
using Spectre.Console;
using Tessera.Hosting;
using Tessera.Lab.Folders;
using Tessera.Sdk.Conformance;
using Tessera.Sdk.Conformance.Scenarios;
using Tessera.Sdk.Plugins;

namespace Tessera.Cli.Verbs;

/// <summary>`tessera plugins check`: the conformance suite for a plugin's kind, as a report card.</summary>
internal sealed class PluginCheckCommand(CliHost host, PluginCatalog catalog, IServiceProvider services)
{
    /// <summary>The command.</summary>
    public Command Build()
    {
        Argument<string> plugin = new("plugin") { Description = "The plugin, by name or by its DLL's path.", HelpName = "NAME-or-DLL" };
        Option<bool> json = CommonOptions.Json("the report card");
        Option<string?> options = new("--options")
        {
            Description = "The plugin's options, as an experiment has them: '{\"path\": \"disk.img\"}'. What a disk holds is lost.",
            HelpName = "JSON",
        };
        Option<int?> scenarios = new("--scenarios")
        {
            Description = "Random cases for each random check (150 unless given, 60 on a disk).",
            HelpName = "N",
        };
        scenarios.Validators.Add(result =>
        {
            if (result.Tokens.Count > 0 && (!int.TryParse(result.Tokens[0].Value, out int count) || count < 1))
                result.AddError($"--scenarios {result.Tokens[0].Value}: a number from 1 on.");
        });
        Option<long> seed = new("--seed") { Description = "Seed of the random cases.", HelpName = "N", DefaultValueFactory = _ => 1 };
        Option<string?> replay = new("--replay")
        {
            Description = "Carry out the scenario of this file instead, such as one that a scheduler's failed check printed.",
            HelpName = "FILE",
        };
        Option<string?> output = new("--out") { Description = "Write the smallest failing scenario of each failed check into this folder, NAME-CHECK.scenario.", HelpName = "DIR" };
        Command check = new("check", "Check whether a plugin keeps the rules of its kind, and a scheduler its promises: a report card.")
        {
            plugin, json, options, scenarios, seed, replay, output,
        };
        check.SetAction(parsed => Check(
            parsed.GetRequiredValue(plugin),
            parsed.GetValue(options),
            usual => usual with { Scenarios = parsed.GetValue(scenarios) ?? usual.Scenarios, Seed = parsed.GetValue(seed) },
            parsed.GetValue(replay),
            parsed.GetValue(output),
            parsed.GetValue(json)));
        return check;
    }

    private int Check(
        string name, string? options, Func<ConformanceOptions, ConformanceOptions> thorough, string? replay, string? output, bool json)
    {
        using LoadedPlugin plugin = catalog.Load(name, kind: null);
        using PluginSuites suites = new(catalog, services);
        ConformanceSuite suite = suites.Make(plugin, Options(plugin, options), thorough);
        ReportCard card = replay is null
            ? suite.Run(json ? null : check => host.Error.WriteLine($"tessera: checking {check}…"))
            : new ReportCard(plugin.Info.Name, [Replay(suite, replay)]);
        if (json)
            host.Out.WriteLine(JsonSerializer.Serialize(Document(plugin.Info, suite, card), ReportCardJson.Context.ReportCardDocument));
        else
            Show(plugin.Info, card);
        if (output is not null)
            Write(output, card);
        return card.Passed ? ExitCode.Good : ExitCode.Failed;
    }

    private static object? Options(LoadedPlugin plugin, string? options)
    {
        List<ConfigurationProblem> problems = [];
        try
        {
            using JsonDocument? document = options is null ? null : JsonDocument.Parse(options);
            object? bound = OptionBinder.Bind(plugin.OptionsType, document?.RootElement ?? default, "", problems);
            return problems.Count == 0 ? bound : throw new UsageException($"--options: {string.Join(" ", problems)}");
        }
        catch (JsonException e)
        {
            throw new UsageException($"--options: this is no JSON: {e.Message}");
        }
    }

    private static CheckResult Replay(ConformanceSuite suite, string file)
    {
        if (suite is not SchedulerSuite schedulers)
            throw new UsageException("--replay: only the checks of schedulers have scenarios.");
        try
        {
            byte[] text = Native.InputFile.Read(file, Native.InputFile.MostText);
            return schedulers.Replay(Scenario.Parse(System.Text.Encoding.UTF8.GetString(text)));
        }
        catch (Exception e) when (e is FormatException or ArgumentException or IOException or UnauthorizedAccessException)
        {
            throw new UsageException($"--replay {file}: {e.Message}");
        }
    }

    private static void Write(string folder, ReportCard card)
    {
        try
        {
            Directory.CreateDirectory(folder);
            UntrustedFolder files = new(folder);
            foreach (CheckResult check in card.Checks.Where(static check => check.Scenario is not null))
                files.WriteText($"{card.Plugin}-{check.Check}.scenario", check.Scenario!.ToString());
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new UsageException($"--out {folder}: {e.Message} Name a folder that can be written.");
        }
    }

    private static ReportCardDocument Document(PluginInfo plugin, ConformanceSuite suite, ReportCard card) => new(
        ReportCardDocument.Format,
        plugin.Kind,
        plugin.Name,
        plugin.Version,
        card.Passed,
        [.. card.Checks.Select(check => new ReportCardCheck(
            check.Check, suite.Checks.First(info => info.Name == check.Check).Summary, check.Outcome, check.Detail, check.Scenario?.ToString()))]);

    private void Show(PluginInfo plugin, ReportCard card)
    {
        IAnsiConsole console = host.OutConsole;
        console.WriteLine($"{plugin.Name} {plugin.Version}: {(card.Passed ? "conforms" : "does not conform")}", new Style(decoration: Decoration.Bold));
        Table table = new Table().Border(TableBorder.Simple);
        // Checks of schedulers have short names, the others' are sentences.
        TableColumn names = new("check") { NoWrap = plugin.Kind == PluginKind.Scheduler };
        table.AddColumns(names, new TableColumn("").NoWrap(), new TableColumn("found"));
        foreach (CheckResult check in card.Checks)
        {
            (string word, Color colour) = check.Outcome switch
            {
                CheckOutcome.Passed => ("passed", Color.Green),
                CheckOutcome.Failed => ("FAILED", Color.Red),
                _ => ("not promised", Color.Grey),
            };
            table.AddRow(new Text(check.Check), new Text(word, new Style(colour)), new Text(check.Detail));
        }

        console.Write(table);
        foreach (CheckResult check in card.Checks.Where(static check => check.Scenario is not null && check.Outcome == CheckOutcome.Failed))
        {
            console.WriteLine($"The smallest scenario found that fails {check.Check} (save it, and carry it out with --replay FILE):");
            console.WriteLine(check.Scenario!.ToString());
        }
    }
}

/// <summary>What `plugins check --json` writes.</summary>
/// <param name="Schema">Always <see cref="Format"/>.</param>
/// <param name="Kind">The plugin's kind.</param>
/// <param name="Plugin">Its name.</param>
/// <param name="Version">Its version.</param>
/// <param name="Passed">Whether no check failed.</param>
/// <param name="Checks">Each check.</param>
internal sealed record ReportCardDocument(
    string Schema, PluginKind Kind, string Plugin, string Version, bool Passed, IReadOnlyList<ReportCardCheck> Checks)
{
    /// <summary>The format's name and number.</summary>
    public const string Format = "tessera.check/2";
}

/// <summary>One check.</summary>
/// <param name="Check">Its name.</param>
/// <param name="Summary">What it checks.</param>
/// <param name="Outcome">passed, failed or notDeclared.</param>
/// <param name="Detail">What was found.</param>
/// <param name="Scenario">The smallest failing scenario as the text of a file; null when there is none.</param>
internal sealed record ReportCardCheck(string Check, string Summary, CheckOutcome Outcome, string Detail, string? Scenario);

/// <summary>Serialisation of <see cref="ReportCardDocument"/>.</summary>
[JsonSourceGenerationOptions(WriteIndented = true, PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase)]
[JsonSerializable(typeof(ReportCardDocument))]
internal sealed partial class ReportCardJson : JsonSerializerContext
{
    public static ReportCardJson Context { get; } = new(JsonForm.Options());
}
