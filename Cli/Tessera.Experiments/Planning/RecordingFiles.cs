namespace Tessera.Experiments.Planning;

/// <summary>What of a run in virtual time is kept, or given again.</summary>
/// <param name="Record">The file for what comes from outside; null for none.</param>
/// <param name="Replay">The file that takes its place; null for none.</param>
public sealed record RecordingFiles(string? Record, string? Replay);
