namespace Tessera.Kernel.Snapshots;

/// <summary>A domain cannot be saved as it is now, or a snapshot is damaged or does not fit here; the message says which, and what helps.</summary>
public sealed class SnapshotException : Exception
{
    /// <summary>Says what is wrong.</summary>
    public SnapshotException(string message)
        : base(message)
    {
    }

    /// <summary>The same, with what was found first.</summary>
    public SnapshotException(string message, Exception cause)
        : base(message, cause)
    {
    }
}
