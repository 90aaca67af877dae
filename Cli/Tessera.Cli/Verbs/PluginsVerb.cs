using System.CommandLine;
using System.Text.Json;
using System.Text.Json.Serialization;
using Spectre.Console;
using Tessera.Hosting;

namespace Tessera.Cli.Verbs;

/// <summary>`tessera plugins`. `list`: kind, name, version and options of every plugin that can be found, and what is wrong with the others.</summary>
internal sealed class PluginsVerb(CliHost host, PluginCatalog catalog, PluginCheckCommand checker) : IVerb
{
    /// <inheritdoc/>
    public Command Build()
    {
        Option<bool> json = CommonOptions.Json("the list");
        Command list = new("list", "Show the plugins that can be found, with their options.") { json };
        list.SetAction(parsed => List(parsed.GetValue(json)));
        return new Command("plugins", "Look at plugins of every kind.") { list, checker.Build() };
    }

    private int List(bool json)
    {
        IReadOnlyList<PluginInfo> plugins = catalog.List(out IReadOnlyList<PluginException> problems);
        if (json)
            host.Out.WriteLine(JsonSerializer.Serialize(new PluginListing(plugins, [.. problems.Select(problem => problem.Message)]), PluginListingJson.Context.PluginListing));
        else
            Show(plugins);
        foreach (PluginException problem in problems)
            host.Error.WriteLine($"tessera: {problem.Message}");
        return problems.Count == 0 ? ExitCode.Good : ExitCode.Failed;
    }

    private void Show(IReadOnlyList<PluginInfo> plugins)
    {
        IAnsiConsole console = host.OutConsole;
        foreach (PluginInfo plugin in plugins)
        {
            console.WriteLine($"{plugin.Kind} {plugin.Name} {plugin.Version} (SDK {plugin.SdkVersion})", new Style(decoration: Decoration.Bold));
            if (plugin.Summary.Length > 0)
                console.WriteLine($"  {plugin.Summary}");
            console.WriteLine($"  {plugin.Path}", new Style(Color.Grey));
            Options(console, "options", plugin.Options);
            Options(console, "options of each domain", plugin.DomainOptions);
            console.WriteLine();
        }
    }

    private static void Options(IAnsiConsole console, string title, IReadOnlyList<OptionInfo> options)
    {
        if (options.Count == 0)
            return;
        console.WriteLine($"  {title}:");
        Table table = new Table().Border(TableBorder.None).HideHeaders();
        table.AddColumns(new TableColumn("").NoWrap(), new TableColumn("").NoWrap(), new TableColumn(""));
        foreach (OptionInfo option in options)
        {
            string range = (option.Min, option.Max) switch
            {
                (null, null) => "",
                ({ } min, null) => $", from {min}",
                (null, { } max) => $", up to {max}",
                var (min, max) => $", {min} to {max}",
            };
            string choices = option.Choices.Count == 0 ? "" : $" ({string.Join(", ", option.Choices)})";
            table.AddRow(new Text(option.Name, new Style(Color.Green)), new Text($"{(option.Default.Length == 0 ? "\"\"" : option.Default)}{range}"), new Text(option.Summary + choices));
        }

        console.Write(new Padder(table).Padding(4, 0, 0, 0));
    }
}

/// <summary>What `plugins list --json` writes.</summary>
/// <param name="Plugins">Those that load.</param>
/// <param name="Problems">What is wrong with the others.</param>
internal sealed record PluginListing(IReadOnlyList<PluginInfo> Plugins, IReadOnlyList<string> Problems);

/// <summary>Serialisation of <see cref="PluginListing"/>.</summary>
[JsonSourceGenerationOptions(WriteIndented = true, PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, UseStringEnumConverter = true)]
[JsonSerializable(typeof(PluginListing))]
internal sealed partial class PluginListingJson : JsonSerializerContext
{
    public static PluginListingJson Context { get; } = new(JsonForm.Options());
}
