using Tessera.Sdk.Cpu.X64;
using Tessera.Sdk.Memory;

namespace Tessera.Sdk.Cpu;

/// <summary>
/// A CPU engine runs ring-3 guest code until it traps or a deadline passes, and knows nothing of Xen: no hypercalls, no two
/// page-table roots, no bouncing. Three small parts: the engine, one machine a domain, one CPU a vCPU.
/// </summary>
/// <remarks>The contract is eleven members over four interfaces. Failures of the host throw <see cref="EngineException"/>; whatever a guest does is a <see cref="Trap"/>.</remarks>
public interface ICpuEngine : IDisposable
{
    /// <summary>What was probed on this host, the strategy chosen, and what the kernel above needs to know.</summary>
    EngineFacts Facts { get; }

    /// <summary>Makes the calling thread a physical CPU: pins it to a host CPU and prepares preemption. Dispose on the same thread.</summary>
    /// <param name="hostCpu">The host's CPU number.</param>
    IEngineThread EnterThread(int hostCpu);

    /// <summary>Creates a domain's machine: its memory and the engine's own slot of its address space. Any thread.</summary>
    IGuestMachine CreateMachine(GuestMachineLayout layout);
}

/// <summary>A thread that runs guests.</summary>
public interface IEngineThread : IDisposable
{
    /// <summary>
    /// Makes the <see cref="IGuestCpu.Run"/> that goes on in this thread, or else its next one, return
    /// <see cref="TrapKind.Preempted"/> at once. Any thread, any time; kicks do not add up.
    /// </summary>
    void Kick();
}

/// <summary>One domain's machine: guest-physical memory and CPUs.</summary>
public interface IGuestMachine : IDisposable
{
    /// <summary>The L4 entries of the engine's own slots; every L4 table that a CPU may run on must have them.</summary>
    IReadOnlyList<RootEntry> RootEntries { get; }

    /// <summary>Creates a CPU; indexes from 0 without gaps.</summary>
    IGuestCpu CreateCpu(int index);

    /// <summary>
    /// Tells that a page-table entry in guest memory was changed by the VMM's own mapping. The engine makes it effective on every
    /// CPU of the machine before guest code runs there again; upgrades cost nothing.
    /// </summary>
    /// <param name="entryAddress">Machine address of the entry.</param>
    /// <param name="oldEntry">The value before.</param>
    /// <param name="newEntry">The value now.</param>
    void EntryChanged(ulong entryAddress, ulong oldEntry, ulong newEntry);

    /// <summary>
    /// When it returns, no CPU of the machine uses any more what a page-table entry gave that was changed before the call. A CPU in guest
    /// code is made to leave it and waited for; it makes the changes effective before it goes on. Called before a frame becomes a page
    /// or descriptor table, before it is one no longer, and before it leaves the domain: until then a CPU could still write it, or walk it.
    /// </summary>
    /// <remarks>
    /// Any thread that is not in <see cref="IGuestCpu.Run"/>; it may hold locks of the kernel, so wait for guest code alone. In a machine of
    /// one CPU (<see cref="GuestMachineLayout.MaxCpus"/>) it returns at once: that CPU is the one whose trap causes the call, or the domain is
    /// at rest. Allocates nothing.
    /// </remarks>
    void Synchronize();
}

/// <summary>One vCPU's hardware context. Run by one thread at a time, any engine thread.</summary>
public interface IGuestCpu : IDisposable
{
    /// <summary>The register state: current after each Run, honoured by the next, unless the trap said it is not <see cref="Trap.IsInterruptible"/>.</summary>
    ref GuestCpuState State { get; }

    /// <summary>Runs guest code in ring 3 from <see cref="State"/> until it traps or the deadline passes. Allocates nothing.</summary>
    /// <param name="thread">The calling thread's own engine thread.</param>
    /// <param name="deadline">CLOCK_MONOTONIC instant; a past one returns Preempted without (or after almost no) guest progress.</param>
    Trap Run(IEngineThread thread, Nanoseconds deadline);

    /// <summary>Makes frames the CPU's descriptor tables.</summary>
    void SetDescriptorTables(in GuestDescriptorTables tables);
}

/// <summary>Why guest code stopped.</summary>
public enum TrapKind
{
    /// <summary>The deadline passed or the thread was kicked.</summary>
    Preempted,

    /// <summary>
    /// `syscall`; Rip and Rflags are already the caller's (taken from RCX and R11), so resuming goes on after it. Of 32-bit code it comes
    /// with <see cref="GuestCpuState.Is32Bit"/> where the processor has it, else as the exception #UD.
    /// </summary>
    Syscall,

    /// <summary>The instruction of <see cref="EngineFacts.HypercallInstruction"/>; Rip is after it.</summary>
    Hypercall,

    /// <summary>An exception: vector, error code and, for page faults, the address. Rip is the faulting instruction (after it for int3, into and #DB traps).</summary>
    Exception,

    /// <summary>The guest cannot go on: triple fault, emulation failure, access to memory the machine does not have.</summary>
    Fatal,
}

/// <summary>One trap.</summary>
public struct Trap
{
    /// <summary>Why guest code stopped.</summary>
    public TrapKind Kind;

