using Tessera.Sdk;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Cpu.X64;
using Tessera.Sdk.Memory;

namespace Tessera.Plugins.Memory.DirectPaging;

/// <summary>
/// The frames of one domain under their types: a frame is validated when its first type reference is taken and lets go of everything it
/// refers to before the last is dropped (<see cref="EntryTargets"/>, <see cref="TableWork"/>).
/// </summary>
/// <remarks>
/// A validation that is longer than one operation may take (<see cref="MmuLimits"/>) goes on by <see cref="Work"/>. What came of it then waits, its type reference included, for the same
/// operation to be asked for again; the next validation that takes so long makes it be forgotten.
/// </remarks>
internal sealed class TypedFrames
{
    private readonly IMmuHost _host;
    private readonly IFrameTable _frames;
    private readonly EntryTargets _targets;
    private readonly TableWork _work;
    private Outcome? _underWay;
    private Outcome? _waiting;

    public TypedFrames(IMmuHost host)
    {
        (_host, _frames) = (host, host.Frames);
        _targets = new EntryTargets(host);
        _work = new TableWork(host, _targets);
    }

    /// <summary>An operation left something to do.</summary>
    public bool HasWork => _work.IsPending;

    /// <summary>An operation begins: false while another's work is left.</summary>
    public bool TryBegin()
    {
        _work.Allow(MmuLimits.EntriesAtOnce);
        return !HasWork;
    }

    /// <summary>Goes on with what is left for so many entries.</summary>
    /// <returns>True when nothing is left.</returns>
    public bool Work(int entries)
    {
        _work.Allow(entries);
        _work.Run();
        if (!HasWork && _underWay is { } done)
        {
            Outcome? old = _waiting;
            (_waiting, _underWay) = (done with { Error = _work.Result }, null);
            if (old is { Error: XenErrno.Success } held)
                LetGo(held.Frame, held.Level);
        }

        return !HasWork;
    }

    /// <summary>Takes a type reference on a table, validating it when it is the first.</summary>
    /// <returns>ERESTART when that takes longer: to be asked for again when the work is done.</returns>
    public XenErrno Hold(Mfn frame, int level)
    {
        if (_waiting is { } waiting && waiting.Frame == frame && waiting.Level == level)
        {
            // Its reference is the caller's from now on.
            _waiting = null;
            return waiting.Error;
        }

        TypeReference reference = _frames.TakeType(frame, (FrameType)level);
        if (reference != TypeReference.TakenFirst)
            return EntryTargets.Error(reference);
        _work.Validate(frame, level);
        if (!HasWork)
            return _work.Result;
        _underWay = new Outcome(frame, level, XenErrno.Success);
        return XenErrno.ERESTART;
    }

    /// <summary>Gives one type reference on a table back; what the last one leaves to do may be work for later.</summary>
    public void LetGo(Mfn frame, int level) => _work.Drop(frame, level);

    /// <summary>The domain is dead: what was under way is undone by <see cref="Work"/>.</summary>
    /// <returns>The table of a validation that waited, to be let go of; none otherwise.</returns>
    public Mfn Abandon()
    {
        if (_underWay is not null)
            _work.Fail(XenErrno.EINTR);
        Mfn held = _waiting is { Error: XenErrno.Success } waiting ? waiting.Frame : Mfn.None;
        (_underWay, _waiting) = (null, null);
        return held;
    }

