namespace Tessera.GuestLibrary;

/// <summary>Runs programs of the host: the seam between the guest library and apt.</summary>
public interface IProcessRunner
{
    /// <summary>Runs a program to its end, with the C locale and nothing on its standard input.</summary>
    /// <param name="program">A name to look up in PATH, or a path.</param>
    /// <param name="arguments">Its arguments, each passed as it is.</param>
    /// <param name="workingDirectory">Where it runs; null for the caller's.</param>
    /// <param name="cancellation">Ends it, its children too.</param>
    /// <exception cref="ProgramMissingException">There is no such program.</exception>
    Task<ProcessResult> RunAsync(string program, IReadOnlyList<string> arguments, string? workingDirectory, CancellationToken cancellation);
}

/// <summary>How a program ended.</summary>
/// <param name="ExitCode">Its exit code.</param>
/// <param name="Output">Its standard output.</param>
/// <param name="Error">Its standard error.</param>
public sealed record ProcessResult(int ExitCode, string Output, string Error);

/// <summary>A program that is not installed.</summary>
/// <param name="program">Its name.</param>
/// <param name="inner">The failure underneath, if there was one.</param>
public sealed class ProgramMissingException(string program, Exception? inner = null) : Exception($"There is no program {program}.", inner)
{
    /// <summary>Its name.</summary>
    public string Program { get; } = program;
}
