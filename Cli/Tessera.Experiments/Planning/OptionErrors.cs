using Tessera.Experiments.Configuration;
using Tessera.Hosting;

namespace Tessera.Experiments.Planning;

/// <summary>Binds options records and turns their problems into configuration errors with positions.</summary>
internal static class OptionErrors
{
    /// <summary>The record, with defaults for what is wrong or left out; null when the type is null.</summary>
    /// <param name="type">The record's type.</param>
    /// <param name="options">What was written; null for nothing.</param>
    /// <param name="path">The JSON path of the options object.</param>
    /// <param name="within">A node above it, for positions.</param>
    /// <param name="errors">Gets what is wrong.</param>
    public static object? Bind(Type? type, ConfigurationNode? options, string path, ConfigurationNode within, List<ConfigurationError> errors)
    {
        List<ConfigurationProblem> problems = [];
        object? record = OptionBinder.Bind(type, options?.ToElement() ?? default, path, problems);
        foreach (ConfigurationProblem problem in problems)
            errors.Add(new(within.Nearest(problem.Path).Position, problem.Path, Sentence(problem.Message), ""));
        return record;
    }

    private static string Sentence(string message) => message[^1] is '.' or '?' ? message : message + ".";
}
