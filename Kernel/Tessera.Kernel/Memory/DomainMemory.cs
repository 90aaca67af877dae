using System.Diagnostics.CodeAnalysis;
using Tessera.Kernel.Native;
using Tessera.Sdk;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Cpu.X64;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Memory;

/// <summary>
/// A domain's frames: its memory, then the frames the VMM shares with it (shared_info, grant table and its status), one contiguous run of
/// machine frames from <see cref="First"/> on; and beside it, read-only to the guest, its machine-to-physical table. Numbers follow from
/// the sizes alone, so that memory of another domain of the same size can be copied here as it is.
/// </summary>
internal sealed unsafe class DomainMemory : IDisposable
{
    /// <summary>Grant table frames set aside for each domain.</summary>
    public const int GrantFrames = 32;

    /// <summary>Frames for the status of version 2's entries: as many entries as fit into the table, two bytes each.</summary>
    public const int GrantStatusFrames = GrantFrames * 4096 / GrantLayout.Entry2Size * GrantLayout.StatusSize / 4096;

    /// <summary>The pseudo-physical number of a frame that has none.</summary>
    public const ulong InvalidPfn = ulong.MaxValue;

    /// <summary>
    /// First machine frame of every domain, at 512 MiB; pseudo-physical frame 0. Below lie the engine's frames and the VMM's tables, so that
    /// the numbers that guests take for none or for the BIOS's are nobody's. A grant of version 1 has 32 bits for a frame, enough for all.
    /// </summary>
    public static readonly Mfn First = new(0x20000);

    private const ulong ReadOnlyPage = 0x8000_0000_0000_0025; // NX | accessed | user | present
    private const ulong Table = 0x27; // accessed | user | writable | present
    private const int SharedFrames = 1 + GrantFrames + GrantStatusFrames;

    private readonly HostMemory _memory;
    private readonly HostMemory _tables;
    private readonly byte* _pointer;
    private readonly ulong* _machineToPhysical;

    /// <summary>Backs the frames with host memory.</summary>
    /// <param name="ramFrames">Frames of memory proper; <see cref="SharedFrames"/> more follow.</param>
    /// <param name="engine">The engine's facts: its reserved frames and free slots.</param>
    public DomainMemory(long ramFrames, EngineFacts engine)
    {
        RamFrames = ramFrames;
        TotalFrames = FramesFor(ramFrames);
        _memory = new HostMemory(TotalFrames * 4096);
        _pointer = _memory.Pointer;
        long tablePages = (TotalFrames + 511) / 512;
        long upper = 1 + (2 * ((tablePages / 512) + 2));
        TableFirst = new Mfn(engine.ReservedFrames);
        _tables = new HostMemory((tablePages + upper) * 4096);
        _machineToPhysical = (ulong*)_tables.Pointer;
        MachineToPhysicalSlot = engine.FreeSlots[0];
        TableEntry = BuildTables(tablePages);
        for (long frame = 0; frame < TotalFrames; frame++)
            _machineToPhysical[frame] = frame < ramFrames ? (ulong)frame : InvalidPfn;
    }

    /// <summary>Frames of memory proper.</summary>
    public long RamFrames { get; }

    /// <summary>With the shared frames.</summary>
    public long TotalFrames { get; }

    /// <summary>The last of its frames.</summary>
    public Mfn Last => First + (TotalFrames - 1);

    /// <summary>First frame of the machine-to-physical table in this domain's machine.</summary>
    public Mfn TableFirst { get; }

    /// <summary>The first frame after those of the table: free for what else the VMM shows this domain.</summary>
    public Mfn TableEnd => TableFirst + (_tables.Bytes / 4096);

    /// <summary>The L4 slot that shows the machine-to-physical table.</summary>
    public int MachineToPhysicalSlot { get; }

    /// <summary>That slot's entry.</summary>
    public RootEntry TableEntry { get; }

    /// <summary>Where the guest sees the table; entry n describes machine frame n, and only those of its own frames are there.</summary>
    public VirtualAddress MachineToPhysicalBase => new(0xFFFF_0000_0000_0000UL | ((ulong)MachineToPhysicalSlot << 39));

    /// <summary>The frame of the shared_info page.</summary>
    public Mfn SharedInfoFrame => First + RamFrames;

    /// <summary>Bytes of host memory that back the frames now.</summary>
    public long ResidentBytes => _memory.ResidentBytes();

    /// <summary>All frames a domain of this much memory takes.</summary>
    public static long FramesFor(long ramFrames) => ramFrames + SharedFrames;

    /// <summary>One of the numbers above the domain's own under which its machine shows frames of others.</summary>
    public Mfn ForeignFrame(int index) => Last + 1 + index;

