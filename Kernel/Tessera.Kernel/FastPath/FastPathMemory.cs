using Tessera.Kernel.Memory;
using Tessera.Kernel.Native;
using Tessera.Sdk;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Memory;

namespace Tessera.Kernel.FastPath;

/// <summary>
/// The frames behind a domain's kernel-only L4 slot: those that the guest can never write, whatever it maps (page tables, code, frame map),
/// in a region of their own, and the spare pages of the domain's memory, which are the guest's (log and values), and nothing there is believed.
/// </summary>
internal sealed unsafe class FastPathMemory : IDisposable
{
    // SAFETY: both pieces live until Dispose and the domain's end, which come after the engine's machine is gone; indexes are of their own layout.
    private const ulong Present = 1;
    private const ulong Writable = 2;
    private const ulong UserAccessedDirty = 0x64;
    private const ulong Large = 0x80;
    private const ulong NoExecute = 1UL << 63;
    private const int EntriesATable = 512;
    private const int GibibyteShift = 18;

    private readonly HostMemory _constant;
    private readonly byte* _guest;
    private readonly int _vcpus;
    private readonly Mfn _first;
    private readonly int _codePage;
    private readonly int _mapPage;
    private readonly long _mapPages;

    /// <param name="arena">The machine's host memory.</param>
    /// <param name="memory">The domain's memory.</param>
    /// <param name="first">First frame of its region in the machine.</param>
    /// <param name="slot">The L4 slot to use.</param>
    /// <param name="vcpus">How many vCPUs it has.</param>
    public FastPathMemory(HostArena arena, DomainMemory memory, Mfn first, int slot, int vcpus)
    {
        Memory = memory;
        Slot = slot;
        _vcpus = vcpus;
        _first = first;
        _guest = memory.Spare;
        _mapPages = (memory.TotalFrames + FastPathLayout.PageBytes - 1) / FastPathLayout.PageBytes;
        int small = (int)((vcpus * (1 + FastPathLayout.GuestPages)) + _mapPages);
        int level1 = (small + EntriesATable - 1) / EntriesATable;
        int aliases = (int)((memory.TotalFrames + (1L << GibibyteShift) - 1) >> GibibyteShift);
        _codePage = 2 + level1 + aliases;
        _mapPage = _codePage + vcpus;
        _constant = new HostMemory(arena, (_mapPage + _mapPages) * FastPathLayout.PageBytes);
        BuildTables(level1, aliases);
        new Span<byte>(Map, checked((int)memory.TotalFrames)).Fill(FastPathLayout.MayRead | FastPathLayout.MayWrite);
    }

    /// <summary>The domain's memory.</summary>
    public DomainMemory Memory { get; }

    /// <summary>The L4 slot.</summary>
    public int Slot { get; }

    /// <summary>Its entry.</summary>
    public ulong RootEntry => _first.Address | Present | Writable | UserAccessedDirty;

    /// <summary>First linear address of the slot.</summary>
    public ulong Base => (ulong)((long)((ulong)Slot << 55) >> 16);

    /// <summary>The alias of the domain's first frame.</summary>
    public ulong Alias => Base + FastPathLayout.AliasOffset;

    /// <summary>Where a vCPU's fast paths find things.</summary>
    /// <param name="vcpu">The vCPU.</param>
    /// <param name="exit">Where the plain way begins.</param>
    public FastPathPlaces PlacesOf(int vcpu, ulong exit) =>
        new(CodeAddress(vcpu), GuestAddress(vcpu), MapAddress, Alias, Memory.TotalFrames, exit);

    /// <summary>Where the guest sees the frame map.</summary>
    public ulong MapAddress => Base + (ulong)((_vcpus * (1 + FastPathLayout.GuestPages)) * FastPathLayout.PageBytes);

    private byte* Map => _constant.Pointer + ((long)_mapPage * FastPathLayout.PageBytes);

    /// <summary>Where a vCPU's code lies for the guest.</summary>
    public ulong CodeAddress(int vcpu) => Base + ((ulong)vcpu * FastPathLayout.PageBytes);

    /// <summary>A vCPU's page of code.</summary>
    public Span<byte> Code(int vcpu) => new(_constant.Pointer + ((_codePage + vcpu) * (long)FastPathLayout.PageBytes), FastPathLayout.PageBytes);

    /// <summary>Where the guest sees a vCPU's own pages.</summary>
    public ulong GuestAddress(int vcpu) => Base + (ulong)((_vcpus + (vcpu * FastPathLayout.GuestPages)) * FastPathLayout.PageBytes);

    /// <summary>The same pages here.</summary>
    public byte* Guest(int vcpu) => _guest + (vcpu * (long)FastPathLayout.GuestPages * FastPathLayout.PageBytes);

    /// <summary>The memory as an engine wants it.</summary>
    public MemoryRegion Region => new(_first, _constant.Bytes / FastPathLayout.PageBytes, (nint)_constant.Pointer, IsReadOnly: true);

    /// <summary>A frame of the domain has another type now.</summary>
    public void TypeChanged(Mfn frame, FrameType type)
    {
        if (!Memory.Has(frame))
            return;
        byte now = type switch
        {
            FrameType.None or FrameType.Writable => FastPathLayout.MayRead | FastPathLayout.MayWrite,
            FrameType.L1 => FastPathLayout.MayRead | FastPathLayout.IsTable | FastPathLayout.IsL1,
            FrameType.L2 => FastPathLayout.MayRead | FastPathLayout.IsTable | FastPathLayout.IsL2,
            FrameType.L3 => FastPathLayout.MayRead | FastPathLayout.IsTable,
            FrameType.L4 => FastPathLayout.MayRead,
            _ => 0,
        };
        Volatile.Write(ref Map[frame.Value - DomainMemory.First.Value], now);
    }

    /// <inheritdoc/>
    public void Dispose() => _constant.Dispose();

    private ulong* Table(int page) => (ulong*)(_constant.Pointer + (page * (long)FastPathLayout.PageBytes));

    private ulong Entry(long page) => (_first + page).Address | Present | UserAccessedDirty;

    // Page 0 is the L3, page 1 the L2 of its first GiB, then that one's L1s, then an L2 of large pages for each GiB of the alias.
    private void BuildTables(int level1, int aliases)
    {
        Table(0)[0] = Entry(1) | Writable;
        for (int table = 0; table < level1; table++)
            Table(1)[table] = Entry(2 + table) | Writable;
        int next = 0;
        void Show(ulong entry) => Table(2 + (next / EntriesATable))[next++ % EntriesATable] = entry;
        for (int vcpu = 0; vcpu < _vcpus; vcpu++)
            Show(Entry(_codePage + vcpu));
        for (int page = 0; page < _vcpus * FastPathLayout.GuestPages; page++)
            Show((Memory.SpareFirst + page).Address | Present | Writable | UserAccessedDirty | NoExecute);
        for (long page = 0; page < _mapPages; page++)
            Show(Entry(_mapPage + page) | NoExecute);

        // A domain's frames begin at a multiple of 2 MiB.
        for (long large = 0; large << 9 < Memory.TotalFrames; large++)
        {
            int gibibyte = (int)(large >> 9);
            int table = 2 + level1 + gibibyte;
            Table(0)[1 + gibibyte] = Entry(table) | Writable;
            Table(table)[large & (EntriesATable - 1)] = (DomainMemory.First + (large << 9)).Address | Present | Writable | UserAccessedDirty | Large | NoExecute;
        }
    }
}
