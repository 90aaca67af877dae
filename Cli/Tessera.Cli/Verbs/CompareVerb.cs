using System.CommandLine;
using Tessera.Experiments.Comparisons;

namespace Tessera.Cli.Verbs;

/// <summary>`tessera compare CONFIG`: one experiment with several schedulers and values, repeated, with statistics and verdicts.</summary>
internal sealed class CompareVerb(CompareCommand command) : IVerb
{
    /// <inheritdoc/>
    public Command Build()
    {
        CompareOptions options = new("The comparison's folder; a comparison that was interrupted goes on there.");
        Option<bool> plan = new("--plan") { Description = "Only say how many runs there would be, how long they would take, and which differences they could show." };
        Option<bool> restart = new("--restart") { Description = "Remove the folder's runs and make all of them again." };
        Option<string?> metrics = CommonOptions.Metrics();
        Option<bool> json = CommonOptions.Json("the comparison");
        Command compare = new("compare",
            "Run an experiment with several schedulers and values, repeated and interleaved, and say what differs.");
        options.AddTo(compare);
        compare.Add(plan);
        compare.Add(restart);
        compare.Add(metrics);
        compare.Add(json);
        compare.SetAction(parsed =>
        {
            CompareRequest request = options.Request(parsed);
            return command.Run(request with
            {
                Plan = parsed.GetValue(plan) || request.Spread is not null,
                Restart = parsed.GetValue(restart),
                Metrics = CommonOptions.List(parsed.GetValue(metrics)),
                Json = parsed.GetValue(json),
            });
        });
        return compare;
    }
}
