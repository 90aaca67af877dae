using Tessera.Sdk;

namespace Tessera.Experiments.Runs;

/// <summary>Whoever changes a run from outside while it goes on.</summary>
public interface IRunControl
{
    /// <summary>What was changed so far, in order.</summary>
    IReadOnlyList<RunChange> Changes { get; }

    /// <summary>Takes the domains' consoles, by domain; called once, before the first of the others.</summary>
    void Offer(IReadOnlyList<ConsoleFan> consoles);

    /// <summary>Does what waits to be done; called by the session between two steps.</summary>
    /// <param name="machine">The machine.</param>
    /// <param name="domains">Its domains, as in the plan.</param>
    /// <param name="before">To be called before the first change.</param>
    void Serve(IRunMachine machine, IReadOnlyList<IRunDomain> domains, Action before);

    /// <summary>The run is over: nothing is changed any more.</summary>
    void End();
}

/// <summary>A change made from outside during a run.</summary>
/// <param name="At">When, machine time.</param>
/// <param name="By">By whom: "ctl".</param>
/// <param name="Command">With what command.</param>
/// <param name="What">What, in words.</param>
public sealed record RunChange(Nanoseconds At, string By, string Command, string What);
