using System.Runtime.InteropServices;
using Tessera.Plugins.Cpu.Software.Native;
using Tessera.Sdk.Cpu;

namespace Tessera.Plugins.Cpu.Software.Translation;

/// <summary>
/// The range of this process's addresses where translated code runs, in slots of <see cref="SlotBytes"/>, and the handler of the host's
/// faults in it. A fault with an instruction pointer inside the range is the guest's: the handler, machine code that this class writes,
/// notes it in the state block and goes on at the slot's own way out (<see cref="Thunks.Fault"/>). Any other goes to whoever handled it before.
/// All slots' memory is one file that is there from the beginning, with holes where no code is: a thread that runs guests gets a slot by mapping, the only call it may make for that
/// (docs/security.md).
/// </summary>
internal sealed unsafe class CodeSpace
{
    // SAFETY: the handler is written once into a page of its own that is never unmapped, since signals may come at any time; slots are only
    // given out whole and taken back by the arena that had them.
    public const int SlotBytes = 128 << 20;
    private const int Slots = 256;
    private const int HandlerBytes = 4096;
    private const ulong ReservedBytes = (ulong)SlotBytes * (Slots + 1);
    private static readonly int[] Faults = [NativeCalls.SegmentationFault, NativeCalls.ArithmeticFault, NativeCalls.BusError, NativeCalls.IllegalInstruction];

    /// <summary>One for all engines of this plugin: handlers of signals belong to the process.</summary>
    private static readonly Lazy<CodeSpace> Shared = new(() => new CodeSpace());

    private readonly Lock _gate = new();
    private readonly Stack<int> _free = new();
    private readonly nint _start;

    private CodeSpace()
    {
        nint reserved = NativeCalls.Map(0, unchecked((nuint)ReservedBytes), 0, NativeCalls.Private | NativeCalls.Anonymous | NativeCalls.NoReserve, -1, 0);
        if (reserved == NativeCalls.Failed)
            throw new EngineException($"Reserving addresses for translated code failed: {Marshal.GetLastPInvokeErrorMessage()}.", "Raise the limit of address space (ulimit -v).");
        File = NativeCalls.CreateMemoryFile();
        if (File < 0 || NativeCalls.SetLength(File, (long)SlotBytes * Slots) != 0)
            throw new EngineException($"memfd_create for translated code failed: {Marshal.GetLastPInvokeErrorMessage()}.", "Raise the limits of open files and of files' sizes (ulimit -n, ulimit -f).");
        _start = (reserved + SlotBytes - 1) & ~(nint)(SlotBytes - 1);
        for (int slot = Slots - 1; slot >= 0; slot--)
            _free.Push(slot);
        Install();
    }

    /// <summary>This process's.</summary>
    public static CodeSpace Instance => Shared.Value;

    /// <summary>The memory of all slots.</summary>
    public int File { get; }

    /// <summary>Takes a slot; its memory is not mapped yet.</summary>
    public nint Take()
    {
        lock (_gate)
        {
            return _free.TryPop(out int slot)
                ? _start + ((nint)slot * SlotBytes)
                : throw new EngineException($"One process can have at most {Slots} arenas of translated code.", "Run fewer domains at once.");
        }
    }

    /// <summary>Gives a slot back; nothing in it is mapped any more.</summary>
    public void Return(nint slot)
    {
        _ = NativeCalls.Map(slot, SlotBytes, 0, NativeCalls.Private | NativeCalls.Anonymous | NativeCalls.NoReserve | NativeCalls.Fixed, -1, 0);
        lock (_gate)
            _free.Push((int)((slot - _start) / SlotBytes));
    }

    /// <summary>Where a slot's memory begins in the <see cref="File"/>.</summary>
    public nint OffsetOf(nint slot) => slot - _start;

    private void Install()
    {
        nint page = NativeCalls.Map(0, HandlerBytes, NativeCalls.Read | NativeCalls.Write, NativeCalls.Private | NativeCalls.Anonymous, -1, 0);
        if (page == NativeCalls.Failed)
            throw new EngineException($"A page for the handler of faults failed: {Marshal.GetLastPInvokeErrorMessage()}.", "Free memory.");
        Emitter emitter = new(0) { Position = (byte*)page };
        Span<nint> handlers = stackalloc nint[Faults.Length];
        for (int index = 0; index < Faults.Length; index++)
        {
            handlers[index] = emitter.Here;
            WriteHandler(emitter, NativeCalls.HandlerOf(Faults[index]));
        }

        Seal(page);
        for (int index = 0; index < Faults.Length; index++)
        {
            int errno = NativeCalls.HandleFaults(Faults[index], handlers[index]);
            if (errno != 0)
                throw new EngineException($"sigaction({Faults[index]}) failed: {Marshal.GetPInvokeErrorMessage(errno)}.", string.Empty);
        }
    }

    /// <summary>Never writable and executable at once.</summary>
    private static void Seal(nint page)
    {
        if (NativeCalls.Protect(page, HandlerBytes, NativeCalls.Read | NativeCalls.Execute) != 0)
            throw new EngineException($"Making the handler of faults executable failed: {Marshal.GetLastPInvokeErrorMessage()}.", "Allow this process executable memory (SELinux: execmem).");
    }

    /// <summary>`void handler(int signal, siginfo_t *, ucontext_t *)`: RDI, RSI, RDX.</summary>
    private void WriteHandler(Emitter emitter, ulong before)
    {
        const int Rax = 0;
        const int Rcx = 1;
        const int Rdx = 2;
        const int Rsi = 6;
        const int Rdi = 7;
        const int AddressInSigInfo = 0x10;
        const int RspInContext = 0xa0;
        const int RipInContext = 0xa8;
        emitter.Memory(wide: true, 0x8b, Rax, Rdx, RipInContext);
        emitter.MoveImmediate(Rcx, (ulong)_start);
        emitter.Move(8, Rax);
        emitter.Registers(wide: true, 0x2b, 8, Rcx);
        emitter.MoveImmediate(Rcx, (ulong)SlotBytes * Slots);
        emitter.Registers(wide: true, 0x3b, 8, Rcx);
        nint elsewhere = emitter.JumpIfLater(3);
        emitter.Memory(wide: true, 0x8b, Rcx, Rdx, RspInContext); // the state block
        emitter.Memory(wide: true, 0x89, Rax, Rcx, StateBlock.FaultInstruction);
        emitter.Memory(wide: true, 0x89, Rdi, Rcx, StateBlock.FaultSignal);
        emitter.Memory(wide: true, 0x8b, Rsi, Rsi, AddressInSigInfo);
        emitter.Memory(wide: true, 0x89, Rsi, Rcx, StateBlock.FaultAddress);
        emitter.MoveImmediate(Rcx, unchecked((ulong)-SlotBytes));
        emitter.Registers(wide: true, 0x23, Rax, Rcx);
        emitter.Arithmetic(0, Rax, Thunks.FaultOffset, wide: true);
        emitter.Memory(wide: true, 0x89, Rax, Rdx, RipInContext);
        emitter.Byte(0xc3);
        emitter.Patch(elsewhere, emitter.Here);
        emitter.MoveImmediate(Rax, before);
        emitter.Bytes([0xff, 0xe0]);
    }
}
