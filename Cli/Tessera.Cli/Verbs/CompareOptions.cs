using System.CommandLine;
using System.Globalization;
using Tessera.Experiments.Comparisons;
using Tessera.Sdk;

namespace Tessera.Cli.Verbs;

/// <summary>The options that say what is compared; those of `compare` and of `sweep plan`.</summary>
internal sealed class CompareOptions
{
    private const int DefaultRepeat = 10;

    private readonly Argument<string> _config = new("config")
    {
        Description = "The configuration, as for `tessera run` (docs/configuration.md).",
    };


    private readonly Option<string?> _schedulers = new("--scheduler")
    {
        Description = "Schedulers by name or by the path of a DLL, separated by commas; LABEL=PATH gives one a name; by default the "
            + "configured one.",
        HelpName = "A,B,mine=./C.dll",
    };

    private readonly Option<string[]> _vary = new("--vary")
    {
        Description = "Values of a path of the configuration; domains.count means the item that has a count. May be given several times: "
            + "all combinations are run.",
        HelpName = "PATH=V1,V2",
        AllowMultipleArgumentsPerToken = false,
    };

    private readonly Option<int> _repeat = CommonOptions.Count("--repeat", "Runs of each combination.", DefaultRepeat);
    private readonly Option<string> _output;
    private readonly Option<bool> _simulate = new("--simulate")
    {
        Description = "Make every run in the simulator too, and put both side by side.",
    };

    private readonly Option<bool> _simulateOnly = new("--simulate-only") { Description = "Make every run in the simulator only." };

    private readonly Option<string[]> _model = new("--model")
    {
        Description = "In the simulator, model a domain by something other than its guest (docs/simulator.md). May be given several times.",
        HelpName = "NAME=MODEL",
        AllowMultipleArgumentsPerToken = false,
    };

    private readonly Option<Nanoseconds> _switchCost =
        CommonOptions.Time("--switch-cost",
            "What a context switch costs in the simulator; by default it is measured, or nothing with --simulate-only.");

    private readonly Option<Nanoseconds> _wakeCost =
        CommonOptions.Time("--wake-cost",
            "What a wake costs in the simulator; by default it is measured, or nothing with --simulate-only.");

    private readonly Option<Nanoseconds> _stagger = CommonOptions.Time(
        "--stagger", "In the simulator, let each domain begin to work at a random instant within this time after its start, by the run's "
            + "seed; by default all begin at once.");

    private readonly Option<string?> _engine = CommonOptions.Engine();
    private readonly Option<string[]> _set = CommonOptions.Set();
    private readonly Option<double?> _seconds = CommonOptions.Seconds("Measure this long in each run instead of the configured duration.");
    private readonly Option<long> _seed = new("--seed")
    {
        Description = "Seed of the runs' order and of simulated workloads.",
        HelpName = "N",
        DefaultValueFactory = _ => 1,
    };

    private readonly Option<bool> _noSchedules = new("--no-schedules") { Description = "Do not keep each run's schedule.csv." };

    private readonly Option<double?> _spread = new("--spread")
    {
        Description = "For the plan: how far a run is from the mean, as a standard deviation in per cent of it; by default as far as the "
            + "runs in the folder are.",
        HelpName = "PERCENT",
    };

    private readonly Option<bool> _quiet = CommonOptions.Quiet();

    /// <summary>With what --out says of itself.</summary>
    public CompareOptions(string output)
    {
        _output = new("--out") { Description = output, HelpName = "DIR", Required = true };
        _spread.Validators.Add(result =>
        {
            if (result.GetValueOrDefault<double?>() is <= 0 or double.NaN)
                result.AddError($"--spread {result.Tokens[0].Value}: a number above 0, such as 2.5.");
        });
    }

    /// <summary>Gives them to a verb.</summary>
    public void AddTo(Command command)
    {
        command.Add(_config);
        foreach (Option option in new Option[]
        {
            _schedulers, _vary, _repeat, _output, _simulate, _simulateOnly, _model, _switchCost, _wakeCost, _stagger, _engine, _set,
            _seconds, _seed, _noSchedules, _spread, _quiet,
        })
        {
            command.Add(option);
        }
    }

    /// <summary>What a command line asks for.</summary>
    /// <exception cref="Experiments.UsageException">A list of it is none.</exception>
    public CompareRequest Request(ParseResult parsed) => new()
    {
        Config = parsed.GetRequiredValue(_config),
        Edits = CommonOptions.Edits(parsed.GetValue(_set), parsed.GetValue(_seconds)),
        Schedulers = parsed.GetValue(_schedulers) is { } list ? CompareArguments.ParseSchedulers(list) : [],
        Factors = [.. (parsed.GetValue(_vary) ?? []).Select(CompareArguments.ParseFactor)],
        Repeat = parsed.GetValue(_repeat),
        Output = parsed.GetRequiredValue(_output),
        Simulate = parsed.GetValue(_simulate),
        SimulateOnly = parsed.GetValue(_simulateOnly),
        Models = parsed.GetValue(_model) ?? [],
        SwitchCost = parsed.GetResult(_switchCost) is null ? null : parsed.GetValue(_switchCost),
        WakeCost = parsed.GetResult(_wakeCost) is null ? null : parsed.GetValue(_wakeCost),
        Stagger = parsed.GetValue(_stagger),
        Engine = parsed.GetValue(_engine),
        Seed = parsed.GetValue(_seed),
        KeepSchedules = !parsed.GetValue(_noSchedules),
        Plan = false,
        Spread = parsed.GetValue(_spread),
        Restart = false,
        Metrics = [],
        Json = false,
        Quiet = parsed.GetValue(_quiet),
    };
}
