namespace Tessera.Experiments;

/// <summary>The command line asks for something that cannot be; nothing was begun.</summary>
public sealed class UsageException(string message) : Exception(message);
