using Tessera.Experiments.Configuration;
using Tessera.Hosting;

namespace Tessera.Experiments.Planning;

/// <summary>An experiment whose plugins and guests are being looked up: what is wrong with it, and what became of their options.</summary>
/// <param name="experiment">The experiment.</param>
public sealed class Lookup(Experiment experiment)
{
    private readonly Dictionary<string, object?> _options = [];

    /// <summary>The experiment.</summary>
    public Experiment Experiment { get; } = experiment;

    /// <summary>What is wrong so far.</summary>
    public List<ConfigurationError> Errors { get; } = [.. experiment.Errors];

    /// <summary>Every options record by the path of the object that it was bound to; null for what takes none.</summary>
    public IReadOnlyDictionary<string, object?> Options => _options;

    /// <summary>Binds an options record.</summary>
    /// <param name="type">The record's type; null when there are no options.</param>
    /// <param name="written">What was written; null for nothing.</param>
    /// <param name="path">The JSON path of the options object.</param>
    /// <returns>The record, with defaults for what is wrong or left out; null without a type.</returns>
    public object? Bind(Type? type, ConfigurationNode? written, string path)
    {
        List<ConfigurationProblem> problems = [];
        object? record = OptionBinder.Bind(type, written?.ToElement() ?? default, path, problems);
        foreach (ConfigurationProblem problem in problems)
            Fail(problem.Path, problem.Message[^1] is '.' or '?' ? problem.Message : problem.Message + ".");
        return _options[path] = record;
    }

    /// <summary>Records what is wrong at a path.</summary>
    public void Fail(string path, string message, string cure = "") =>
        Errors.Add(new(Experiment.Document.Nearest(path).Position, path, message, cure));
}
