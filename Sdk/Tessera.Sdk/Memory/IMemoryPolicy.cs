namespace Tessera.Sdk.Memory;

/// <summary>Decides how much of the machine's memory each domain gets, at creation and while it runs. Mechanism (frames, ballooning) is the kernel's.</summary>
/// <remarks>Called by the kernel, one call at a time.</remarks>
public interface IMemoryPolicy
{
    /// <summary>A domain is to be created. Answers how many frames it starts with, from 0 (refuse) to the request's maximum.</summary>
    long FramesAtCreation(in MemoryRequest request, in MemoryBudget budget);

    /// <summary>A running domain asks for more frames (increase_reservation, populate_physmap). Answers how many it may have now, 0 to asked.</summary>
    long FramesToGrant(in MemoryRequest request, long assigned, long asked, in MemoryBudget budget);
}

/// <summary>What a domain was configured with.</summary>
/// <param name="Domain">The domain.</param>
/// <param name="Frames">Frames asked for in the configuration.</param>
/// <param name="MaxFrames">The most it may ever have.</param>
public readonly record struct MemoryRequest(DomainId Domain, long Frames, long MaxFrames);

/// <summary>The machine's memory.</summary>
/// <param name="TotalFrames">The machine's limit.</param>
/// <param name="AssignedFrames">Frames all domains hold now.</param>
public readonly record struct MemoryBudget(long TotalFrames, long AssignedFrames);
