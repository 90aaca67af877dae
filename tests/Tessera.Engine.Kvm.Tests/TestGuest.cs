using System.Diagnostics;
using System.Runtime.InteropServices;
using Iced.Intel;
using Tessera.Sdk;
using Tessera.Sdk.Cpu;
using static Iced.Intel.AssemblerRegisters;

namespace Tessera.Engine.Kvm.Tests;

/// <summary>A machine with a hand-built address space: 2 MiB of guest addresses from <see cref="Base"/> through one L1 table, and code assembled with Iced.</summary>
internal sealed unsafe class TestGuest : IDisposable
{
    // SAFETY: every pointer is into _memory, Frames pages allocated in the constructor and freed in Dispose after the machine.
    public const ulong Base = 0x400000;
    public const ulong Code = Base;
    public const ulong Data = Base + 0x10000;
    public const ulong StackTop = Base + 0x20000;
    public const ulong Rights = 0x67;
    public const int L4 = 0;
    public const int L3 = 1;
    public const int L2 = 2;
    public const int L1 = 3;
    public const int FirstData = 32;
    public const int Frames = 96;

    private const int FirstCode = 8;
    private const int CodeFrames = 4;
    private const int FirstStack = 24;

    private readonly void* _memory;
    private readonly long _first;

    public TestGuest(ICpuEngine engine, int cpus = 1, MemoryRegion? extra = null)
    {
        _first = engine.Facts.ReservedFrames;
        _memory = NativeMemory.AlignedAlloc(Frames * 4096, 4096);
        NativeMemory.Clear(_memory, Frames * 4096);
        List<MemoryRegion> regions = [new MemoryRegion(new Mfn(_first), Frames, (nint)_memory, IsReadOnly: false)];
        if (extra is MemoryRegion more)
            regions.Add(more);
        Machine = engine.CreateMachine(new GuestMachineLayout { Name = "test", Regions = regions, MaxCpus = cpus });
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

    public IGuestMachine Machine { get; }

    public List<IGuestCpu> Cpus { get; } = [];

    public byte[] HypercallInstruction { get; }

    public ref GuestCpuState State => ref Cpus[0].State;

    public Mfn Frame(int index) => new(_first + index);

    public Span<ulong> Words(int frame) => new((byte*)_memory + (frame * 4096L), 512);

    /// <summary>Assembles code at the start of the code pages, or some way further on.</summary>
    public void Assemble(Action<Assembler> write, int offset = 0)
    {
        Assembler assembler = new(64);
        write(assembler);
        using MemoryStream stream = new();
        assembler.Assemble(new StreamCodeWriter(stream), Code + (ulong)offset);
        stream.ToArray().CopyTo(new Span<byte>((byte*)_memory + (FirstCode * 4096) + offset, (CodeFrames * 4096) - offset));
    }

    public void Hypercall(Assembler assembler) => assembler.db(HypercallInstruction);

    /// <summary>The index of an address's entry in <see cref="L1"/>.</summary>
    public static int EntryOf(ulong address) => (int)((address - Base) >> 12);

    /// <summary>Changes an entry as the VMM does.</summary>
    public void Change(int table, int index, ulong value)
    {
        ulong old = Words(table)[index];
        Words(table)[index] = value;
        Machine.EntryChanged(Frame(table).Address + ((ulong)index * 8), old, value);
    }

    /// <summary>Runs until a trap or the deadline; on a busy host a short one may have passed before the first instruction.</summary>
    public Trap Run(IEngineThread thread, int cpu = 0, long? milliseconds = null) =>
        Cpus[cpu].Run(thread, new Nanoseconds(Stopwatch.GetTimestamp()) + Nanoseconds.FromMilliseconds(milliseconds ?? (long)Hang.Limit.TotalMilliseconds));

    public void Dispose()
    {
        Machine.Dispose();
        NativeMemory.AlignedFree(_memory);
    }
}

/// <summary>Assembler shorthand.</summary>
internal static class AssemblerExtensions
{
    public static void LoadAddress(this Assembler assembler, ulong address) => assembler.mov(rbx, address);
}
