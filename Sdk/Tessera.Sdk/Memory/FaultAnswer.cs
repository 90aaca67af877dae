using Tessera.Sdk.Cpu.X64;

namespace Tessera.Sdk.Memory;

/// <summary>What is to be done about a page fault.</summary>
public enum FaultAction
{
    /// <summary>The guest's own handler gets it.</summary>
    Deliver,

    /// <summary>The access is made again: it is possible now.</summary>
    Retry,

    /// <summary>The store is done for the guest, as an update of the entry that it aims at.</summary>
    Emulate,
}

/// <summary>What an MMU answers to a page fault (<see cref="IDomainMmu.OnFault"/>).</summary>
public readonly record struct FaultAnswer
{
    /// <summary>The fault is resolved: the tables that the CPU walks allow the access.</summary>
    public static FaultAnswer Resolved => new() { Action = FaultAction.Retry };

    /// <summary>What is to be done.</summary>
    public FaultAction Action { get; private init; }

    /// <summary>What the guest's handler is told if it comes to that.</summary>
    public PageFaultError Error { get; private init; }

    /// <summary>For <see cref="FaultAction.Emulate"/>: the machine address of the first byte that the store writes.</summary>
    public ulong StoreAddress { get; private init; }

    /// <summary>The fault is the guest's.</summary>
    /// <param name="error">
    /// The error code that its own tables give: <see cref="PageFaultError.Present"/> may differ where the CPU walked other tables.
    /// </param>
    public static FaultAnswer Guests(PageFaultError error) => new() { Action = FaultAction.Deliver, Error = error };

    /// <summary>
    /// The guest's kernel stores into one of its page tables, which it sees read-only: the store becomes an
    /// <see cref="IDomainMmu.Update"/> of that entry. Where the instruction is none that can be done so, or the update is refused, the
    /// fault is the guest's.
    /// </summary>
    /// <param name="address">Machine address of the first byte that it writes, in a table in a frame of the domain.</param>
    public static FaultAnswer Emulate(ulong address) => new()
    {
        Action = FaultAction.Emulate,
        StoreAddress = address,
        Error = PageFaultError.Present | PageFaultError.Write,
    };
}
