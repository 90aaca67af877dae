using System.Text.Json;
using Tessera.Experiments.Hosts;
using Tessera.Lab.Folders;

namespace Tessera.Experiments.Configuration;

/// <summary>From a file and the command line's edits to an <see cref="Experiment"/>, with every error at once.</summary>
public static class ConfigurationLoader
{
    private const string Scheduler = "scheduler";
    private const string Machine = "machine";
    private const string Engine = "engine";

    /// <summary>Reads, edits, binds and checks a configuration.</summary>
    /// <param name="file">The file, as the user named it.</param>
    /// <param name="edits">The `--set` edits, in order.</param>
    /// <param name="host">What the host offers.</param>
    /// <param name="scheduler">Takes the place of the configured scheduler, before the edits; null leaves it.</param>
    /// <param name="varied">The values of `--vary`, as edits after the others; null for none.</param>
    /// <param name="engine">Takes the place of the configured CPU engine, before the edits; null leaves it.</param>
    /// <returns>The experiment; what is wrong with it is in <see cref="Experiment.Errors"/>.</returns>
    /// <exception cref="ConfigurationException">The text cannot be read at all.</exception>
    public static Experiment Load(string file, IEnumerable<string> edits, HostResources host, string? scheduler = null, IEnumerable<string>? varied = null, string? engine = null)
    {
        byte[] text;
        try
        {
            text = InputFile.Read(file, InputFile.MostText, mayBePipe: true);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new ConfigurationException([new(new(file, 0, 0), "", $"The configuration cannot be read: {e.Message}", "Name a JSON file such as samples/quickstart.json.")]);
        }

        return Parse(file, text, Path.GetDirectoryName(Path.GetFullPath(file))!, edits, host, scheduler, varied, engine);
    }

    /// <summary>The same for a text that is not in a file: what to call it in errors, and where relative paths start.</summary>
    /// <exception cref="ConfigurationException">The text cannot be read at all.</exception>
    public static Experiment Parse(
        string source, ReadOnlySpan<byte> text, string baseDirectory, IEnumerable<string> edits, HostResources host, string? scheduler = null, IEnumerable<string>? varied = null, string? engine = null)
    {
        List<ConfigurationError> errors = [];
        ConfigurationNode document = ConfigurationParser.Parse(source, text, errors) ?? throw new ConfigurationException(errors);
        return Bind(document, baseDirectory, edits, varied ?? [], host, scheduler, engine, errors);
    }

    /// <summary>The same for what a command line amounts to: its errors point at the command line, not at lines of a file nobody wrote.</summary>
    public static Experiment ParseCommandLine(ReadOnlySpan<byte> text, string baseDirectory, HostResources host, string? scheduler, string? engine = null)
    {
        List<ConfigurationError> errors = [];
        ConfigurationNode document = ConfigurationParser.ParseEdit(new SourcePosition("command line", 0, 0), System.Text.Encoding.UTF8.GetString(text), "");
        return Bind(document, baseDirectory, [], [], host, scheduler, engine, errors);
    }

    private static Experiment Bind(
        ConfigurationNode document,
        string baseDirectory,
        IEnumerable<string> edits,
        IEnumerable<string> varied,
        HostResources host,
        string? scheduler,
        string? engine,
        List<ConfigurationError> errors)
    {
        if (scheduler is not null)
            ReplaceScheduler(document, scheduler);
        if (engine is not null)
            ReplaceEngine(document, engine);
        foreach (string edit in edits)
            ConfigurationEdit.Apply(document, edit, errors);
        foreach (string edit in varied)
            ConfigurationEdit.Apply(document, edit, errors, "--vary");
        Experiment experiment = new ConfigurationBinder(baseDirectory, host, errors).Bind(document);
        ConfigurationChecks.Check(experiment, errors);
        return experiment;
    }

    /// <summary>Another policy has other options: those of the configured one go, the domains' too, unless it is the same.</summary>
    private static void ReplaceScheduler(ConfigurationNode document, string scheduler)
    {
        ConfigurationNode? configured = document.Find(Scheduler);
        string? name = (configured?.Kind == JsonValueKind.Object ? configured.Find("name") : configured)?.Text;
        if (name == scheduler)
            return;
        SourcePosition origin = new($"--scheduler {scheduler}", 0, 0);
        document.Set(Scheduler, new ConfigurationNode(JsonValueKind.String, Scheduler, origin, FromHere(scheduler)));
        foreach (ConfigurationNode domain in document.Find("domains")?.Items ?? [])
            domain.Remove(Scheduler);
    }

    /// <summary>Another engine has other options, unless it is the same.</summary>
    private static void ReplaceEngine(ConfigurationNode document, string engine)
    {
        SourcePosition origin = new($"--engine {engine}", 0, 0);
        if (document.Find(Machine) is null)
            document.Set(Machine, new ConfigurationNode(JsonValueKind.Object, Machine, origin));
        ConfigurationNode machine = document.Find(Machine)!;
        if (machine.Kind != JsonValueKind.Object || machine.Find(Engine)?.Text == engine)
            return;
        machine.Set(Engine, new ConfigurationNode(JsonValueKind.String, machine.PathOf(Engine), origin, FromHere(engine)));
        machine.Remove("engineOptions");
    }

    /// <summary>A DLL named on the command line is looked for from where that is.</summary>
    private static string FromHere(string plugin) => plugin.EndsWith(".dll", StringComparison.OrdinalIgnoreCase) ? Path.GetFullPath(plugin) : plugin;
}
