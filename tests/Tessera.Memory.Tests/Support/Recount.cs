using Tessera.Sdk;
using Tessera.Sdk.Memory;

namespace Tessera.Memory.Tests.Support;

/// <summary>
/// Counts anew, from the roots, pins and descriptor tables that the guest should hold, what each frame's type and counts must be, and compares
/// with the frame table. Finds on its way foreign frames, missing U bits, two types on one frame and damaged VMM slots.
/// </summary>
internal sealed class Recount
{
    private readonly Machine _machine;
    private readonly FrameType[] _types = new FrameType[Machine.Own];
    private readonly long[] _counts = new long[Machine.Own];
    private readonly long[] _references = new long[Machine.Own];

    private Recount(Machine machine) => _machine = machine;

    public static void Check(Machine machine, IReadOnlyDictionary<Mfn, int> pins, IReadOnlyDictionary<Mfn, int> descriptors)
    {
        Recount recount = new(machine);
        foreach ((Mfn frame, int level) in pins)
            recount.Table(frame, level);
        for (int vcpu = 0; vcpu < machine.MaxVcpus; vcpu++)
        {
            foreach (bool userMode in (ReadOnlySpan<bool>)[false, true])
            {
                Mfn root = machine.Mmu.Root(vcpu, userMode);
                if (root != Mfn.None)
                    recount.Table(root, 4);
            }
        }

        foreach ((Mfn frame, int held) in descriptors)
        {
            for (int i = 0; i < held; i++)
                recount.Descriptors(frame);
        }

        recount.Compare();
        machine.RequireTablesReported();
    }

    private void Table(Mfn frame, int level)
    {
        if (!Count(frame, (FrameType)level))
            return;
        ReadOnlySpan<ulong> table = _machine.ReadAll(frame);
        for (int index = 0; index < 512; index++)
        {
            ulong entry = table[index];
            if (level == 4 && index is >= 256 and <= 271)
                Require(entry == VmmEntry(index), frame, index, "a VMM slot was changed", entry);
            else if ((entry & Entry.P) != 0)
                Target(frame, index, entry, level);
        }
    }

    private void Target(Mfn table, int index, ulong entry, int level)
    {
        Require((entry & Entry.U) != 0, table, index, "no U bit", entry);
        Require((entry & (Entry.PWT | Entry.PCD | Entry.PSE | Entry.G)) == 0, table, index, "refused flags", entry);
        Mfn target = new((long)((entry & Entry.FrameMask) >> 12));
        Require(Machine.IndexOf(target) >= 0, table, index, "a foreign frame", entry);
        if (level > 1)
            Table(target, level - 1);
        else if ((entry & Entry.RW) != 0)
            Count(target, FrameType.Writable);
        else
            _references[Machine.IndexOf(target)]++;
    }

    private void Descriptors(Mfn frame)
    {
        if (!Count(frame, FrameType.Descriptors))
            return;
        foreach (ulong descriptor in _machine.ReadAll(frame))
        {
            bool present = (descriptor >> 47 & 1) != 0;
            bool system = (descriptor >> 44 & 1) == 0;
            if (present && ((descriptor >> 45 & 3) != 3 || (system && (descriptor >> 40 & 15) != 0)))
                throw new InvalidOperationException($"Bad descriptor {descriptor:x} in {frame}.");
        }
    }

    private bool Count(Mfn frame, FrameType type)
    {
        int index = Machine.IndexOf(frame);
        bool first = _counts[index]++ == 0;
        if (first)
            _types[index] = type;
        else if (_types[index] != type)
            throw new InvalidOperationException($"{frame} is {_types[index]} and {type} at once.");
        return first;
    }

    private void Compare()
    {
        for (int index = 0; index < Machine.Own; index++)
        {
            (FrameType Type, long Count) table = _machine.TypeOf(_machine[index]);
            long references = _machine.Table.ReferencesOf(_machine[index]);
            if (table != (_types[index], _counts[index]) || references != _references[index])
            {
                throw new InvalidOperationException(
                    $"{_machine[index]} is {table.Type} × {table.Count} with {references} references; counted: {_types[index]} × {_counts[index]}, {_references[index]}.");
            }
        }
    }

    private ulong VmmEntry(int slot) => _machine.HypervisorEntries.FirstOrDefault(entry => entry.Slot == slot).Entry;

    private static void Require(bool condition, Mfn table, int index, string what, ulong entry)
    {
        if (!condition)
            throw new InvalidOperationException($"{table} entry {index} ({entry:x}): {what}.");
    }
}
