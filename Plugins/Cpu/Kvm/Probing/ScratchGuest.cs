using Tessera.Plugins.Cpu.Kvm.Native;
using Tessera.Plugins.Cpu.Kvm.Paging;
using Tessera.Sdk;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Cpu.X64;

namespace Tessera.Plugins.Cpu.Kvm.Probing;

/// <summary>A machine of a few pages that runs single instructions in ring 3, to find out what this host does and what it costs.</summary>
internal sealed unsafe class ScratchGuest : IDisposable
{
    // SAFETY: all pointers are into _memory, a mapping of Frames pages that lives until Dispose; frame numbers are the constants here.
    public const ulong CodeAddress = 0x400000;
    public const ulong DataAddress = 0x401000;
    public const int L4 = 0;
    public const int L2 = 2;
    public const int L1 = 3;
    public const int DataA = 5;
    public const int DataB = 6;
    public const int OtherL1 = 7;
    public const int FirstSpareL4 = 8;
    public const int SpareL4s = 16;
    public const ulong Rights = 0x67;

    private const int L3 = 1;
    private const int Code = 4;
    private const int Frames = FirstSpareL4 + SpareL4s;

    /// <summary>Longer than any few instructions take even when everything is emulated on a busy host; only a run that hangs takes it.</summary>
    private static readonly Nanoseconds Patience = Nanoseconds.FromMilliseconds(250);

    private const int MostRounds = 20;

    private readonly MappingHandle _memory;
    private readonly KvmThread _thread;

    public ScratchGuest(KvmHost host, int slot, PagingStrategy strategy, KvmThread thread, int cpus)
    {
        _thread = thread;
        _memory = MappingHandle.Anonymous(Frames * 4096L);
        try
        {
            MemoryRegion region = new(new Mfn(EngineArea.ReservedFrames), Frames, _memory.Address, IsReadOnly: false);
            Machine = new KvmMachine(host, slot, strategy, new GuestMachineLayout { Name = "probe", Regions = [region], MaxCpus = cpus });
            Cpu = Machine.CreateCpu(0, null);
            BuildTables();
            Cpu.State.Root = Frame(L4);
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public KvmMachine Machine { get; } = null!;

    public KvmCpu Cpu { get; } = null!;

    /// <summary>One of the machine's frames.</summary>
    public static Mfn Frame(int index) => new(EngineArea.ReservedFrames + index);

    /// <summary>The 512 words of a frame.</summary>
    public Span<ulong> Words(int frame) => new((byte*)_memory.Address + (frame * 4096), 512);

    /// <summary>The address of a table's entry, as <see cref="IGuestMachine.EntryChanged"/> takes it.</summary>
    public static ulong EntryAddress(int table, int index) => Frame(table).Address + ((ulong)index * 8);

    /// <summary>Changes an entry the way the VMM does, and tells.</summary>
    public void Change(int table, int index, ulong value)
    {
        ulong old = Words(table)[index];
        Words(table)[index] = value;
        Machine.EntryChanged(EntryAddress(table, index), old, value);
    }

    /// <summary>Places code; the next <see cref="Run()"/> starts at its beginning.</summary>
    public void Place(params ReadOnlySpan<byte> code)
    {
        code.CopyTo(new Span<byte>((byte*)_memory.Address + (Code * 4096), 4096));
        Cpu.State.Rip = CodeAddress;
    }

    /// <summary>Runs the first CPU to its next trap.</summary>
    public Trap Run() => Run(Cpu);

    /// <summary>Runs a CPU to its next trap; on a starved host its time may pass before it has run at all.</summary>
    public Trap Run(KvmCpu cpu)
    {
        Trap trap = default;
        for (int round = 0; round < MostRounds && trap.Kind == TrapKind.Preempted; round++)
            trap = cpu.Run(_thread, new Nanoseconds(System.Diagnostics.Stopwatch.GetTimestamp()) + Patience);
        return trap;
    }

    /// <summary>Runs code from its start and answers whether it got to the hypercall at its end.</summary>
    public bool Completes(params ReadOnlySpan<byte> code)
    {
        Place(code);
        return Run().Kind == TrapKind.Hypercall;
    }

    /// <summary>Reads the word at an address in ring 3; null when that faults.</summary>
    public ulong? Read(ulong address)
    {
        Cpu.State.Rbx = address;
        return Completes(0x48, 0x8b, 0x03, 0xe6, EngineArea.Port) ? Cpu.State.Rax : null;
    }

    /// <summary>Writes back the word at an address in ring 3; false when that faults.</summary>
    public bool Write(ulong address)
    {
        Cpu.State.Rbx = address;
        return Completes(0x48, 0x83, 0x0b, 0x00, 0xe6, EngineArea.Port);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Machine?.Dispose();
        _memory.Dispose();
    }

    private void BuildTables()
    {
        Words(L4)[0] = Frame(L3).Address | Rights;
        foreach (RootEntry entry in Machine.RootEntries)
            Words(L4)[entry.Slot] = entry.Entry;
        Words(L3)[0] = Frame(L2).Address | Rights;
        Words(L2)[2] = Frame(L1).Address | Rights;
        foreach (int table in (ReadOnlySpan<int>)[L1, OtherL1])
        {
            Words(table)[0] = Frame(Code).Address | Rights;
            Words(table)[1] = Frame(table == L1 ? DataA : DataB).Address | Rights;
        }

        Words(DataA)[0] = DataA;
        Words(DataB)[0] = DataB;
    }
}
