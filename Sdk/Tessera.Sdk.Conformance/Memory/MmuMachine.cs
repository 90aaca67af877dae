using Tessera.Sdk.Cpu.X64;
using Tessera.Sdk.Memory;
using Tessera.Sdk.Xen;

namespace Tessera.Sdk.Conformance.Memory;

/// <summary>One domain with its frames in an array, and a check that every entry change is reported truthfully.</summary>
internal class MmuMachine : IMmuHost
{
    /// <summary>Frames of the domain.</summary>
    public const int Own = 32;

    /// <summary>The number of the first.</summary>
    public const long FirstFrame = 512;

    private const long FirstTable = FirstFrame + (2 * Own);
    private const int FirstSlot = 256;
    private const int LastSlot = 271;

    // The domain's frames, then those for tables of the MMU's own.
    private readonly ulong[] _memory;
    private readonly ulong[] _reported;
    private readonly Stack<Mfn> _freeTables = new();
    private readonly HashSet<Mfn> _tables = [];

    /// <summary>A domain whose frames nothing is held on.</summary>
    /// <param name="mmu">Its MMU.</param>
    /// <param name="frames">Accounts of <see cref="Own"/> frames from <see cref="FirstFrame"/> on.</param>
    public MmuMachine(IMmuVirtualization mmu, IFrameTable frames)
    {
        Frames = frames;
        int tables = (int)mmu.TableFrames(Own);
        _memory = new ulong[(Own + tables) * 512];
        _reported = new ulong[_memory.Length];
        for (int table = tables - 1; table >= 0; table--)
            _freeTables.Push(new Mfn(FirstTable + table));
        Mmu = new SettledMmu(mmu.Attach(this));
    }

    /// <summary>A number above the domain's own, as a granted frame has one.</summary>
    public static Mfn ForeignFrame { get; } = new(FirstFrame + Own);

    /// <summary>The MMU, as the kernel uses it.</summary>
    public SettledMmu Mmu { get; }

    /// <summary>Reported changes of entries.</summary>
    public int Changes { get; private set; }

    /// <summary>Frames that were written and are no page tables.</summary>
    public HashSet<Mfn> Written { get; } = [];

    public Dictionary<Mfn, Pfn> MachineToPhysical { get; } = [];

    /// <summary>L4 tables that became plain memory again.</summary>
    public List<Mfn> RetiredRoots { get; } = [];

    public DomainId Domain { get; } = new(1);

    public int MaxVcpus => 2;

    public IFrameTable Frames { get; }

    public IReadOnlyList<RootEntry> HypervisorEntries { get; } = [new(257, 0x1063), new(270, 0x2061)];

    /// <summary>A frame of the domain.</summary>
    public Mfn this[int index] => new(FirstFrame + index);

    public static ulong Address(Mfn frame, int index) => frame.Address + ((ulong)index * 8);

    /// <summary>Which of the domain's frames it is; -1 for none.</summary>
    public static int IndexOf(Mfn frame) => frame.Value is >= FirstFrame and < FirstFrame + Own ? (int)(frame.Value - FirstFrame) : -1;

    Span<ulong> IMmuHost.Table(Mfn frame) => _memory.AsSpan(PlaceOf(frame), 512);

    /// <summary>How many tables of its own the MMU has.</summary>
    public int OwnTables => _tables.Count;

    public bool TryAllocateTables(Span<Mfn> tables)
    {
        if (tables.Length > _freeTables.Count)
            return false;
        foreach (ref Mfn table in tables)
        {
            table = _freeTables.Pop();
            _tables.Add(table);
        }

        return true;
    }

    public void FreeTables(ReadOnlySpan<Mfn> tables)
    {
        foreach (Mfn table in tables)
        {
            int place = PlaceOf(table);
            if (!_tables.Remove(table))
                throw new ArgumentOutOfRangeException(nameof(tables), $"{table} is none of the MMU's tables.");
            _memory.AsSpan(place, 512).Clear();
            _reported.AsSpan(place, 512).Clear();
            _freeTables.Push(table);
        }
    }

    public void EntryChanged(ulong entryAddress, ulong oldEntry, ulong newEntry)
    {
        int at = At(entryAddress);
        if (_reported[at] != oldEntry || _memory[at] != newEntry)
        {
            throw new InvalidOperationException(
                $"Untrue change at {entryAddress:x}: {oldEntry:x} to {newEntry:x}, was {_reported[at]:x} and is {_memory[at]:x}.");
        }

        _reported[at] = newEntry;
        Changes++;
    }

    public void MemoryWritten(Mfn frame) => Written.Add(frame);

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

    public XenErrno Do(MmuExtOp command, Mfn frame, Mfn source = default, int vcpu = 0) => Mmu.Extended(vcpu, (uint)command, frame, source);

    public XenErrno Write(Mfn table, int index, ulong entry, MmuUpdateKind kind = MmuUpdateKind.NormalPtUpdate) =>
        Mmu.Update(Address(table, index) | (ulong)kind, entry);

    public (FrameType Type, long Count) TypeOf(Mfn frame) => Frames.TypeOf(frame);

