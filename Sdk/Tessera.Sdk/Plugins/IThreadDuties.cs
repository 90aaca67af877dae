namespace Tessera.Sdk.Plugins;

/// <summary>What a thread does as long as it lives.</summary>
public enum ThreadDuty
{
    /// <summary>Runs guests' code by an engine that is set up; opens nothing.</summary>
    Processor,

    /// <summary>Serves guests' devices: reads and writes memory, and files, devices and events that are open.</summary>
    Device,

    /// <summary>Speaks to a server, and calls it again when it went away: sockets outwards, and what looking up its name takes.</summary>
    Client,

    /// <summary>Is a network for guests: sockets both ways, and what looking up names takes.</summary>
    Network,
}

/// <summary>
/// Takes from a thread what its duty does not need, once guests run (docs/security.md). A service of plugins: a thread of theirs calls it first. What else the
/// thread needs, files it opens among them, has to be there before, or has to be had by another thread; a thread that it starts has no more than itself.
/// </summary>
public interface IThreadDuties
{
    /// <summary>The calling thread does this from now on, and nothing else. Once in a thread's life.</summary>
    void Enter(ThreadDuty duty);
}
