using System.Diagnostics.CodeAnalysis;
using Tessera.Kernel.Native;
using Tessera.Sdk;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Cpu.X64;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Memory;

/// <summary>
/// A domain's frames: its memory, then the frames the VMM shares with it (shared_info, grant table and its status), one contiguous run of
/// machine frames from <see cref="First"/> on; behind it, no frames of the domain's, its machine-to-physical table, read-only to the guest,
/// spare pages, and what the MMU has for tables of its own. Numbers follow from the sizes alone, so that memory of another domain of the same size can be copied here as it is.
/// All of it is one piece of host memory and one region of the machine: each costs a KVM machine 25 KiB.
/// </summary>
internal sealed unsafe class DomainMemory : IDisposable
{
    /// <summary>Grant table frames set aside for each domain.</summary>
    public const int GrantFrames = 64;

    /// <summary>Frames for the status of version 2's entries: as many entries as fit into the table, two bytes each.</summary>
    public const int GrantStatusFrames = GrantFrames * 4096 / GrantLayout.Entry2Size * GrantLayout.StatusSize / 4096;

    /// <summary>The pseudo-physical number of a frame that has none.</summary>
    public const ulong InvalidPfn = ulong.MaxValue;

    /// <summary>
    /// First machine frame of every domain, at 512 MiB; pseudo-physical frame 0. Below lie frames of the engine's and the VMM's, so that the
    /// numbers that guests take for none or for the BIOS's are nobody's. A grant of version 1 has 32 bits for a frame, enough for all.
    /// </summary>
    public static readonly Mfn First = new(0x20000);

    private const ulong ReadOnlyPage = 0x8000_0000_0000_0025; // NX | accessed | user | present
    private const ulong Table = 0x27; // accessed | user | writable | present
    private const int LeastUpper = 3; // tables of levels 3 to 1

    /// <summary>Frames beside its memory that the VMM shares with a domain.</summary>
    public const int SharedFrames = 1 + GrantFrames + GrantStatusFrames;

    private readonly HostMemory _memory;
    private readonly byte* _pointer;
    private readonly long _tableFrames;
    private readonly long _spareFrames;
    private readonly ulong* _machineToPhysical;