    /// <summary>Writes that were not reported are only allowed where no present entry was overwritten in plain memory.</summary>
    public void RequireTablesReported()
    {
        foreach (Mfn table in _tables)
        {
            if (!_memory.AsSpan(PlaceOf(table), 512).SequenceEqual(_reported.AsSpan(PlaceOf(table), 512)))
                throw new InvalidOperationException($"A change of {table}, a table of the MMU's own, was not reported.");
        }

        for (int frame = 0; frame < Own; frame++)
        {
            bool table = TypeOf(this[frame]).Type is >= FrameType.L1 and <= FrameType.L4;
            Span<ulong> memory = _memory.AsSpan(frame * 512, 512);
            Span<ulong> reported = _reported.AsSpan(frame * 512, 512);
            if (memory.SequenceEqual(reported))
                continue;
            for (int index = 0; index < 512; index++)
            {
                if (memory[index] != reported[index] && (table || (reported[index] & Entry.P) != 0))
                {
                    throw new InvalidOperationException(
                        $"Change of {this[frame]} entry {index} was not reported: {reported[index]:x} is now {memory[index]:x}.");
                }
            }

            if (!table)
                memory.CopyTo(reported);
        }
    }

    /// <summary>What a CPU in ring 3 finds at an address, from the root that the MMU names; null where it faults.</summary>
    public (Mfn Frame, bool IsWritable)? Walk(ulong address, int vcpu = 0, bool userMode = false)
    {
        // A fault may be resolved, and is then tried again.
        const PageFaultError store = PageFaultError.Present | PageFaultError.Write;
        (Mfn Frame, bool IsWritable)? found = Find(address, vcpu, userMode);
        if (found is null && IsResolved(PageFaultError.None))
            found = Find(address, vcpu, userMode);
        if (found is { IsWritable: false } && IsResolved(store))
            found = Find(address, vcpu, userMode);
        return found;

        bool IsResolved(PageFaultError error) =>
            Mmu.OnFault(vcpu, userMode, new VirtualAddress(address), error | (userMode ? PageFaultError.User : 0)).Action == FaultAction.Retry;
    }

    /// <summary>
    /// Looks at everything that CPUs can reach from the roots they run on: only frames of the domain, no page table and none of these
    /// descriptor tables through a writable mapping, and in the VMM's slots what the VMM wants there.
    /// </summary>
    public void RequireSafe(IReadOnlyCollection<Mfn> descriptors)
    {
        HashSet<(Mfn Frame, int Level)> tables = [];
        HashSet<Mfn> writable = [];
        for (int vcpu = 0; vcpu < MaxVcpus; vcpu++)
        {
            foreach (bool userMode in (ReadOnlySpan<bool>)[false, true])
            {
                if (Mmu.Root(vcpu, userMode) is var root && root != Mfn.None)
                    Reach(root, 4, tables, writable);
            }
        }

        foreach (Mfn frame in tables.Select(static table => table.Frame).Concat(descriptors))
        {
            if (writable.Contains(frame))
                Expect.Fail($"{frame} is a page or descriptor table, and the guest can write it");
        }

        foreach (Mfn frame in descriptors)
        {
            if (tables.Any(table => table.Frame == frame))
                Expect.Fail($"{frame} is a descriptor table and a page table at once");
        }

        RequireTablesReported();
    }

    private (Mfn Frame, bool IsWritable)? Find(ulong address, int vcpu, bool userMode)
    {
        Mfn frame = Mmu.Root(vcpu, userMode);
        if (frame == Mfn.None)
            return null;
        bool writable = true;
        for (int level = 4; level >= 1; level--)
        {
            ulong entry = _memory[PlaceOf(ExistingTable(frame)) + ((int)(address >> (3 + (9 * level))) & 511)];
            if ((entry & (Entry.P | Entry.U)) != (Entry.P | Entry.U))
                return null;
            writable &= (entry & Entry.RW) != 0;
            frame = PageTableEntry.FrameOf(entry);
        }

        return (Existing(frame), writable);
    }

    private void Reach(Mfn frame, int level, HashSet<(Mfn Frame, int Level)> tables, HashSet<Mfn> writable)
    {
        if (!tables.Add((ExistingTable(frame), level)))
            return;
        int place = PlaceOf(frame);
        for (int index = 0; index < 512; index++)
        {
            ulong entry = _memory[place + index];
            if (level == 4 && index is >= FirstSlot and <= LastSlot)
                RequireOwn(index, entry);
            else if ((entry & Entry.P) == 0)
                continue;
            else if (level > 1)
                Reach(PageTableEntry.FrameOf(entry), level - 1, tables, writable);
            else if (Existing(PageTableEntry.FrameOf(entry)) is var target && (entry & Entry.RW) != 0)
                writable.Add(target);
        }
    }

    private void RequireOwn(int slot, ulong entry)
    {
        ulong own = HypervisorEntries.FirstOrDefault(each => each.Slot == slot).Entry;
        if (entry != own)
            Expect.Fail($"slot {slot} of a root holds {entry:x}, not the VMM's own {own:x}");
    }

    private static Mfn Existing(Mfn frame)
    {
        if (IndexOf(frame) < 0)
            Expect.Fail($"a CPU reaches {frame}, which is not the domain's");
        return frame;
    }

    private Mfn ExistingTable(Mfn frame) => _tables.Contains(frame) ? frame : Existing(frame);

    /// <summary>Where the words of a frame are, of the domain's or of one that the MMU took for tables.</summary>
    private int PlaceOf(Mfn frame)
    {
        int index = _tables.Contains(frame) ? Own + (int)(frame.Value - FirstTable) : IndexOf(frame);
        ArgumentOutOfRangeException.ThrowIfNegative(index, nameof(frame));
        return index * 512;
    }

    private int At(ulong address) => PlaceOf(new Mfn((long)(address >> 12))) + (int)((address & 0xFFF) / 8);
}
