using System.CommandLine;
using System.Globalization;
using Tessera.Experiments.Comparisons;

namespace Tessera.Cli.Verbs;

/// <summary>`tessera compare CONFIG`: one experiment with several schedulers and values, repeated, with statistics and verdicts.</summary>
internal sealed class CompareVerb(CompareCommand command) : IVerb
{
    private const int DefaultRepeat = 10;

    /// <inheritdoc/>
    public Command Build()
    {
        Argument<string> config = new("config") { Description = "The configuration, as for `tessera run` (docs/configuration.md)." };
        Option<string?> schedulers = new("--scheduler") { Description = "Schedulers by name or by the path of a DLL, separated by commas; LABEL=PATH gives one a name; by default the configured one.", HelpName = "A,B,mine=./C.dll" };
        Option<string[]> vary = new("--vary")
        {
            Description = "Values of a path of the configuration; domains.count means the item that has a count. May be given several times: all combinations are run.",
            HelpName = "PATH=V1,V2",
            AllowMultipleArgumentsPerToken = false,
        };
        Option<int> repeat = new("--repeat") { Description = "Runs of each combination.", HelpName = "N", DefaultValueFactory = _ => DefaultRepeat };
        repeat.Validators.Add(result =>
        {
            if (result.Tokens.Count > 0 && (!int.TryParse(result.Tokens[0].Value, NumberStyles.None, CultureInfo.InvariantCulture, out int count) || count < 1))
                result.AddError($"--repeat {result.Tokens[0].Value}: a whole number from 1 on.");
        });
        Option<string> output = new("--out") { Description = "The comparison's folder; a comparison that was interrupted goes on there.", HelpName = "DIR", Required = true };
        Option<bool> simulate = new("--simulate") { Description = "Make every run in the simulator too, and put both side by side." };
        Option<bool> simulateOnly = new("--simulate-only") { Description = "Make every run in the simulator only." };
        Option<string[]> model = new("--model")
        {
            Description = "In the simulator, model a domain by something other than its guest (docs/simulator.md). May be given several times.",
            HelpName = "NAME=MODEL",
            AllowMultipleArgumentsPerToken = false,
        };
        Option<Sdk.Nanoseconds> switchCost = CommonOptions.Time("--switch-cost", "What a context switch costs in the simulator; by default it is measured, or nothing with --simulate-only.");
        Option<Sdk.Nanoseconds> wakeCost = CommonOptions.Time("--wake-cost", "What a wake costs in the simulator; by default it is measured, or nothing with --simulate-only.");
        Option<Sdk.Nanoseconds> stagger = CommonOptions.Time("--stagger", "In the simulator, let each domain begin to work at a random instant within this time after its start, by the run's seed; by default all begin at once.");
        Option<string?> engine = CommonOptions.Engine();
        Option<string[]> set = CommonOptions.Set();
        Option<double?> seconds = CommonOptions.Seconds("Measure this long in each run instead of the configured duration.");
        Option<long> seed = new("--seed") { Description = "Seed of the runs' order and of simulated workloads.", HelpName = "N", DefaultValueFactory = _ => 1 };
        Option<bool> noSchedules = new("--no-schedules") { Description = "Do not keep each run's schedule.csv." };
        Option<bool> plan = new("--plan") { Description = "Only say how many runs there would be, how long they would take, and which differences they could show." };
        Option<double?> spread = new("--spread") { Description = "For --plan: how far a run is from the mean, as a standard deviation in per cent of it; by default as far as the runs in the folder are.", HelpName = "PERCENT" };
        spread.Validators.Add(result =>
        {
            if (result.GetValueOrDefault<double?>() is <= 0 or double.NaN)
                result.AddError($"--spread {result.Tokens[0].Value}: a number above 0, such as 2.5.");
        });
        Option<bool> restart = new("--restart") { Description = "Remove the folder's runs and make all of them again." };
        Option<string?> metrics = new("--metric") { Description = "The metrics to show, by their keys, those of a domain too (web.lateP99); by default all of the whole machine. Files and report have every metric.", HelpName = "KEY,KEY" };
        Option<bool> json = CommonOptions.Json("the comparison");
        Option<bool> quiet = CommonOptions.Quiet();
        Command compare = new("compare", "Run an experiment with several schedulers and values, repeated and interleaved, and say what differs.")
        {
            config, schedulers, vary, repeat, output, simulate, simulateOnly, model, switchCost, wakeCost, stagger, engine, set, seconds, seed, noSchedules, plan, spread, restart, metrics, json, quiet,
        };
        compare.SetAction(parsed => command.Run(new CompareRequest
        {
            Config = parsed.GetRequiredValue(config),
            Edits = CommonOptions.Edits(parsed.GetValue(set), parsed.GetValue(seconds)),
            Schedulers = parsed.GetValue(schedulers) is { } list ? CompareArguments.ParseSchedulers(list) : [],
            Factors = [.. (parsed.GetValue(vary) ?? []).Select(CompareArguments.ParseFactor)],
            Repeat = parsed.GetValue(repeat),
            Output = parsed.GetRequiredValue(output),
            Simulate = parsed.GetValue(simulate),
            SimulateOnly = parsed.GetValue(simulateOnly),
            Models = parsed.GetValue(model) ?? [],
            SwitchCost = parsed.GetResult(switchCost) is null ? null : parsed.GetValue(switchCost),
            WakeCost = parsed.GetResult(wakeCost) is null ? null : parsed.GetValue(wakeCost),
            Stagger = parsed.GetValue(stagger),
            Engine = parsed.GetValue(engine),
            Seed = parsed.GetValue(seed),
            KeepSchedules = !parsed.GetValue(noSchedules),
            Plan = parsed.GetValue(plan) || parsed.GetValue(spread) is not null,
            Spread = parsed.GetValue(spread),
            Restart = parsed.GetValue(restart),
            Metrics = parsed.GetValue(metrics)?.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries) ?? [],
            Json = parsed.GetValue(json),
            Quiet = parsed.GetValue(quiet),
        }));
        return compare;
    }
}
