using Tessera.Sdk;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Cpu.X64;
using Tessera.Sdk.Memory;

namespace Tessera.Plugins.Memory.DirectPaging;

/// <summary>
/// What single entries of page tables hold. Present at level 1: a Writable type (writable mapping) or a general reference (read-only mapping); above it the type of the table
/// below.
/// </summary>
internal sealed class EntryTargets(IMmuHost host)
{
    private readonly IFrameTable _frames = host.Frames;

    /// <summary>Addresses of the entries that map frames the kernel vouches for. No reference is held for them.</summary>
    public HashSet<ulong> Foreign { get; } = [];

    /// <summary>Machine address of an entry.</summary>
    public static ulong Address(Mfn table, int index) => table.Address + ((ulong)index * sizeof(ulong));

    /// <summary>What a refused type means to the guest.</summary>
    public static XenErrno Error(TypeReference reference) => reference switch
    {
        TypeReference.NotOwner or TypeReference.Conflict => XenErrno.EINVAL,
        _ => XenErrno.Success,
    };

    /// <summary>Takes the page that a level-1 entry maps.</summary>
    public XenErrno TakePage(ulong entry)
    {
        Mfn target = PageTableEntry.FrameOf(entry);
        TypeReference taken = (entry & PageTableEntry.Writable) != 0 ? _frames.TakeType(target, FrameType.Writable)
            : _frames.TakeReference(target) ? TypeReference.Taken : TypeReference.NotOwner;
        return taken switch
        {
            // The frame number of all ones stands for "none", which is an argument and not a frame that somebody may not have.
            TypeReference.NotOwner => target.Address == PageTableEntry.FrameMask ? XenErrno.EINVAL : XenErrno.EPERM,
            TypeReference.Conflict => XenErrno.EBUSY,
            _ => XenErrno.Success,
        };
    }

    /// <summary>Takes the table that an entry of a level above 1 refers to; the first reference asks for its validation.</summary>
    public TypeReference TakeTable(ulong entry, int level) => _frames.TakeType(PageTableEntry.FrameOf(entry), (FrameType)(level - 1));

    /// <summary>Lets go of the page that a level-1 entry mapped.</summary>
    public void DropPage(ulong address, ulong entry)
    {
        if (Foreign.Remove(address))
            return;
        Mfn target = Own(entry, level: 1);
        if ((entry & PageTableEntry.Writable) != 0)
            _frames.DropType(target);
        else
            _frames.DropReference(target);
    }

    /// <summary>The table that an entry of a level above 1 referred to.</summary>
    public Mfn TableToDrop(ulong entry, int level) => Own(entry, level);

    /// <summary>Writes an entry and tells the engine, if that changes it.</summary>
    public void Change(Mfn frame, int index, ulong entry)
    {
        ulong old = Interlocked.Exchange(ref host.Table(frame)[index], entry);
        if (old != entry)
            host.EntryChanged(Address(frame, index), old, entry);
    }

    /// <summary>Puts the VMM's own entries into a level-4 table.</summary>
    public void InstallVmmSlots(Mfn frame)
    {
        for (int index = GuestEntry.FirstVmmSlot; index <= GuestEntry.LastVmmSlot; index++)
            Change(frame, index, VmmEntry(index));
    }

    private ulong VmmEntry(int slot)
    {
        IReadOnlyList<RootEntry> entries = host.HypervisorEntries;
        for (int i = 0; i < entries.Count; i++)
        {
            if (entries[i].Slot == slot)
                return entries[i].Entry;
        }

        return 0;
    }

    // Where the guest can reach its tables, an entry may be anything by now; it must be a frame of the domain to have accounts at all.
    private Mfn Own(ulong entry, int level)
    {
        Mfn target = PageTableEntry.FrameOf(entry);
        return _frames.Has(target) ? target : throw new TamperedTablesException($"a page-table entry of level {level} that was never accepted (0x{entry:x})");
    }
}
