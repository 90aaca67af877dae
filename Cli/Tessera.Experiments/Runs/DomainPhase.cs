namespace Tessera.Experiments.Runs;

/// <summary>A domain's life as results name it.</summary>
public enum DomainPhase
{
    /// <summary>Built, not started.</summary>
    Created,

    /// <summary>Runs, or could.</summary>
    Running,

    /// <summary>Waits for an event.</summary>
    Blocked,

    /// <summary>Held by the administrator.</summary>
    Paused,

    /// <summary>Ended itself.</summary>
    Shutdown,

    /// <summary>Did something fatal.</summary>
    Crashed,

    /// <summary>Ended from outside.</summary>
    Destroyed,
}

/// <summary>Words and tests on <see cref="DomainPhase"/>.</summary>
public static class DomainPhases
{
    /// <summary>Whether it will never run again.</summary>
    public static bool HasEnded(this DomainPhase phase) => phase is DomainPhase.Shutdown or DomainPhase.Crashed or DomainPhase.Destroyed;

    /// <summary>The word results use.</summary>
    public static string Word(this DomainPhase phase) => phase.ToString().ToLowerInvariant();
}