    /// <summary>A frame of the grant table.</summary>
    public Mfn GrantFrame(int index) => First + RamFrames + 1 + index;

    /// <summary>A frame of the grant table's status.</summary>
    public Mfn GrantStatusFrame(int index) => First + RamFrames + 1 + GrantFrames + index;

    /// <summary>The memory as an engine wants it.</summary>
    public IReadOnlyList<MemoryRegion> Regions() =>
    [
        new MemoryRegion(First, TotalFrames, (nint)_pointer, IsReadOnly: false),
        new MemoryRegion(TableFirst, _tables.Bytes / 4096, (nint)_tables.Pointer, IsReadOnly: false),
    ];

    /// <summary>Whether the frame is in the run.</summary>
    public bool Has(Mfn frame) => (ulong)(frame.Value - First.Value) < (ulong)TotalFrames;

    /// <summary>The bytes of a frame. Who writes goes through <see cref="GuestWrites"/>.</summary>
    /// <exception cref="ArgumentOutOfRangeException">Not in the run.</exception>
    // SAFETY: the frame is checked; the mapping lives as long as this object and frames are page aligned.
    public ReadOnlySpan<byte> Frame(Mfn frame) => new(PageForWriting(frame), 4096);

    /// <summary>The first byte of a frame for those that docs/security.md names, each with what makes its writes safe; nobody else may ask for it.</summary>
    /// <exception cref="ArgumentOutOfRangeException">Not in the run.</exception>
    public byte* PageForWriting(Mfn frame)
    {
        long offset = frame.Value - First.Value;
        if ((ulong)offset >= (ulong)TotalFrames)
            ThrowOutside(frame);
        return _pointer + (offset << 12);
    }

    /// <summary>The bytes of consecutive frames from a pseudo-physical one, for the builder of a domain that has not run yet.</summary>
    public Span<byte> BeforeBoot(long pfn, long bytes)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan((pfn << 12) + bytes, RamFrames << 12);
        // SAFETY: checked against the run's length just above.
        return new(_pointer + (pfn << 12), checked((int)bytes));
    }

    /// <summary>Sets a machine-to-physical entry of an own frame.</summary>
    public void SetPfn(Mfn frame, ulong pfn)
    {
        if (Has(frame))
            _machineToPhysical[frame.Value - First.Value] = pfn;
    }

    /// <summary>The machine-to-physical entry of an own frame, as the guest may read it.</summary>
    public bool TryGetPfn(Mfn frame, out ulong pfn)
    {
        bool own = Has(frame);
        pfn = own ? _machineToPhysical[frame.Value - First.Value] : InvalidPfn;
        return own;
    }

    /// <summary>Returns a frame's host memory; it reads as zero. Called by <see cref="GuestWrites"/>.</summary>
    public void Discard(Mfn frame) => _memory.Discard((frame.Value - First.Value) << 12, 4096);

    /// <summary>Returns the host memory of a dead domain's frames, but for those that others still use and the grant table itself.</summary>
    public void DiscardExcept(IReadOnlySet<Mfn> kept)
    {
        long start = 0;
        for (long frame = 0; frame <= RamFrames; frame++)
        {
            if (frame < RamFrames && !kept.Contains(First + frame))
                continue;
            if (frame > start)
                _memory.Discard(start << 12, (frame - start) << 12);
            start = frame + 1;
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _memory.Dispose();
        _tables.Dispose();
    }

    [DoesNotReturn]
    private static void ThrowOutside(Mfn frame) => throw new ArgumentOutOfRangeException(nameof(frame), $"{frame} is not the domain's.");

    /// <summary>Maps the table's pages read-only under one L3 table; every missing level is made as it is met.</summary>
    private RootEntry BuildTables(long tablePages)
    {
        long next = tablePages;
        ulong* NewTable(out ulong entry)
        {
            entry = (TableFirst + next).Address | Table;
            return (ulong*)_tables.Pointer + (512 * next++);
        }

        ulong* Below(ulong* table, long index)
        {
            if (table[index] == 0)
            {
                ulong* made = NewTable(out ulong entry);
                table[index] = entry;
                return made;
            }

            return (ulong*)_tables.Pointer + (512 * (PageTableEntry.FrameOf(table[index]).Value - TableFirst.Value));
        }

        ulong* level3 = NewTable(out ulong root);
        for (long page = 0; page < tablePages; page++)
        {
            long index = (First.Value / 512) + page;
            ulong* level1 = Below(Below(level3, (index >> 18) & 511), (index >> 9) & 511);
            level1[index & 511] = (TableFirst + page).Address | ReadOnlyPage;
        }

        return new RootEntry(MachineToPhysicalSlot, root & ~2UL);
    }
}
