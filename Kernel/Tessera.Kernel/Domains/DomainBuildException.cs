namespace Tessera.Kernel.Domains;

/// <summary>A domain cannot be built from what it was given; the message says what and what would be right.</summary>
public sealed class DomainBuildException(string message) : Exception(message);
