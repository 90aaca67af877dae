namespace Tessera.Guests;

/// <summary>A built-in guest's report, copied out of its page.</summary>
public sealed record GuestReport
{
    /// <summary>Which guest.</summary>
    public required GuestKind Kind { get; init; }

    /// <summary>How far it has come.</summary>
    public required GuestProgress Progress { get; init; }

    /// <summary>Units of work: spin and burst loops of <see cref="UnitInstructions"/>, beats, paging rounds, fuzz calls or attempts, hello lines.</summary>
    public required ulong Units { get; init; }

    /// <summary>Instructions in a unit of CPU work; 0 where a unit is something else.</summary>
    public required ulong UnitInstructions { get; init; }

    /// <summary>What it found wrong.</summary>
    public required GuestError Error { get; init; }

    /// <summary>A value that goes with the error.</summary>
    public required ulong ErrorDetail { get; init; }

    /// <summary>beat and burst: deadlines that had passed before they could be set.</summary>
    public required ulong Overruns { get; init; }

    /// <summary>The vector of the last trap it took.</summary>
    public required ulong LastVector { get; init; }

    /// <summary>beat and burst: wake-to-run latencies.</summary>
    public LatencyHistogram? Latency { get; init; }

    /// <summary>fuzz: calls and attacks.</summary>
    public FuzzReport? Fuzz { get; init; }
}

/// <summary>What the hostile guest did.</summary>
public sealed record FuzzReport
{
    /// <summary>Calls made by hypercall number modulo 64.</summary>
    public required IReadOnlyList<uint> Calls { get; init; }

    /// <summary>Those that were answered with an error.</summary>
    public required IReadOnlyList<uint> Refusals { get; init; }

    /// <summary>Directed attacks, in order.</summary>
    public required IReadOnlyList<AttackRecord> Records { get; init; }

    /// <summary>The call under way or last made: number, five arguments, result, way (0 hypercall page, 1 syscall, 2 multicall).</summary>
    public required IReadOnlyList<ulong> LastCall { get; init; }
}

/// <summary>One directed attack.</summary>
/// <param name="Attack">What was tried.</param>
/// <param name="Target">The frame, address or variant (48 bits).</param>
/// <param name="Result">A hypercall's result, or <see cref="FuzzOutcome"/> plus the vector.</param>
public readonly record struct AttackRecord(FuzzAttack Attack, ulong Target, long Result);

/// <summary>Results of attacks that are not hypercalls.</summary>
public static class FuzzOutcome
{
    /// <summary>A trap came back to the guest; its vector is added.</summary>
    public const long Trapped = 0x1000;

    /// <summary>The access or jump went through.</summary>
    public const long Through = 0x2000;

    /// <summary>The write was taken but had no effect.</summary>
    public const long NoEffect = 0x3000;
}

/// <summary>The directed attacks of the hostile guest.</summary>
public enum FuzzAttack
{
    /// <summary>None.</summary>
    None,

    /// <summary>update_va_mapping of a foreign frame, writable; target: the frame.</summary>
    MapByUpdateVa,

    /// <summary>mmu_update of an own L1 entry to a foreign frame, read-only; target: the frame.</summary>
    MapByMmuUpdate,

    /// <summary>mmu_update of an own L2 entry to a foreign frame as L1 table; target: the frame.</summary>
    AttachForeignTable,

    /// <summary>mmu_update of one of the hypervisor's L4 slots; target: the slot.</summary>
    ReplaceHypervisorSlot,

    /// <summary>update_va_mapping of an address in the hypervisor's range; target: the slot.</summary>
    MapInHypervisorSlot,

    /// <summary>Pinning a foreign frame as a table; target: the frame.</summary>
    PinForeign,

    /// <summary>Making a foreign frame the base pointer; target: the frame.</summary>
    RunOnForeign,

    /// <summary>Mapping an own page table writable; target: its address.</summary>
    MapTableWritable,

    /// <summary>Storing a mapping of a foreign frame straight into a page table; target: the frame.</summary>
    StoreToTable,

    /// <summary>set_trap_table with handlers the kernel cannot have; target: the variant.</summary>
    SetBadTrapTable,

    /// <summary>Trapping with such a table, or such a stack; target: the variant. The domain must not come back from it.</summary>
    TrapIntoNothing,

    /// <summary>stack_switch to an address that is no stack; target: the variant.</summary>
    SetBadStack,

    /// <summary>Reading the hypervisor's range; target: the address's low 48 bits.</summary>
    ReadHypervisor,

    /// <summary>Writing there.</summary>
    WriteHypervisor,

    /// <summary>Jumping there.</summary>
    JumpHypervisor,

    /// <summary>iret with a frame the kernel must not honour; target: the variant.</summary>
    BadIret,

    /// <summary>A privileged instruction; target: which.</summary>
    PrivilegedInstruction,

    /// <summary>Executing a byte of an own L1 table as `cli`; target: how often. The entry must stay what it is.</summary>
    ExecuteTable,
}