    /// <summary>The exception's vector.</summary>
    public byte Vector;

    /// <summary>
    /// Only false after <see cref="TrapKind.Preempted"/> in the middle of a trap's delivery: the state must then be left as it is and
    /// nothing delivered; the trap comes out of the next Run.
    /// </summary>
    public bool IsInterruptible;

    /// <summary>The exception's error code, 0 for those without.</summary>
    public uint ErrorCode;

    /// <summary>#PF: the address (CR2).</summary>
    public ulong FaultAddress;

    /// <summary>Fatal: what happened, in the engine's words.</summary>
    public string? Diagnosis;
}

/// <summary>A machine to create.</summary>
public sealed record GuestMachineLayout
{
    /// <summary>The domain's name, for messages and thread names.</summary>
    public required string Name { get; init; }

    /// <summary>The guest-physical memory; regions do not overlap and start above <see cref="EngineFacts.ReservedFrames"/>.</summary>
    public required IReadOnlyList<MemoryRegion> Regions { get; init; }

    /// <summary>How many CPUs will be created at most.</summary>
    public required int MaxCpus { get; init; }

    /// <summary>How its time follows from its work (<see cref="IGuestClock"/>); null for the host's time. Only where <see cref="EngineFacts.OwnsTime"/>.</summary>
    public GuestTime? Time { get; init; }
}

/// <summary>A run of machine frames and the host memory behind it.</summary>
/// <param name="First">The first frame; guest-physical address is First × 4096.</param>
/// <param name="Frames">How many.</param>
/// <param name="HostAddress">Where they lie in this process, page aligned; valid until the machine is disposed.</param>
/// <param name="IsReadOnly">The guest can never write it, whatever its page tables say.</param>
public readonly record struct MemoryRegion(Mfn First, long Frames, nint HostAddress, bool IsReadOnly);

/// <summary>What an engine found on this host and tells the kernel.</summary>
public sealed record EngineFacts
{
    /// <summary>The engine's name and version of what it stands on, such as "kvm (API 12)".</summary>
    public required string Name { get; init; }

    /// <summary>The strategy chosen from the probes, one sentence.</summary>
    public required string Strategy { get; init; }

    /// <summary>Machine frames 0 up to here belong to the engine in every machine; no region may use them.</summary>
    public required long ReservedFrames { get; init; }

    /// <summary>
    /// The instruction (a few bytes, clobbers nothing) that enters the VMM as <see cref="TrapKind.Hypercall"/> from a hypercall page. To
    /// make a call once more the kernel sets Rip back by its length; a guest that writes it in another way goes on where that leads.
    /// </summary>
    public required IReadOnlyList<byte> HypercallInstruction { get; init; }

    /// <summary>L4 slots of Xen's own range (256 to 271) that work here and the engine does not use, for the kernel's read-only tables.</summary>
    public required IReadOnlyList<int> FreeSlots { get; init; }

    /// <summary>Ring 3 sees hardware CPUID and XCR0 whatever the VMM says (so guests must be told the truth about vector state).</summary>
    public required bool HardwareCpuidLeaks { get; init; }

    /// <summary>CPUID in ring 3 raises #GP, as with CPUID faulting: the kernel answers it in either mode of the guest.</summary>
    public bool CpuidFaults { get; init; }

    /// <summary>The components of XCR0 that guests get (x87 1, SSE 2, AVX 4); null for the hardware's own, whatever it has.</summary>
    public ulong? VectorStates { get; init; }

    /// <summary>
    /// `syscall` stays in ring 3 here, exits are dear and page tables are shadowed, so that <see cref="ISyscallInterception"/> pays: its CPUs
    /// have that capability, and entries that ring 3 makes present in a page table are seen without being told.
    /// </summary>
    public bool InterceptsSyscalls { get; init; }

    /// <summary>Why <see cref="InterceptsSyscalls"/> is what it is, for people: the end of a sentence.</summary>
    public string InterceptionReason { get; init; } = "the engine does not offer to answer `syscall` inside the guest";

    /// <summary>Its CPUs can run by the work they do: they are <see cref="IGuestClock"/>s in machines with a <see cref="GuestMachineLayout.Time"/>.</summary>
    public bool OwnsTime { get; init; }

    /// <summary>Each probe and its finding, in order, for `tessera doctor` and results.</summary>
    public required IReadOnlyList<EngineFinding> Findings { get; init; }
}

/// <summary>One probed fact.</summary>
/// <param name="Probe">What was tried.</param>
/// <param name="Finding">What happened.</param>
/// <param name="Consequence">What follows for this run; empty for nothing.</param>
public readonly record struct EngineFinding(string Probe, string Finding, string Consequence);

/// <summary>The host refused something an engine needs, or cannot do it.</summary>
public sealed class EngineException : Exception
{
    /// <summary>Says what failed and what would help.</summary>
    /// <param name="message">What was tried and what the host answered.</param>
    /// <param name="cure">What the user can do about it.</param>
    public EngineException(string message, string cure)
        : base($"{message} {cure}".TrimEnd())
    {
        Cure = cure;
    }

    /// <summary>What the user can do about it.</summary>
    public string Cure { get; }
}
