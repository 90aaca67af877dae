using Tessera.Kernel.Memory;
using Tessera.Plugins.Memory.DirectPaging;
using Tessera.Sdk;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Cpu.X64;
using Tessera.Sdk.Memory;

namespace Tessera.Memory.Tests.Support;

/// <summary>One domain with its frames in an array, numbers below and above that are nobody's or another's, and a check that every entry change is reported truthfully.</summary>
internal sealed class Machine : IMmuHost
{
    public const int Own = 32;
    private const long FirstFrame = 512;

    private readonly ulong[] _memory = new ulong[Own * 512];
    private readonly ulong[] _reported = new ulong[Own * 512];

    public Machine(int vcpus = 2)
    {
        MaxVcpus = vcpus;
        Table = new FrameTable(new Mfn(FirstFrame), Own);
        Counting = new CountingFrames(Table);
        Mmu = new SettledMmu(new DirectPaging().Attach(this));
    }

    public FrameTable Table { get; }

    public CountingFrames Counting { get; }

    public SettledMmu Mmu { get; }

    /// <summary>A number above the domain's own, as a granted frame has one.</summary>
    public static Mfn ForeignFrame { get; } = new(FirstFrame + Own);

    public int Changes { get; private set; }

    /// <summary>Frames that were written and are no page tables.</summary>
    public HashSet<Mfn> Written { get; } = [];

    public Dictionary<Mfn, Pfn> MachineToPhysical { get; } = [];

    public DomainId Domain { get; } = new(1);

    public int MaxVcpus { get; }

    public IFrameTable Frames => Counting;

    public IReadOnlyList<RootEntry> HypervisorEntries { get; } = [new(257, 0x1063), new(270, 0x2061)];

    public Mfn this[int index] => new(FirstFrame + index);

    public static ulong Address(Mfn frame, int index) => frame.Address + ((ulong)index * 8);

    public int IndexOf(Mfn frame) => frame.Value >= FirstFrame && frame.Value < FirstFrame + Own ? (int)(frame.Value - FirstFrame) : -1;

    Span<ulong> IMmuHost.Table(Mfn frame)
    {
        int index = IndexOf(frame);
        ArgumentOutOfRangeException.ThrowIfNegative(index, nameof(frame));
        return _memory.AsSpan(index * 512, 512);
    }

    public void EntryChanged(ulong entryAddress, ulong oldEntry, ulong newEntry)
    {
        int at = At(entryAddress);
        if (_reported[at] != oldEntry || _memory[at] != newEntry)
            throw new InvalidOperationException($"Untrue change at {entryAddress:x}: {oldEntry:x} to {newEntry:x}, was {_reported[at]:x} and is {_memory[at]:x}.");
        _reported[at] = newEntry;
        Changes++;
    }

    public void MemoryWritten(Mfn frame) => Written.Add(frame);

    /// <summary>L4 tables that became plain memory again.</summary>
    public List<Mfn> RetiredRoots { get; } = [];

    public void RootRetired(Mfn root) => RetiredRoots.Add(root);

    public void SetPfn(Mfn frame, Pfn pfn) => MachineToPhysical[frame] = pfn;

    public ulong Read(Mfn frame, int index) => _memory[(IndexOf(frame) * 512) + index];

    public ReadOnlySpan<ulong> ReadAll(Mfn frame) => _memory.AsSpan(IndexOf(frame) * 512, 512);

    /// <summary>A write by the guest, or by the CPU (A/D bits), which the engine sees for itself.</summary>
    public void Poke(Mfn frame, int index, ulong value)
    {
        int at = (IndexOf(frame) * 512) + index;
        _memory[at] = value;
        _reported[at] = value;
    }

    public void PokeAll(Mfn frame, ulong value)
    {
        for (int index = 0; index < 512; index++)
            Poke(frame, index, value);
    }

    /// <summary>Writes that were not reported are only allowed where no present entry was overwritten in plain memory.</summary>
    public void RequireTablesReported()
    {
        for (int frame = 0; frame < Own; frame++)
        {
            bool table = Table.TypeOf(this[frame]).Type is >= FrameType.L1 and <= FrameType.L4;
            Span<ulong> memory = _memory.AsSpan(frame * 512, 512);
            Span<ulong> reported = _reported.AsSpan(frame * 512, 512);
            if (memory.SequenceEqual(reported))
                continue;
            for (int index = 0; index < 512; index++)
            {
                if (memory[index] != reported[index] && (table || (reported[index] & Entry.P) != 0))
                    throw new InvalidOperationException($"Change of {this[frame]} entry {index} was not reported: {reported[index]:x} is now {memory[index]:x}.");
            }

            if (!table)
                memory.CopyTo(reported);
        }
    }

    public (FrameType Type, long Count) TypeOf(Mfn frame) => Table.TypeOf(frame);

    private int At(ulong address)
    {
        int frame = IndexOf(new Mfn((long)(address >> 12)));
        ArgumentOutOfRangeException.ThrowIfNegative(frame, nameof(address));
        return (frame * 512) + (int)((address & 0xFFF) / 8);
    }
}
