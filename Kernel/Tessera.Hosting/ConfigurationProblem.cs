namespace Tessera.Hosting;

/// <summary>One thing that is wrong in a configuration.</summary>
/// <param name="Path">The JSON path, such as "scheduler.options.slice".</param>
/// <param name="Message">What is wrong and what would be right.</param>
/// <param name="Line">Line in the file, from 1, when it is known.</param>
/// <param name="Column">Column in the line, from 1, when it is known.</param>
public sealed record ConfigurationProblem(string Path, string Message, int? Line = null, int? Column = null)
{
    /// <summary>"line 12, column 5: scheduler.options.slice: …".</summary>
    public override string ToString() => $"{(Line is null ? "" : $"line {Line}, column {Column}: ")}{(Path.Length == 0 ? "" : $"{Path}: ")}{Message}";
}
