using Tessera.Sdk;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Memory;

namespace Tessera.Plugins.Memory.DirectPaging;

/// <summary>
/// The frames of one domain under their types: a frame is validated when its first type reference is taken and lets go of everything it
/// refers to before the last is dropped. What a present entry holds: at level 1 a Writable type (writable mapping) or a general
/// reference (read-only mapping), above it the type of the table below.
/// </summary>
/// <remarks>
/// The types make recursion end: a table refers only to tables of the level below, so depth is four, tables cannot form cycles, and a table
/// that is shared a thousand times is validated once. The longest operation is thus linear in the domain's own tables: about 1 ms for each
/// MiB of full tables. It is not interrupted. A vCPU that runs on another CPU meanwhile must not keep a writable translation that was
/// dropped: the engine has to make <see cref="IMmuHost.EntryChanged"/> effective there before the call that promotes the frame.
/// </remarks>
internal sealed class TypedFrames(IMmuHost host)
{
    private readonly IFrameTable _frames = host.Frames;
    private readonly DomainId _domain = host.Domain;

    // Addresses of the entries that map frames the kernel vouches for. No reference is held for them.
    private readonly HashSet<ulong> _foreign = [];

    /// <summary>Takes a type reference on a table, validating it when it is the first.</summary>
    public XenErrno Hold(Mfn frame, int level)
    {
        TypeReference reference = _frames.TakeType(_domain, frame, (FrameType)level);
        if (reference != TypeReference.TakenFirst)
            return Error(reference);
        XenErrno error = Promote(frame, level);
        if (error != XenErrno.Success)
            _frames.DropType(frame);
        return error;
    }

    /// <summary>Gives one type reference on a table back.</summary>
    public void LetGo(Mfn frame, int level)
    {
        // Only this domain's own hypercalls, one at a time, take table types: the count cannot grow meanwhile.
        if (_frames.TypeOf(frame).Count == 1)
            DropTargets(frame, level, PageTableEntry.EntriesPerTable);
        _frames.DropType(frame);
    }

    /// <summary>Writes one entry of a validated table: the new target is taken, the entry exchanged against what the CPU may do to A/D, the old target dropped.</summary>
    public XenErrno WriteEntry(Mfn table, int level, int index, ulong entry, bool keepAccessedDirty)
    {
        if (level == 4 && PageTableEntry.IsVmmSlot(index))
            return XenErrno.EINVAL;
        ref ulong slot = ref host.Table(table)[index];
        ulong old = Volatile.Read(ref slot);
        bool present = PageTableEntry.IsPresent(entry);
        if (present && !PageTableEntry.TryAdjust(ref entry, level))
            return XenErrno.EINVAL;
        bool sameTarget = present && PageTableEntry.SameTarget(old, entry, level);
        if (present && !sameTarget)
        {
            XenErrno error = TakeTarget(entry, level);
            if (error != XenErrno.Success)
                return error;
        }

        ulong written;
        while (true)
        {
            written = keepAccessedDirty ? entry | (old & (PageTableEntry.Accessed | PageTableEntry.Dirty)) : entry;
            ulong seen = Interlocked.CompareExchange(ref slot, written, old);
            if (seen == old)
                break;
            old = seen;
        }

        host.EntryChanged(EntryAddress(table, index), old, written);
        if (PageTableEntry.IsPresent(old) && !sameTarget)
            DropTarget(EntryAddress(table, index), old, level);
        return XenErrno.Success;
    }

    /// <summary>Writes an entry of a level-1 table that maps a frame the kernel vouches for.</summary>
    public void WriteForeign(Mfn table, int index, ulong entry)
    {
        ulong address = EntryAddress(table, index);
        ulong old = Interlocked.Exchange(ref host.Table(table)[index], entry);
        host.EntryChanged(address, old, entry);
        if (PageTableEntry.IsPresent(old))
            DropTarget(address, old, level: 1);
        _ = _foreign.Add(address);
    }