    /// <summary>Writes one entry of a validated table: the new target is taken, the entry exchanged against what the CPU may do to A/D, the old target dropped.</summary>
    /// <returns>ERESTART, with nothing written, while the new target's validation goes on.</returns>
    public XenErrno WriteEntry(Mfn table, int level, int index, ulong entry, bool keepAccessedDirty)
    {
        if (level == 4 && GuestEntry.IsVmmSlot(index))
            return XenErrno.EINVAL;
        ref ulong slot = ref _host.Table(table)[index];
        ulong old = Volatile.Read(ref slot);
        bool present = PageTableEntry.IsPresent(entry);
        if (present && !GuestEntry.TryAdjust(ref entry, level))
            return XenErrno.EINVAL;
        bool sameTarget = present && GuestEntry.SameTarget(old, entry, level);
        if (present && !sameTarget)
        {
            XenErrno error = level > 1 ? Hold(PageTableEntry.FrameOf(entry), level - 1) : _targets.TakePage(entry);
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

        _host.EntryChanged(EntryTargets.Address(table, index), old, written);
        if (PageTableEntry.IsPresent(old) && !sameTarget)
            DropTarget(EntryTargets.Address(table, index), old, level);
        return XenErrno.Success;
    }

    /// <summary>Writes an entry of a level-1 table that maps a frame the kernel vouches for.</summary>
    public void WriteForeign(Mfn table, int index, ulong entry)
    {
        ulong address = EntryTargets.Address(table, index);
        ulong old = Interlocked.Exchange(ref _host.Table(table)[index], entry);
        _host.EntryChanged(address, old, entry);
        if (PageTableEntry.IsPresent(old))
            DropTarget(address, old, level: 1);
        _ = _targets.Foreign.Add(address);
    }

    /// <summary>Takes such an entry away, or puts another entry of the domain's level-1 tables in its place.</summary>
    /// <returns>False when the entry is not what is expected; nothing changed.</returns>
    public bool TryDropForeign(Mfn table, int index, Mfn frame, bool isWritable, (Mfn Table, int Index)? replacement)
    {
        ulong address = EntryTargets.Address(table, index);
        ref ulong slot = ref _host.Table(table)[index];
        ulong old = Volatile.Read(ref slot);
        ulong expected = frame.Address | PageTableEntry.Present | (isWritable ? PageTableEntry.Writable : 0);
        if (!_targets.Foreign.Contains(address) || (old & (PageTableEntry.FrameMask | PageTableEntry.Present | PageTableEntry.Writable)) != expected)
            return false;
        ulong moved = 0;
        if (replacement is { } from)
        {
            ulong source = EntryTargets.Address(from.Table, from.Index);
            moved = Interlocked.Exchange(ref _host.Table(from.Table)[from.Index], 0);
            _host.EntryChanged(source, moved, 0);
            if (!_targets.Foreign.Remove(source))
                _ = _targets.Foreign.Remove(address);
        }
        else
        {
            _ = _targets.Foreign.Remove(address);
        }

        old = Interlocked.Exchange(ref slot, moved);
        _host.EntryChanged(address, old, moved);
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
            && GuestEntry.TryAdjust(ref adjusted, level) && adjusted == entry
            && ((Volatile.Read(ref _host.Table(table)[index]) ^ entry) & ~SetByCpu) == 0
            && (level == 1 ? _targets.TakePage(entry) == XenErrno.Success
                : _frames.TypeOf(PageTableEntry.FrameOf(entry)).Type == FrameType.L1 && _targets.TakeTable(entry, level) == TypeReference.Taken);
    }

    /// <summary>Writes a quadword of a frame that is no table and no descriptor table.</summary>
    public XenErrno WritePlain(Mfn frame, int index, ulong value)
    {
        XenErrno error = HoldWritable(frame);
        if (error != XenErrno.Success)
            return error;
        Replace(frame, ref _host.Table(frame)[index], index, value);
        _host.MemoryWritten(frame);
        _frames.DropType(frame);
        return XenErrno.Success;
    }

    /// <summary>Fills a frame that is no table and no descriptor table: with zeroes, or with another frame of the domain.</summary>
    public XenErrno WriteWhole(Mfn frame, Mfn source)
    {
        if (source != Mfn.None && !_frames.Has(source))
            return XenErrno.EINVAL;
        XenErrno error = HoldWritable(frame);
        if (error != XenErrno.Success)
            return error;
        Span<ulong> to = _host.Table(frame);
        Span<ulong> from = source == Mfn.None ? default : _host.Table(source);
        for (int index = 0; index < PageTableEntry.EntriesPerTable; index++)
            Replace(frame, ref to[index], index, from.IsEmpty ? 0 : from[index]);
        _host.MemoryWritten(frame);
        _frames.DropType(frame);
        return XenErrno.Success;
    }

    /// <summary>Takes a frame as descriptor table, checking every descriptor when it is the first reference.</summary>
    public XenErrno HoldDescriptors(Mfn frame)
    {
        TypeReference reference = _frames.TakeType(frame, FrameType.Descriptors);
        if (reference != TypeReference.TakenFirst)
            return EntryTargets.Error(reference);
        Span<ulong> table = _host.Table(frame);
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

        _host.MemoryWritten(frame);
        return XenErrno.Success;
    }

    /// <summary>Writes a descriptor into a descriptor table or into plain memory.</summary>
    public XenErrno WriteDescriptor(Mfn frame, int index, ulong descriptor)
    {
        if (!SegmentDescriptor.TryAdjust(ref descriptor))
            return XenErrno.EINVAL;
        if (_frames.TypeOf(frame).Type != FrameType.Descriptors)
            return WritePlain(frame, index, descriptor);
        Replace(frame, ref _host.Table(frame)[index], index, descriptor);
        _host.MemoryWritten(frame);
        return XenErrno.Success;
    }

    private XenErrno HoldWritable(Mfn frame) => EntryTargets.Error(_frames.TakeType(frame, FrameType.Writable));

    // A frame that is plain memory now may have been a table before, and a shadowing engine may still remember it as one.
    private void Replace(Mfn frame, ref ulong slot, int index, ulong value)
    {
        ulong old = Interlocked.Exchange(ref slot, value);
        if (PageTableEntry.IsPresent(old) && old != value)
            _host.EntryChanged(EntryTargets.Address(frame, index), old, value);
    }

    private void DropTarget(ulong address, ulong entry, int level)
    {
        if (level == 1)
            _targets.DropPage(address, entry);
        else
            LetGo(_targets.TableToDrop(entry, level), level - 1);
    }

    /// <summary>A validation that took longer than one operation, and what came of it: on success with the type reference.</summary>
    private readonly record struct Outcome(Mfn Frame, int Level, XenErrno Error);
}
