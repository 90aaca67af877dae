namespace Tessera.GuestLibrary;

/// <summary>One step of getting a guest, for a person to read.</summary>
/// <param name="Step">What is going on, in a few words.</param>
/// <param name="DoneBytes">Bytes done of a download.</param>
/// <param name="TotalBytes">Bytes of the download; 0 when the step has no size.</param>
public sealed record FetchProgress(string Step, long DoneBytes = 0, long TotalBytes = 0);