    /// <summary>Takes such an entry away, or puts another entry of the domain's level-1 tables in its place.</summary>
    /// <returns>False when the entry is not what is expected; nothing changed.</returns>
    public bool TryDropForeign(Mfn table, int index, Mfn frame, bool isWritable, (Mfn Table, int Index)? replacement)
    {
        ulong address = EntryAddress(table, index);
        ref ulong slot = ref host.Table(table)[index];
        ulong old = Volatile.Read(ref slot);
        ulong expected = frame.Address | PageTableEntry.Present | (isWritable ? PageTableEntry.Writable : 0);
        if (!_foreign.Contains(address) || (old & (PageTableEntry.FrameMask | PageTableEntry.Present | PageTableEntry.Writable)) != expected)
            return false;
        ulong moved = 0;
        if (replacement is { } from)
        {
            ulong source = EntryAddress(from.Table, from.Index);
            moved = Interlocked.Exchange(ref host.Table(from.Table)[from.Index], 0);
            host.EntryChanged(source, moved, 0);
            if (!_foreign.Remove(source))
                _ = _foreign.Remove(address);
        }
        else
        {
            _ = _foreign.Remove(address);
        }

        old = Interlocked.Exchange(ref slot, moved);
        host.EntryChanged(address, old, moved);
        return true;
    }

    /// <summary>
    /// Takes the target of an entry of level 1 or 2 that the guest's side has made present, if <see cref="WriteEntry"/> would have left just
    /// that there. A level-1 table must be one already: its validation may not come later than its use.
    /// </summary>
    public bool TryAdopt(Mfn table, int level, int index, ulong entry)
    {
        const ulong SetByCpu = PageTableEntry.Accessed | PageTableEntry.Dirty;
        ulong adjusted = entry;
        return PageTableEntry.IsPresent(entry)
            && PageTableEntry.TryAdjust(ref adjusted, level) && adjusted == entry
            && ((Volatile.Read(ref host.Table(table)[index]) ^ entry) & ~SetByCpu) == 0
            && (level == 1 || _frames.TypeOf(Mfn.FromEntry(entry)).Type == FrameType.L1)
            && TakeTarget(entry, level) == XenErrno.Success;
    }

    /// <summary>Writes a quadword of a frame that is no table and no descriptor table.</summary>
    public XenErrno WritePlain(Mfn frame, int index, ulong value)
    {
        XenErrno error = HoldWritable(frame);
        if (error != XenErrno.Success)
            return error;
        Replace(frame, ref host.Table(frame)[index], index, value);
        host.MemoryWritten(frame);
        _frames.DropType(frame);
        return XenErrno.Success;
    }

    /// <summary>Fills a frame that is no table and no descriptor table: with zeroes, or with another frame of the domain.</summary>
    public XenErrno WriteWhole(Mfn frame, Mfn source)
    {
        if (source != Mfn.None && !_frames.IsOwner(_domain, source))
            return XenErrno.EPERM;
        XenErrno error = HoldWritable(frame);
        if (error != XenErrno.Success)
            return error;
        Span<ulong> to = host.Table(frame);
        Span<ulong> from = source == Mfn.None ? default : host.Table(source);
        for (int index = 0; index < PageTableEntry.EntriesPerTable; index++)
            Replace(frame, ref to[index], index, from.IsEmpty ? 0 : from[index]);
        host.MemoryWritten(frame);
        _frames.DropType(frame);
        return XenErrno.Success;
    }

    /// <summary>Takes a frame as descriptor table, checking every descriptor when it is the first reference.</summary>
    public XenErrno HoldDescriptors(Mfn frame)
    {
        TypeReference reference = _frames.TakeType(_domain, frame, FrameType.Descriptors);
        if (reference != TypeReference.TakenFirst)
            return Error(reference);
        Span<ulong> table = host.Table(frame);
        for (int index = 0; index < table.Length; index++)
        {
            ulong descriptor = table[index];
            if (!SegmentDescriptor.TryAdjust(ref descriptor))
            {
                _frames.DropType(frame);
                return XenErrno.EINVAL;
            }

            Replace(frame, ref table[index], index, descriptor);
        }

        host.MemoryWritten(frame);
        return XenErrno.Success;
    }

