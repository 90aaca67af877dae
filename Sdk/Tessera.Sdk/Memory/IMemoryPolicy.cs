namespace Tessera.Sdk.Memory;

/// <summary>
/// Decides how much of the machine's memory each domain gets: when it is created, when it asks for more, and in the course of time.
/// Mechanism (frames, accounts, the
/// store's memory/target) is the kernel's.
/// </summary>
/// <remarks>
/// <para>Called by the kernel, one call at a time, on any thread, while it holds no domain's lock: write single-threaded code. A
/// guest's hypercall waits for
/// <see cref="Grant"/>, so no member may block or wait. Time is an argument; never read a clock. All amounts are frames of 4096
/// bytes.</para>
/// <para>A policy that throws, or answers with more than there is, is asked no more: each domain gets its reservation whole and grows
/// while there is room, as under
/// static-partition, and the result names the policy and what it did.</para>
/// </remarks>
public interface IMemoryPolicy
{
    /// <summary>
    /// How often <see cref="Rebalance"/> is called, at least a millisecond; never unless a policy says otherwise. Asked once, when the
    /// machine is made.
    /// </summary>
    Nanoseconds RebalancePeriod => Nanoseconds.Never;

    /// <summary>A domain is to be created.</summary>
    /// <param name="request">What it is configured with.</param>
    /// <param name="budget">
    /// The machine's memory. What the VMM needs for this domain, beside its own memory, counts as assigned already.
    /// </param>
    /// <returns>
    /// How many frames it starts with, at most <see cref="MemoryRequest.MaxFrames"/> and <see cref="MemoryBudget.FreeFrames"/>; 0
    /// refuses it. With less than its kernel
    /// needs to boot it cannot be built.
    /// </returns>
    long Admit(in MemoryRequest request, in MemoryBudget budget);

    /// <summary>A running domain asks for frames, once for all those of a hypercall (populate_physmap, increase_reservation).</summary>
    /// <param name="domain">What it has.</param>
    /// <param name="asked">How many more it asks for, at least 1; never beyond its <see cref="DomainMemoryFacts.MaxFrames"/>.</param>
    /// <param name="budget">The machine's memory.</param>
    /// <returns>How many it gets now, 0 to what was asked for and <see cref="MemoryBudget.FreeFrames"/>.</returns>
    long Grant(in DomainMemoryFacts domain, long asked, in MemoryBudget budget);

    /// <summary>
    /// A domain gave frames back, or is gone and had these. The budget has them already; the policy is told before it is next asked
    /// something. Empty for a policy that
    /// keeps no accounts of its own.
    /// </summary>
    void Released(DomainId domain, long frames)
    {
    }

    /// <summary>
    /// Called every <see cref="RebalancePeriod"/>: how much memory each domain should have. The kernel writes it to the domain's
    /// memory/target in the store, and the
    /// guest's balloon driver gives frames back or asks for them until it has as many; nothing makes it.
    /// </summary>
    /// <param name="now">The machine's time; it never goes back.</param>
    /// <param name="domains">Every domain that was built and has not ended.</param>
    /// <param name="budget">The machine's memory.</param>
    /// <returns>The targets that change; a domain that is not named keeps its target.</returns>
    IReadOnlyList<MemoryTarget> Rebalance(Nanoseconds now, IReadOnlyList<DomainMemoryFacts> domains, in MemoryBudget budget) => [];
}

/// <summary>What a domain is configured with.</summary>
/// <param name="Domain">The domain.</param>
/// <param name="Frames">Frames asked for in the configuration.</param>
/// <param name="MaxFrames">The most it may ever have.</param>
public readonly record struct MemoryRequest(DomainId Domain, long Frames, long MaxFrames);

/// <summary>A domain's memory at one moment.</summary>
/// <param name="Domain">The domain.</param>
/// <param name="Frames">Frames asked for in its configuration.</param>
/// <param name="MaxFrames">The most it may ever have.</param>
/// <param name="AssignedFrames">Frames it has.</param>
/// <param name="TargetFrames">
/// Frames it should have by its memory/target: as many as it was admitted with, until <see cref="IMemoryPolicy.Rebalance"/> changed it.
/// </param>
public readonly record struct DomainMemoryFacts(DomainId Domain, long Frames, long MaxFrames, long AssignedFrames, long TargetFrames);

/// <summary>The machine's memory.</summary>
/// <param name="TotalFrames">The machine's limit.</param>
/// <param name="AssignedFrames">Frames all domains have now, and those that the VMM needs for them.</param>
public readonly record struct MemoryBudget(long TotalFrames, long AssignedFrames)
{
    /// <summary>Frames that nobody has.</summary>
    public long FreeFrames => TotalFrames - AssignedFrames;
}

/// <summary>How much memory a domain should have.</summary>
/// <param name="Domain">One of the domains asked about.</param>
/// <param name="Frames">How many frames, from 1 to its maximum.</param>
public readonly record struct MemoryTarget(DomainId Domain, long Frames);
