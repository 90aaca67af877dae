namespace Tessera.Guests;

/// <summary>Which built-in guest wrote a report page.</summary>
public enum GuestKind
{
    /// <summary>Not a built-in guest.</summary>
    None,

    /// <summary>Counts units of CPU work.</summary>
    Spin,

    /// <summary>Sleeps and wakes on a timer.</summary>
    Beat,

    /// <summary>On and off load.</summary>
    Burst,

    /// <summary>Builds and drops address spaces.</summary>
    Paging,

    /// <summary>The hostile guest.</summary>
    Fuzz,

    /// <summary>Says one line and powers off.</summary>
    Hello,

    /// <summary>Asks the hypervisor a thousand things.</summary>
    Probe,
}

/// <summary>How far a guest has come.</summary>
public enum GuestProgress
{
    /// <summary>No instruction of it has run, or it is still setting up.</summary>
    Starting,

    /// <summary>At its work.</summary>
    Running,

    /// <summary>Came to its own end.</summary>
    Finished,

    /// <summary>Found something wrong: the error code says what.</summary>
    Failed,
}

/// <summary>What a guest found wrong (the report's error code); the detail is a result or a value, as said here.</summary>
public enum GuestError
{
    /// <summary>Nothing.</summary>
    None,

    /// <summary>A hypercall the guest needs was refused; detail: its result.</summary>
    HypercallRefused,

    /// <summary>A trap it did not ask for; detail: the instruction pointer.</summary>
    UnexpectedTrap,

    /// <summary>paging: a table still mapped writable was accepted as a page table.</summary>
    PinnedWritable,

    /// <summary>paging: pinning, or switching to, a good address space was refused; detail: the result.</summary>
    PinRefused,

    /// <summary>paging: memory read through the new address space differs; detail: the value read.</summary>
    WrongContents,

    /// <summary>paging: a write through the new address space is not seen through the old; detail: the value read.</summary>
    WriteLost,

    /// <summary>paging: a batch of good updates was refused; detail: the result.</summary>
    UpdateRefused,

    /// <summary>paging: after an update the old frame is still seen; detail: the value read.</summary>
    StaleMapping,

    /// <summary>paging: a write through a read-only mapping did not fault.</summary>
    ReadOnlyIgnored,

    /// <summary>paging: a read of a page taken away did not fault.</summary>
    UnmapIgnored,

    /// <summary>paging: a fault came with the wrong address or error code; detail: the address.</summary>
    WrongFault,

    /// <summary>paging: a page table in use was mapped writable.</summary>
    TableMadeWritable,

    /// <summary>paging: a good direct write to a read-only table had no effect; detail: the entry.</summary>
    DirectWriteLost,

    /// <summary>paging: switching back or unpinning was refused; detail: the result.</summary>
    UnpinRefused,

    /// <summary>paging: a dropped table could not be made writable again; detail: the result.</summary>
    TableNotReturned,

    /// <summary>fuzz: an attack that must fail succeeded; the record before it says which.</summary>
    AttackSucceeded,

    /// <summary>fuzz: its own random calls took away memory it needs; a legitimate end, with the state Finished.</summary>
    OwnMemoryLost,
}