    /// <summary>Writes a descriptor into a descriptor table or into plain memory.</summary>
    public XenErrno WriteDescriptor(Mfn frame, int index, ulong descriptor)
    {
        if (!SegmentDescriptor.TryAdjust(ref descriptor))
            return XenErrno.EINVAL;
        if (_frames.TypeOf(frame).Type != FrameType.Descriptors)
            return WritePlain(frame, index, descriptor);
        Replace(frame, ref host.Table(frame)[index], index, descriptor);
        host.MemoryWritten(frame);
        return XenErrno.Success;
    }

    private static ulong EntryAddress(Mfn table, int index) => table.Address + ((ulong)index * sizeof(ulong));

    private static XenErrno Error(TypeReference reference) => reference switch
    {
        TypeReference.NotOwner => XenErrno.EPERM,
        TypeReference.Conflict => XenErrno.EINVAL,
        _ => XenErrno.Success,
    };

    private XenErrno HoldWritable(Mfn frame) => Error(_frames.TakeType(_domain, frame, FrameType.Writable));

    // A frame that is plain memory now may have been a table before, and a shadowing engine may still remember it as one.
    private void Replace(Mfn frame, ref ulong slot, int index, ulong value)
    {
        ulong old = Interlocked.Exchange(ref slot, value);
        if (PageTableEntry.IsPresent(old) && old != value)
            host.EntryChanged(EntryAddress(frame, index), old, value);
    }

    private XenErrno Promote(Mfn frame, int level)
    {
        Span<ulong> table = host.Table(frame);
        for (int index = 0; index < table.Length; index++)
        {
            ulong old = table[index];
            if (!PageTableEntry.IsPresent(old) || (level == 4 && PageTableEntry.IsVmmSlot(index)))
                continue;
            ulong entry = old;
            XenErrno error = PageTableEntry.TryAdjust(ref entry, level) ? TakeTarget(entry, level) : XenErrno.EINVAL;
            if (error != XenErrno.Success)
            {
                DropTargets(frame, level, index);
                return error;
            }

            if (entry != old)
                Change(frame, table, index, entry);
        }

        if (level == 4)
            InstallVmmSlots(frame, table);
        return XenErrno.Success;
    }

    private void InstallVmmSlots(Mfn frame, Span<ulong> table)
    {
        for (int index = PageTableEntry.FirstVmmSlot; index <= PageTableEntry.LastVmmSlot; index++)
            Change(frame, table, index, VmmEntry(index));
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

    private void Change(Mfn frame, Span<ulong> table, int index, ulong entry)
    {
        ulong old = Interlocked.Exchange(ref table[index], entry);
        if (old != entry)
            host.EntryChanged(EntryAddress(frame, index), old, entry);
    }

    private void DropTargets(Mfn frame, int level, int end)
    {
        Span<ulong> table = host.Table(frame);
        for (int index = 0; index < end; index++)
        {
            ulong entry = table[index];
            if (PageTableEntry.IsPresent(entry) && !(level == 4 && PageTableEntry.IsVmmSlot(index)))
                DropTarget(EntryAddress(frame, index), entry, level);
        }
    }

    private XenErrno TakeTarget(ulong entry, int level)
    {
        Mfn target = Mfn.FromEntry(entry);
        if (level > 1)
            return Hold(target, level - 1);
        if ((entry & PageTableEntry.Writable) != 0)
            return HoldWritable(target);
        return _frames.TakeReference(_domain, target) ? XenErrno.Success : XenErrno.EPERM;
    }

    private void DropTarget(ulong address, ulong entry, int level)
    {
        if (level == 1 && _foreign.Remove(address))
            return;
        Mfn target = Mfn.FromEntry(entry);
        // Where the guest can reach its tables, an entry may be anything by now; it must never touch the accounts of another domain.
        if (!_frames.IsOwner(_domain, target))
            throw new TamperedTablesException($"a page-table entry of level {level} that was never accepted (0x{entry:x})");
        if (level > 1)
            LetGo(target, level - 1);
        else if ((entry & PageTableEntry.Writable) != 0)
            _frames.DropType(target);
        else
            _frames.DropReference(target);
    }
}
