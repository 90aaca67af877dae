using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using Tessera.Cli.Configuration;

namespace Tessera.Cli.Control.Commands;

/// <summary>`ctl about`: which run a socket is of. Answered at once, also while the run builds its domains.</summary>
internal sealed class AboutCommand : IControlCommand
{
    /// <summary>Its name.</summary>
    public const string About = "about";

    /// <inheritdoc/>
    public string Name => About;

    /// <inheritdoc/>
    public Command Build(ControlClient client)
    {
        Command about = new(Name, "Show which configuration, process and folder the machine belongs to.");
        about.SetAction(parsed => client.Ask(parsed, Name, [], effect: ControlEffect.Looks));
        return about;
    }

    /// <inheritdoc/>
    public ControlAnswer Run(ControlDesk desk, JsonElement arguments)
    {
        // A boot has no file: its source is the command line.
        SourcePosition source = desk.Prepared!.Experiment.Document.Position;
        string configuration = source.Line > 0 ? source.Source : $"boot {desk.Prepared.Plan.Domains[0].Guest}";
        string folder = Environment.CurrentDirectory;
        return new ControlAnswer(
            string.Create(CultureInfo.InvariantCulture, $"{configuration}, process {Environment.ProcessId}, started in {folder}"),
            new JsonObject { ["configuration"] = configuration, ["process"] = Environment.ProcessId, ["folder"] = folder });
    }
}
