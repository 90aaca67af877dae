using Tessera.Sdk.Cpu;
using Tessera.Sdk.Cpu.X64;

namespace Tessera.Kernel.Tests.Scripted;

/// <summary>The registers that a row may name, in the order of <see cref="GuestCpuState"/>; and some beside them.</summary>
internal enum R
{
    Rax, Rbx, Rcx, Rdx, Rsi, Rdi, Rsp, Rbp, R8, R9, R10, R11, R12, R13, R14, R15, Rip, Rflags, FsBase, GsBase, Dr0, Dr1, Dr2, Dr3, Dr6, Dr7,
    Cs, Ss, Ds, Es, Fs, Gs, Root, Is32Bit, TaskSwitched,
}

/// <summary>What becomes of a vCPU after a trap.</summary>
internal enum Outcome
{
    /// <summary>It goes on at once.</summary>
    GoesOn,

    /// <summary>It offers its physical CPU to others, and goes on.</summary>
    Yields,

    /// <summary>Its time was over, and it goes on.</summary>
    IsPreempted,

    /// <summary>It blocks.</summary>
    Sleeps,

    /// <summary>Its domain ends.</summary>
    Ends,
}

/// <summary>What a guest does: registers, memory and the trap by which the VMM learns of it.</summary>
/// <param name="Registers">Registers that it changes before the trap.</param>
/// <param name="Stores">Memory that it writes before the trap.</param>
/// <param name="Trap">The trap; null when it only wrote memory, and the VMM learns nothing.</param>
internal sealed record Step((R Register, Value Value)[] Registers, Store[] Stores, Trap? Trap)
{
    /// <summary>How long it takes, in nanoseconds.</summary>
    public long Time { get; init; }

    /// <summary>The fault's address, for page faults.</summary>
    public Value? Address { get; init; }

    /// <summary>Another domain does it.</summary>
    public bool IsOthers { get; init; }

    /// <summary>The physical CPU is let go on until this time, ns, without a trap of the guest.</summary>
    public long? Until { get; init; }
}

/// <summary>Memory that is written.</summary>
/// <param name="Address">A guest address of the kernel's mapping, or a machine address.</param>
/// <param name="Bytes">What.</param>
internal sealed record Store(Value Address, Struct Bytes);

/// <summary>An entry into one of the guest's own handlers, by Xen's bounce frame.</summary>
/// <param name="Handler">Where.</param>
/// <param name="Error">The error code in the frame; null for a frame without.</param>
/// <param name="Masks">Whether events are masked by it.</param>
/// <param name="FromUser">The guest went to user mode by this trap and is taken out of it again.</param>
/// <param name="Saved">Registers whose value in the frame is not the one at the trap.</param>
internal sealed record Bounce(Value Handler, Value? Error = null, bool Masks = false, bool FromUser = false,
    params (R Register, Value Value)[] Saved);

/// <summary>
/// One line of a table: what a guest does, and all that comes of it. Registers and memory that it does not name are as they were at the
/// trap.
/// </summary>
/// <param name="What">In words.</param>
/// <param name="Step">What the guest does.</param>
/// <param name="Rax">RAX afterwards: the hypercall's result.</param>
/// <param name="Out">The first structure in memory that the step passed, afterwards.</param>
/// <param name="Outcome">What becomes of the vCPU.</param>
/// <param name="Reason">Part of why the domain ended.</param>
/// <param name="Enters">The handler that it is in afterwards.</param>
/// <param name="Registers">Other registers afterwards.</param>
/// <param name="Memory">Other memory that was written.</param>
/// <param name="Events">Ports that became pending, unmasked ones, with the upcall.</param>
/// <param name="Console">What came out of the console.</param>
/// <param name="After">What the guest did before.</param>
internal sealed record Row(
    string What,
    Step Step,
    Value? Rax = null,
    Struct? Out = null,
    Outcome Outcome = Outcome.GoesOn,
    string? Reason = null,
    Bounce? Enters = null,
    (R Register, Value Value)[]? Registers = null,
    Store[]? Memory = null,
    int[]? Events = null,
    string? Console = null,
    Step[]? After = null)
{
    /// <summary>The rows as cases of a test, each with its own name.</summary>
    public static IEnumerable<TestCaseData> Cases(params Row[] rows)
    {
        Assert.That(rows.Select(row => row.What), Is.Unique);
        return rows.Select(row => new TestCaseData(row).SetArgDisplayNames(row.What));
    }

    /// <summary>Runs it.</summary>
    public void Check()
    {
        using ScriptedGuest guest = new();
        guest.Check(this);
    }
}