    /// <summary>Backs the frames with host memory.</summary>
    /// <param name="arena">The machine's host memory.</param>
    /// <param name="ramFrames">Frames of memory proper; <see cref="SharedFrames"/> more follow.</param>
    /// <param name="engine">The engine's facts: its free slots.</param>
    /// <param name="spareFrames">Pages that the machine has beside, for the VMM.</param>
    /// <param name="mmuFrames">Pages that it has beside, for tables of the MMU's own.</param>
    public DomainMemory(HostArena arena, long ramFrames, EngineFacts engine, long spareFrames, long mmuFrames)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(mmuFrames);
        MmuFrames = mmuFrames;
        RamFrames = ramFrames;
        TotalFrames = FramesFor(ramFrames);
        long tablePages = (TotalFrames + 511) / 512;
        long upper = 1 + (2 * ((tablePages / 512) + 2));
        _tableFrames = tablePages + upper;
        _spareFrames = spareFrames;
        _memory = new HostMemory(arena, AllFrames * 4096);
        _memory.Populate(TotalFrames * 4096, (tablePages + LeastUpper) * 4096);
        _pointer = _memory.Pointer;
        _machineToPhysical = (ulong*)(_pointer + (TotalFrames * 4096));
        MachineToPhysicalSlot = engine.FreeSlots[0];
        TableEntry = BuildTables(tablePages);
        for (long frame = 0; frame < tablePages * 512; frame++)
            _machineToPhysical[frame] = frame < ramFrames ? (ulong)frame : InvalidPfn;
    }

    /// <summary>Frames of memory proper.</summary>
    public long RamFrames { get; }

    /// <summary>With the shared frames.</summary>
    public long TotalFrames { get; }

    /// <summary>The last of its frames.</summary>
    public Mfn Last => First + (TotalFrames - 1);

    /// <summary>The first of the spare pages in this domain's machine.</summary>
    public Mfn SpareFirst => TableFirst + _tableFrames;

    /// <summary>Where the spare pages lie here.</summary>
    public byte* Spare => _pointer + ((TotalFrames + _tableFrames) * 4096);

    /// <summary>The first of the pages for tables of the MMU's own.</summary>
    public Mfn MmuFirst => SpareFirst + _spareFrames;

    /// <summary>How many there are.</summary>
    public long MmuFrames { get; }

    /// <summary>The L4 slot that shows the machine-to-physical table.</summary>
    public int MachineToPhysicalSlot { get; }

    /// <summary>That slot's entry.</summary>
    public RootEntry TableEntry { get; }

    /// <summary>Where the guest sees the table; entry n describes machine frame n, and only those of its own frames are there.</summary>
    public VirtualAddress MachineToPhysicalBase => new(0xFFFF_0000_0000_0000UL | ((ulong)MachineToPhysicalSlot << 39));

    /// <summary>The frame of the shared_info page.</summary>
    public Mfn SharedInfoFrame => First + RamFrames;

    /// <summary>Bytes of host memory that back the frames now.</summary>
    public long ResidentBytes => _memory.ResidentBytes(TotalFrames * 4096);

    /// <summary>All frames a domain of this much memory takes.</summary>
    public static long FramesFor(long ramFrames) => ramFrames + SharedFrames;

    /// <summary>One of the numbers above the domain's own under which its machine shows frames of others.</summary>
    public Mfn ForeignFrame(int index) => First + AllFrames + index;

    /// <summary>A frame of the grant table.</summary>
    public Mfn GrantFrame(int index) => First + RamFrames + 1 + index;

    /// <summary>A frame of the grant table's status.</summary>
    public Mfn GrantStatusFrame(int index) => First + RamFrames + 1 + GrantFrames + index;

    /// <summary>The memory as an engine wants it.</summary>
    public MemoryRegion Region => new(First, AllFrames, (nint)_pointer, IsReadOnly: false);

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

    /// <summary>The first byte of one of the MMU's tables, for <see cref="MmuTables"/> alone.</summary>
    // SAFETY: checked; the mapping lives as long as this object.
    public byte* MmuPageForWriting(long index)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((ulong)index, (ulong)MmuFrames, nameof(index));
        return _pointer + ((MmuFirst.Value - First.Value + index) << 12);
    }

    /// <summary>Has the host back frames that the builder is about to write.</summary>
    public void Populate(long pfn, long frames) => _memory.Populate(pfn << 12, frames << 12);

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

    /// <summary>Returns the host memory of consecutive frames; they read as zero. Called by <see cref="GuestWrites"/>.</summary>
    public void Discard(Mfn first, long count) => _memory.Discard((first.Value - First.Value) << 12, count << 12);

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
    public void Dispose() => _memory.Dispose();

    private Mfn TableFirst => First + TotalFrames;

    private long AllFrames => TotalFrames + _tableFrames + _spareFrames + MmuFrames;

    [DoesNotReturn]
    private static void ThrowOutside(Mfn frame) => throw new ArgumentOutOfRangeException(nameof(frame), $"{frame} is not the domain's.");

    /// <summary>Maps the table's pages read-only under one L3 table; every missing level is made as it is met.</summary>
    private RootEntry BuildTables(long tablePages)
    {
        long next = tablePages;
        ulong* NewTable(out ulong entry)
        {
            entry = (TableFirst + next).Address | Table;
            return _machineToPhysical + (512 * next++);
        }

        ulong* Below(ulong* table, long index)
        {
            if (table[index] == 0)
            {
                ulong* made = NewTable(out ulong entry);
                table[index] = entry;
                return made;
            }

            return _machineToPhysical + (512 * (PageTableEntry.FrameOf(table[index]).Value - TableFirst.Value));
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
