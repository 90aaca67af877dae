using Tessera.Sdk;
using Tessera.Sdk.Cpu.X64;
using Tessera.Sdk.Memory;

namespace Tessera.Plugins.Memory.DirectPaging;

/// <summary>
/// Validates and drops page tables entry by entry, as far as a budget goes, and goes on later where it stopped: the way from the first table down to the one under way is a
/// stack of at most four steps, since a table refers to tables of the level below only.
/// </summary>
/// <remarks>
/// A table on the stack holds its type already, so that nothing else can become of it, but is not to be used: nobody gets a reference before the last entry was looked at. A
/// validation that finds something wrong turns its steps round and lets go of what they took. Allocates nothing.
/// </remarks>
internal sealed class TableWork(IMmuHost host, EntryTargets targets)
{
    private const int Levels = 4;

    private readonly Step[] _steps = new Step[Levels];
    private int _depth;
    private int _budget;

    /// <summary>Something is left to do.</summary>
    public bool IsPending => _depth > 0;

    /// <summary>What came of the last validation, once nothing is pending.</summary>
    public XenErrno Result { get; private set; }

    /// <summary>How many entries may be looked at from now on.</summary>
    public void Allow(int entries) => _budget = entries;

    /// <summary>Begins to validate a table whose first type reference was just taken.</summary>
    public void Validate(Mfn frame, int level)
    {
        Result = XenErrno.Success;
        Push(frame, level, isDropping: false, end: PageTableEntry.EntriesPerTable);
        Run();
    }

    /// <summary>Gives one type reference on a table back; with the last, begins to let go of what its entries hold.</summary>
    public void Drop(Mfn frame, int level)
    {
        PushDrop(frame, level);
        Run();
    }

    /// <summary>A validation that is under way is to fail.</summary>
    public void Fail(XenErrno error)
    {
        Result = error;
        for (int index = 0; index < _depth; index++)
        {
            ref Step step = ref _steps[index];
            if (step.IsDropping)
                continue;
            (step.IsDropping, step.End, step.Index) = (true, step.Index, 0);
        }
    }

    /// <summary>Goes on until nothing is left or the budget is used up.</summary>
    public void Run()
    {
        while (_depth > 0 && _budget > 0)
        {
            if (_steps[_depth - 1].IsDropping)
                DropEntries(ref _steps[_depth - 1]);
            else
                TakeEntries(ref _steps[_depth - 1]);
        }
    }

    private void Push(Mfn frame, int level, bool isDropping, int end) =>
        _steps[_depth++] = new Step { Frame = frame, Level = level, IsDropping = isDropping, End = end };

    // Only this domain's own operations, one at a time, take table types: the count cannot grow meanwhile.
    private void PushDrop(Mfn frame, int level)
    {
        if (host.Frames.TypeOf(frame).Count == 1)
            Push(frame, level, isDropping: true, end: PageTableEntry.EntriesPerTable);
        else
            host.Frames.DropType(frame);
    }

    private void TakeEntries(ref Step step)
    {
        Span<ulong> table = host.Table(step.Frame);
        for (; step.Index < step.End; step.Index++)
        {
            if (_budget-- <= 0)
                return;
            ulong entry = table[step.Index];
            if (!PageTableEntry.IsPresent(entry) || (step.Level == 4 && GuestEntry.IsVmmSlot(step.Index)))
                continue;
            TypeReference taken = TypeReference.Taken;
            XenErrno error = !GuestEntry.TryAdjust(ref entry, step.Level) ? XenErrno.EINVAL
                : step.Level == 1 ? targets.TakePage(entry) : EntryTargets.Error(taken = targets.TakeTable(entry, step.Level));
            if (error != XenErrno.Success)
            {
                Fail(error);
                return;
            }

            if (taken == TypeReference.TakenFirst)
            {
                Push(PageTableEntry.FrameOf(entry), step.Level - 1, isDropping: false, end: PageTableEntry.EntriesPerTable);
                return;
            }

            targets.Change(step.Frame, step.Index, entry);
        }

        if (step.Level == 4)
            targets.InstallVmmSlots(step.Frame);
        if (--_depth == 0)
            return;

        // The table above goes on after the entry that led here.
        ref Step above = ref _steps[_depth - 1];
        ulong adjusted = host.Table(above.Frame)[above.Index];
        _ = GuestEntry.TryAdjust(ref adjusted, above.Level);
        targets.Change(above.Frame, above.Index, adjusted);
        above.Index++;
    }

    private void DropEntries(ref Step step)
    {
        Span<ulong> table = host.Table(step.Frame);
        int depth = _depth;
        while (step.Index < step.End)
        {
            if (_budget-- <= 0)
                return;
            int index = step.Index++;
            ulong entry = table[index];
            if (!PageTableEntry.IsPresent(entry) || (step.Level == 4 && GuestEntry.IsVmmSlot(index)))
                continue;
            if (step.Level == 1)
                targets.DropPage(EntryTargets.Address(step.Frame, index), entry);
            else
                PushDrop(targets.TableToDrop(entry, step.Level), step.Level - 1);
            if (_depth != depth)
                return;
        }

        _depth--;
        if (step.Level == Levels)
            host.RootRetired(step.Frame);
        host.Frames.DropType(step.Frame);
    }

    private struct Step
    {
        public Mfn Frame;
        public int Level;
        public int Index;
        public int End;
        public bool IsDropping;
    }
}
