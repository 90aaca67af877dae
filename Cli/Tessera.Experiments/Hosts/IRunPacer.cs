using Tessera.Sdk;

namespace Tessera.Experiments.Hosts;

/// <summary>Time as a session sees it; a seam, so that tests need no real time.</summary>
public interface IRunPacer
{
    /// <summary>Now, from some fixed moment.</summary>
    Nanoseconds Now { get; }

    /// <summary>Waits until an instant, or until the user wants to stop.</summary>
    /// <returns>Whether the user wants to stop.</returns>
    bool WaitUntil(Nanoseconds instant);
}
