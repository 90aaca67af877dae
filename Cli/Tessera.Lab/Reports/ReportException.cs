namespace Tessera.Lab.Reports;

/// <summary>A report cannot be made; the message says why and what would help.</summary>
public sealed class ReportException(string message, Exception? cause = null) : Exception(message, cause)
{
    /// <summary>Whether this build or this machine is at fault, and not what was asked for.</summary>
    public bool IsHostsFault { get; init; }
}
