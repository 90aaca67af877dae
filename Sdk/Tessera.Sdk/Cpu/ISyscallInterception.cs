namespace Tessera.Sdk.Cpu;

/// <summary>
/// An optional capability of an <see cref="IGuestCpu"/>: ring-3 code of the kernel's may see a `syscall` before the VMM does, and answer
/// it without an exit. Only of use where <see cref="EngineFacts.InterceptsSyscalls"/> says so.
/// </summary>
/// <remarks>
/// The code runs with the guest's rights on the guest's own tables: it can do nothing that the guest could not do with the same mappings,
/// and whatever it leaves behind in memory is the guest's word. RCX and R11 hold the caller's RIP and RFLAGS, as `syscall` leaves them.
/// </remarks>
public interface ISyscallInterception
{
    /// <summary>Jumping here, with every register as `syscall` left it, makes the call a <see cref="TrapKind.Syscall"/>.</summary>
    ulong Exit { get; }

    /// <summary>
    /// Where `syscall` goes from the next Run on: an address in the declared code, or <see cref="Exit"/>. Read by any code of the guest,
    /// written by none. Any value of the kernel's own; called by the thread that runs the CPU, between two Runs.
    /// </summary>
    ulong Entry { get; set; }

    /// <summary>Declares where the code lies, once and before the first Run: while RIP is inside, the CPU is not interruptible (<see cref="Trap.IsInterruptible"/>).</summary>
    /// <param name="start">First linear address.</param>
    /// <param name="bytes">How long it is.</param>
    /// <exception cref="EngineException">The host refused to send `syscall` there.</exception>
    void Declare(ulong start, int bytes);
}
