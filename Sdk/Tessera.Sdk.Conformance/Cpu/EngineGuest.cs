using System.Diagnostics;
using System.Runtime.InteropServices;
using Iced.Intel;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Cpu.X64;
using static Iced.Intel.AssemblerRegisters;

namespace Tessera.Sdk.Conformance.Cpu;

/// <summary>A machine with a hand-built address space: 2 MiB of guest addresses from <see cref="Base"/> through one L1 table, and code assembled with Iced.</summary>
public sealed unsafe class EngineGuest : IDisposable
{
    // SAFETY: every pointer is into _memory, Frames pages allocated in the constructor and freed in Dispose after the machine.
    /// <summary>The first guest address.</summary>
    public const ulong Base = 0x400000;
    /// <summary>Where code begins: four pages.</summary>
    public const ulong Code = Base;
    /// <summary>Where data begins: eight pages, frames <see cref="FirstData"/> and on.</summary>
    public const ulong Data = Base + 0x10000;
    /// <summary>The end of the stack: four pages.</summary>
    public const ulong StackTop = Base + 0x20000;
    /// <summary>Present, writable, user, accessed, dirty.</summary>
    public const ulong Rights = 0x67;
    /// <summary>The L4 table's frame.</summary>
    public const int L4 = 0;
    /// <summary>The L3 table's frame.</summary>
    public const int L3 = 1;
    /// <summary>The L2 table's frame.</summary>
    public const int L2 = 2;
    /// <summary>The L1 table's frame.</summary>
    public const int L1 = 3;
    /// <summary>The first data page's frame.</summary>
    public const int FirstData = 32;
    /// <summary>Frames of memory.</summary>
    public const int Frames = 96;

    private const int FirstCode = 8;
    private const int CodeFrames = 4;
    private const int FirstStack = 24;

    private readonly void* _memory;
    private readonly long _first;

    /// <summary>Creates the machine, its tables and its CPUs.</summary>
    public EngineGuest(ICpuEngine engine, int cpus = 1, MemoryRegion? extra = null, GuestTime? time = null)
    {
        _first = engine.Facts.ReservedFrames;
        _memory = NativeMemory.AlignedAlloc(Frames * 4096, 4096);
        NativeMemory.Clear(_memory, Frames * 4096);
        List<MemoryRegion> regions = [new MemoryRegion(new Mfn(_first), Frames, (nint)_memory, IsReadOnly: false)];
        if (extra is MemoryRegion more)
            regions.Add(more);
        Machine = engine.CreateMachine(new GuestMachineLayout { Name = "test", Regions = regions, MaxCpus = cpus, Time = time });
        HypercallInstruction = [.. engine.Facts.HypercallInstruction];
        Words(L4)[0] = Frame(L3).Address | Rights;
        foreach (RootEntry entry in Machine.RootEntries)
            Words(L4)[entry.Slot] = entry.Entry;
        Words(L3)[0] = Frame(L2).Address | Rights;
        Words(L2)[2] = Frame(L1).Address | Rights;
        for (int page = 0; page < CodeFrames; page++)
            Words(L1)[page] = Frame(FirstCode + page).Address | Rights;
        for (int page = 16; page < 24; page++)
            Words(L1)[page] = Frame(FirstData + page - 16).Address | Rights;
        for (int page = 28; page < 32; page++)
            Words(L1)[page] = Frame(FirstStack + page - 28).Address | Rights;
        for (int cpu = 0; cpu < cpus; cpu++)
        {
            Cpus.Add(Machine.CreateCpu(cpu));
            ref GuestCpuState state = ref Cpus[cpu].State;
            state.Root = Frame(L4);
            state.Rip = Code;
            state.Rsp = StackTop - ((ulong)cpu * 0x1000);
        }
    }

    /// <summary>The machine.</summary>
    public IGuestMachine Machine { get; }

    /// <summary>Its CPUs.</summary>
    public IList<IGuestCpu> Cpus { get; } = [];

    /// <summary>The engine's own entry instruction.</summary>
    public IReadOnlyList<byte> HypercallInstruction { get; }

    /// <summary>The first CPU's state.</summary>
    public ref GuestCpuState State => ref Cpus[0].State;

    /// <summary>A frame of the memory by its index.</summary>
    public Mfn Frame(int index) => new(_first + index);

    /// <summary>The words of a frame.</summary>
    public Span<ulong> Words(int frame) => new((byte*)_memory + (frame * 4096L), 512);

    /// <summary>Assembles code at the start of the code pages, or some way further on.</summary>
    /// <param name="write">Writes it.</param>
    /// <param name="offset">How far on.</param>
    /// <param name="bits">64, or 32 for code that runs in a 32-bit segment.</param>
    public void Assemble(Action<Assembler> write, int offset = 0, int bits = 64)
    {
        Assembler assembler = new(bits);
        write(assembler);
        using MemoryStream stream = new();
        assembler.Assemble(new StreamCodeWriter(stream), Code + (ulong)offset);
        stream.ToArray().CopyTo(new Span<byte>((byte*)_memory + (FirstCode * 4096) + offset, (CodeFrames * 4096) - offset));
    }

    /// <summary>Writes the entry instruction.</summary>
    public void Hypercall(Assembler assembler) => assembler.db([.. HypercallInstruction]);

    /// <summary>The index of an address's entry in <see cref="L1"/>.</summary>
    public static int EntryOf(ulong address) => (int)((address - Base) >> 12);

    /// <summary>Changes an entry as the VMM does.</summary>
    public void Change(int table, int index, ulong value)
    {
        ulong old = Words(table)[index];
        Words(table)[index] = value;
        Machine.EntryChanged(Frame(table).Address + ((ulong)index * 8), old, value);
    }

    /// <summary>The frame of the first page of code.</summary>
    public Mfn CodeFrame => Frame(FirstCode);

    /// <summary>Tells an engine that keeps what it has read that code was written, as the VMM does.</summary>
    public void CodeChanged()
    {
        for (int page = 0; page < CodeFrames; page++)
            (Machine as ITracksWrites)?.MemoryWritten(Frame(FirstCode + page));
    }

    /// <summary>Runs a CPU until a trap or the deadline; on a busy host a short one may have passed before the first instruction.</summary>
    /// <param name="thread">The calling thread's engine thread.</param>
    /// <param name="cpu">Which CPU.</param>
    /// <param name="milliseconds">For how long at most; ten minutes unless given, which only a hung guest takes.</param>
    public Trap Run(IEngineThread thread, int cpu = 0, long milliseconds = 600_000) =>
        Cpus[cpu].Run(thread, new Nanoseconds(Stopwatch.GetTimestamp()) + Nanoseconds.FromMilliseconds(milliseconds));

    /// <inheritdoc/>
    public void Dispose()
    {
        Machine.Dispose();
        NativeMemory.AlignedFree(_memory);
    }
}
