using Tessera.Sdk;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Cpu.X64;

namespace Tessera.Kernel.Memory;

/// <summary>Frames for tables of the MMU's own, a fixed number of them a domain. Under the domain's lock, as the MMU.</summary>
internal sealed unsafe class MmuTables(DomainMemory memory, IGuestMachine machine)
{
    private readonly Stack<Mfn> _free = new();
    private readonly bool[] _taken = new bool[memory.MmuFrames];
    private long _untouched;

    /// <summary>How many are in use.</summary>
    public int InUse { get; private set; }

    /// <summary>Takes frames, all or none, each empty.</summary>
    public bool TryAllocate(Span<Mfn> tables)
    {
        if (tables.Length > _taken.Length - InUse)
            return false;
        foreach (ref Mfn table in tables)
        {
            if (!_free.TryPop(out table))
                table = memory.MmuFirst + _untouched++;
            _taken[table.Value - memory.MmuFirst.Value] = true;
        }

        InUse += tables.Length;
        return true;
    }

    /// <summary>Gives frames back, for others to find them empty.</summary>
    /// <exception cref="ArgumentOutOfRangeException">One of them was not taken.</exception>
    public void Free(ReadOnlySpan<Mfn> tables)
    {
        foreach (Mfn table in tables)
        {
            ulong* entries = (ulong*)Page(table);
            for (int index = 0; index < PageTableEntry.EntriesPerTable; index++)
            {
                ulong old = Interlocked.Exchange(ref entries[index], 0);
                if (PageTableEntry.IsPresent(old))
                    machine.EntryChanged(table.Address + ((ulong)index * sizeof(ulong)), old, 0);
            }

            _taken[table.Value - memory.MmuFirst.Value] = false;
            InUse--;
        }

        // Until every CPU has followed, one may still walk them.
        machine.Synchronize();
        foreach (Mfn table in tables)
            _free.Push(table);
    }

    /// <summary>The first byte of a frame that was taken.</summary>
    /// <exception cref="ArgumentOutOfRangeException">It was not.</exception>
    // SAFETY: the index is checked; the memory lives as long as the domain.
    public byte* Page(Mfn table)
    {
        long index = table.Value - memory.MmuFirst.Value;
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((ulong)index, (ulong)_taken.Length, nameof(table));
        return _taken[index] ? memory.MmuPageForWriting(index)
            : throw new ArgumentOutOfRangeException(nameof(table), $"{table} is neither the domain's nor one of the MMU's tables.");
    }
}
