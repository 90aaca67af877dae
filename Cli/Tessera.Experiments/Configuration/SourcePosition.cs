namespace Tessera.Experiments.Configuration;

/// <summary>Where a value of a configuration was written.</summary>
/// <param name="Source">The file as the user named it, or the edit ("--set duration=5 s").</param>
/// <param name="Line">Line from 1; 0 for edits.</param>
/// <param name="Column">Column from 1, in characters; 0 for edits.</param>
public readonly record struct SourcePosition(string Source, int Line, int Column)
{
    /// <inheritdoc/>
    public override string ToString() => Line == 0 ? Source : $"{Source}:{Line}:{Column}";
}

/// <summary>One thing wrong with a configuration.</summary>
/// <param name="Position">Where it was written.</param>
/// <param name="Path">Its JSON path such as "domains[1].weight"; empty for the whole document.</param>
/// <param name="Message">What is wrong.</param>
/// <param name="Cure">What would be right; empty when the message says it.</param>
public sealed record ConfigurationError(SourcePosition Position, string Path, string Message, string Cure)
{
    /// <summary>One line as compilers write them: "file:line:column: path: message cure".</summary>
    public override string ToString() =>
        $"{Position}: {(Path.Length == 0 ? "" : Path + ": ")}{Message}{(Cure.Length == 0 ? "" : " " + Cure)}";
}

/// <summary>A configuration that cannot be used, with everything that is wrong with it.</summary>
/// <param name="errors">At least one error.</param>
public sealed class ConfigurationException(IReadOnlyList<ConfigurationError> errors)
    : Exception(string.Join(Environment.NewLine, errors))
{
    /// <summary>Everything wrong, in the order of the file.</summary>
    public IReadOnlyList<ConfigurationError> Errors { get; } = [.. errors.Distinct().OrderBy(error => error.Position.Line).ThenBy(error => error.Position.Column)];
}
