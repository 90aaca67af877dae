using System.CommandLine;
using System.Globalization;
using Tessera.Experiments.Planning;
using Tessera.Hosting;
using Tessera.Sdk;
using Tessera.Sdk.Plugins;

namespace Tessera.Cli.Verbs;

/// <summary>Options that several verbs have, the same everywhere.</summary>
internal static class CommonOptions
{
    /// <summary>A hundred years: more than anybody waits for, and far from the end of 64-bit nanoseconds.</summary>
    private const double MaxSeconds = 3.2e9;

    /// <summary>`--json`.</summary>
    public static Option<bool> Json(string what) => new("--json") { Description = $"Write {what} as JSON to standard output, and nothing else there." };

    /// <summary>`--scheduler NAME-or-DLL`.</summary>
    public static Option<string?> Scheduler() => new("--scheduler") { Description = "The scheduler plugin, by name or by the path of its DLL.", HelpName = "NAME-or-DLL" };

    /// <summary>`--engine NAME-or-DLL` in place of the configured one.</summary>
    public static Option<string?> Engine() => new("--engine")
    {
        Description = "The CPU engine plugin, by name or by the path of its DLL: kvm, software, or auto, which is kvm where this user can use it and time is real.",
        HelpName = "NAME-or-DLL",
    };

    /// <summary>`--seconds N`.</summary>
    public static Option<double?> Seconds(string description)
    {
        Option<double?> option = new("--seconds") { Description = description, HelpName = "N" };
        option.CustomParser = result =>
        {
            string text = result.Tokens.Count > 0 ? result.Tokens[0].Value : "";
            if (double.TryParse(text, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out double seconds) && seconds is > 0 and <= MaxSeconds)
                return seconds;
            result.AddError($"--seconds {text}: seconds are a number above 0, such as 10 or 0.5.");
            return null;
        };
        return option;
    }

    /// <summary>`--set path=value`.</summary>
    public static Option<string[]> Set() => new("--set")
    {
        Description = "Change the configuration: domains[0].weight=512, \"duration=5 s\". May be given several times.",
        HelpName = "path=value",
        AllowMultipleArgumentsPerToken = false,
    };

    /// <summary>`--out DIR` of a run.</summary>
    public static Option<string?> Output() => new("--out") { Description = "Write results, consoles, the recording and report.html into this folder.", HelpName = "DIR" };

    /// <summary>`--force` beside `--out`.</summary>
    public static Option<bool> Force() => new("--force") { Description = "Replace another run's results in the folder of --out." };

    /// <summary>`--control SOCKET`.</summary>
    public static Option<string?> Control() => new("--control")
    {
        Description = "Let `tessera ctl` look at this run and change it, by this Unix socket (docs/control.md); \"auto\" makes one where ctl finds it.",
        HelpName = "SOCKET",
    };

    /// <summary>`--quiet`.</summary>
    public static Option<bool> Quiet() => new("--quiet") { Description = "Show no progress." };

    /// <summary>`--metric KEY,KEY` of a comparison.</summary>
    public static Option<string?> Metrics() => new("--metric")
    {
        Description = "The metrics to show, by their keys, those of a domain too (web.lateP99); by default all of the whole machine. "
            + "Files and report have every metric.",
        HelpName = "KEY,KEY",
    };

    /// <summary>The parts of a list with commas; none for null.</summary>
    public static IReadOnlyList<string> List(string? text) =>
        text?.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries) ?? [];

    /// <summary>An option whose value is a whole number from 1 on.</summary>
    public static Option<int> Count(string name, string description, int otherwise)
    {
        Option<int> option = new(name) { Description = description, HelpName = "N", DefaultValueFactory = _ => otherwise };
        option.Validators.Add(result =>
        {
            if (result.Tokens.Count > 0
                && (!int.TryParse(result.Tokens[0].Value, NumberStyles.None, CultureInfo.InvariantCulture, out int count) || count < 1))
                result.AddError($"{name} {result.Tokens[0].Value}: a whole number from 1 on.");
        });
        return option;
    }

    /// <summary>`--time real|virtual`.</summary>
    public static Option<string?> TimeOf()
    {
        Option<string?> option = new("--time") { Description = "Whose time the machine goes by: real, the host's, or virtual, the work its guests do (docs/virtual-time.md).", HelpName = "real|virtual" };
        option.AcceptOnlyFromAmong("real", "virtual");
        return option;
    }

    /// <summary>`--record FILE`.</summary>
    public static Option<string?> Record() => new("--record") { Description = "In virtual time: keep what comes from outside (keys, frames of the host's network, the date) in this file.", HelpName = "FILE" };

    /// <summary>`--replay FILE`.</summary>
    public static Option<string?> Replay() => new("--replay") { Description = "In virtual time: give what was recorded again, in place of what comes from outside.", HelpName = "FILE" };

    /// <summary>What the two say; null for neither.</summary>
    public static RecordingFiles? Files(string? record, string? replay) =>
        record is null && replay is null ? null : new(record is null ? null : Path.GetFullPath(record), replay is null ? null : Path.GetFullPath(replay));

    /// <summary>What `--set`, `--time` and `--seconds` change in the configuration.</summary>
    public static IReadOnlyList<string> Edits(string[]? set, double? seconds, string? time = null) =>
        [.. time is null ? Array.Empty<string>() : [$"machine.time={time}"],
            .. set ?? [], .. seconds is { } value ? new[] { $"duration={((decimal)value).ToString(CultureInfo.InvariantCulture)} s" } : []];

    /// <summary>An option whose value is a length of time, such as "2 us".</summary>
    public static Option<Nanoseconds> Time(string name, string description)
    {
        Option<Nanoseconds> option = new(name) { Description = description, HelpName = "TIME" };
        option.CustomParser = result =>
        {
            string text = result.Tokens.Count > 0 ? result.Tokens[0].Value : "";
            if (!NanosecondsText.TryParse(text, out Nanoseconds value, out string problem))
                result.AddError($"{name}: {problem}.");
            else if (value < Nanoseconds.Zero)
                result.AddError($"{name}: {text} is negative.");
            return value;
        };
        return option;
    }

    /// <summary>`--memory 256MiB`.</summary>
    public static Option<string?> Memory()
    {
        Option<string?> option = new("--memory") { Description = "The domain's memory, such as 256MiB; by default what the guest needs.", HelpName = "SIZE" };
        option.Validators.Add(result =>
        {
            if (result.Tokens.Count > 0 && !ByteSizeText.TryParse(result.Tokens[0].Value, out ByteSize _, out string problem))
                result.AddError($"--memory: {problem}.");
        });
        return option;
    }
}
