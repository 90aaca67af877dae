namespace Tessera.GuestLibrary;

/// <summary>The guest library cannot do what was asked; the message says what is wrong and what would help.</summary>
/// <param name="message">What is wrong and the cure.</param>
/// <param name="inner">The failure underneath, if there was one.</param>
public sealed class GuestException(string message, Exception? inner = null) : Exception(message, inner)
{
    /// <summary>Whether something was asked for that cannot be, and nothing failed.</summary>
    public bool IsMisuse { get; init; }
}
