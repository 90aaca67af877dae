using Tessera.Plugins.Cpu.Kvm.Native;
using Tessera.Sdk;
using Tessera.Sdk.Cpu.X64;

namespace Tessera.Plugins.Cpu.Kvm;

/// <summary>One CPU's GDT and LDT: which guest frames they are, and what a selector means, for segments that the VMM must load.</summary>
internal sealed unsafe class DescriptorTables
{
    // SAFETY: host addresses come from the machine's regions, which the layout's owner keeps mapped until the machine is disposed.
    private const int EntriesAFrame = 512;
    private const ushort TableIndicator = 4;
    private const ushort OwnSelectors = 0xe000;

    private readonly KvmMachine _machine;
    private readonly int _cpu;
    private readonly nint[] _gdt = new nint[EngineArea.GuestGdtFrames];
    private readonly nint[] _ldt = new nint[EngineArea.LdtFrames];
    private int _gdtEntries;

    public DescriptorTables(KvmMachine machine, int cpu)
    {
        _machine = machine;
        _cpu = cpu;
    }

    /// <summary>Descriptors in the LDT; 0 for none.</summary>
    public int LdtEntries { get; private set; }

    /// <summary>Maps other frames.</summary>
    public void Set(in GuestDescriptorTables tables)
    {
        Check(tables.GdtFrames.Length, tables.GdtEntries, _gdt.Length, nameof(tables.GdtFrames));
        Check(tables.LdtFrames.Length, tables.LdtEntries, _ldt.Length, nameof(tables.LdtFrames));
        for (int page = 0; page < _gdt.Length; page++)
            _gdt[page] = Map(page, page < tables.GdtFrames.Length ? tables.GdtFrames[page] : Mfn.None);
        for (int page = 0; page < _ldt.Length; page++)
            _ldt[page] = Map(EngineArea.GuestGdtFrames + 2 + page, page < tables.LdtFrames.Length ? tables.LdtFrames[page] : Mfn.None);
        _gdtEntries = tables.GdtEntries;
        LdtEntries = tables.LdtEntries;
    }

    /// <summary>The descriptor a selector names; 0, which is never valid, when there is none.</summary>
    public ulong Lookup(ushort selector)
    {
        int index = selector >> 3;
        if ((selector & TableIndicator) != 0)
            return index < LdtEntries ? Read(_ldt, index) : 0;
        if (selector >= OwnSelectors)
        {
            ReadOnlySpan<ulong> own = _machine.Area.OwnDescriptors(_cpu);
            int ownIndex = index - (OwnSelectors >> 3);
            return ownIndex < own.Length ? own[ownIndex] : 0;
        }

        return index < _gdtEntries ? Read(_gdt, index) : 0;
    }

    /// <summary>The segment that ring 3 would have after loading a selector; a flat one where the descriptor would not load.</summary>
    public KvmSegment Segment(ushort selector, SegmentKind kind)
    {
        ulong descriptor = Lookup(selector);
        bool isCode = (descriptor >> 43 & 1) != 0;
        bool loads = (descriptor >> 47 & 1) != 0 && (descriptor >> 44 & 1) != 0 && (descriptor >> 45 & 3) == 3
            && isCode == (kind != SegmentKind.Data) && !(kind == SegmentKind.Code32 && (descriptor >> 53 & 1) != 0);
        if (!loads)
            return CpuSetup.Flat(selector, kind);
        bool granular = (descriptor >> 55 & 1) != 0;
        uint limit = (uint)((descriptor & 0xffff) | (descriptor >> 32 & 0xf0000));
        return new KvmSegment
        {
            Base = (descriptor >> 16 & 0xffffff) | (descriptor >> 32 & 0xff000000),
            Limit = granular ? (limit << 12) | 0xfff : limit,
            Selector = selector,
            Type = (byte)((descriptor >> 40 & 0xf) | 1),
            S = 1,
            Dpl = 3,
            Present = 1,
            Avl = (byte)(descriptor >> 52 & 1),
            L = (byte)(descriptor >> 53 & 1),
            Db = (byte)(descriptor >> 54 & 1),
            G = granular ? (byte)1 : (byte)0,
        };
    }

    private static ulong Read(nint[] pages, int index)
    {
        nint page = pages[index / EntriesAFrame];
        return page == 0 ? 0 : ((ulong*)page)[index % EntriesAFrame];
    }

    private static void Check(int frames, int entries, int most, string name)
    {
        if (frames > most || entries < 0 || entries > frames * EntriesAFrame)
            throw new ArgumentOutOfRangeException(name, $"{frames} frames with {entries} descriptors; at most {most} frames of {EntriesAFrame}.");
    }

    private nint Map(int page, Mfn frame)
    {
        nint host = frame == Mfn.None ? 0 : _machine.HostAddress(frame.Address);
        if (frame != Mfn.None && host == 0)
            throw new ArgumentOutOfRangeException(nameof(frame), $"{frame} is not memory of the machine.");
        (ulong address, ulong old, ulong now) = _machine.Area.MapDescriptors(_cpu, page, frame);
        if (old != now)
            _machine.EntryChanged(address, old, now);
        return host;
    }
}
