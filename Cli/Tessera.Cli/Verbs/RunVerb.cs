using System.CommandLine;
using Tessera.Experiments.Hosts;

namespace Tessera.Cli.Verbs;

/// <summary>`tessera run CONFIG`: the experiment, with a live table, a summary and result files.</summary>
internal sealed class RunVerb(RunCommand command, HostResources resources) : IVerb
{
    /// <inheritdoc/>
    public Command Build()
    {
        Argument<string> config = new("config") { Description = "The configuration, JSON with comments (docs/configuration.md)." };
        Option<string[]> set = CommonOptions.Set();
        Option<double?> seconds = CommonOptions.Seconds("Measure this long instead of the configured duration.");
        Option<string?> scheduler = CommonOptions.Scheduler();
        Option<string?> engine = CommonOptions.Engine();
        Option<string?> output = CommonOptions.Output();
        Option<bool> force = CommonOptions.Force();
        Option<bool> json = CommonOptions.Json("the result");
        Option<bool> quiet = CommonOptions.Quiet();
        Option<string?> control = CommonOptions.Control();
        Option<string?> time = CommonOptions.TimeOf();
        Option<string?> record = CommonOptions.Record();
        Option<string?> replay = CommonOptions.Replay();
        Command run = new("run", "Run an experiment and show who got what.") { config, set, seconds, scheduler, engine, time, record, replay, output, force, json, quiet, control };
        run.SetAction(parsed => command.Run(new RunRequest(
            parsed.GetRequiredValue(config),
            CommonOptions.Edits(parsed.GetValue(set), parsed.GetValue(seconds), parsed.GetValue(time)),
            parsed.GetValue(scheduler),
            parsed.GetValue(output),
            parsed.GetValue(json),
            parsed.GetValue(quiet),
            parsed.GetValue(control),
            parsed.GetValue(force),
            parsed.GetValue(engine),
            CommonOptions.Files(parsed.GetValue(record), parsed.GetValue(replay))), resources));
        return run;
    }
}
