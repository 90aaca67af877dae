namespace Tessera.Experiments;

/// <summary>The command was understood and went wrong; the run ends as failed.</summary>
public sealed class FailedException(string message) : Exception(message);
