using System.Buffers.Binary;
using Tessera.Sdk;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Cpu.X64;

namespace Tessera.Plugins.Cpu.Kvm;

/// <summary>
/// The engine's own low frames in one machine and its slot of the guest's address space: entry stubs, descriptor tables, a page of
/// system structures a CPU, and the page tables that map them. Only the syscall stubs and their targets are visible to ring 3.
/// </summary>
/// <remarks>
/// Linear layout of the slot: its first 2 MiB map the fixed frames one to one; then 32 pages a CPU (16 of GDT, 16 of LDT), 16 CPUs in
/// 2 MiB; from the second GiB, where the strategy needs it, a supervisor-only alias of all guest-physical memory.
/// </remarks>
internal sealed unsafe class EngineArea : IDisposable
{
    // SAFETY: _memory is a piece of FrameCount pages that is this area's until Dispose; every frame number used below is checked or constant.
    public const int ReservedFrames = 0x400;
    public const int MaxCpus = 512;

    /// <summary>A frame inside the reserved range and outside the engine's own, for a memory slot that exists to be deleted.</summary>
    public const long ScratchFrame = 0x3e0;

    /// <summary>Where KVM may keep its identity map and task state on CPUs without unrestricted guests.</summary>
    public const long IdentityMapFrame = 0x3f0;
    public const long KvmTaskStateFrame = 0x3f1;

    /// <summary>The one I/O port the guest can reach; KVM advances RIP before the exit for this port on every kind of CPU.</summary>
    public const byte Port = 0x7e;

    public const ushort Ring0Code = 0xe008;
    public const ushort Code32 = 0xe023;
    public const ushort Data = 0xe02b;
    public const ushort Code64 = 0xe033;
    public const ushort TaskState = 0xe040;
    public const ushort LocalTable = 0xe050;
    public const int GuestGdtFrames = 14;
    public const int LdtFrames = 16;
    public const int TaskStateLimit = 104 + 16;

    public const int SyscallStub = 0;
    public const int CompatSyscallStub = 0x20;
    public const int OutBytes = 2;
    public const int StubSpacing = 16;
    public const int Vectors = 32;
    public const int StubFrameCount = 2;

    private const int L3Frame = 1;
    private const int L2Frame = 2;
    private const int L1Frame = 3;
    private const int SyscallFrame = 4;
    private const int ExceptionFrame = 5;
    private const int IdtFrame = 6;
    private const int RootTableFrame = 7;
    private const int StubFrame = 8;
    private const int EntryFrame = StubFrame + StubFrameCount;
    private const int TargetFrame = EntryFrame + 1;
    private const int FirstAliasFrame = TargetFrame + 1;
    private const int EntrySpacing = 8;
    private const int JumpBytes = 6;
    private const int CpusATable = 16;
    private const int TaskStateOffset = 0x800;
    private const int StackTop = 0x1000;
    private const int DoubleFaultStackTop = 0xc00;

    private const ulong Present = 1;
    private const ulong Writable = 2;
    private const ulong User = 4;
    private const ulong AccessedDirty = 0x60;
    private const ulong Large = 0x80;
    private const ulong NoExecute = 1UL << 63;
    private const ulong TableFlags = Present | Writable | User | AccessedDirty;

    private readonly AreaPages _pages;
    private readonly nint _memory;
    private readonly int _slot;
    private readonly int _maxCpus;
    private readonly int _firstCpuFrame;
    private bool _disposed;

    /// <param name="pages">Where its frames come from.</param>
    /// <param name="slot">The L4 slot.</param>
    /// <param name="maxCpus">CPUs to make room for.</param>
    /// <param name="aliased">Guest memory to alias for the ring-0 stub; empty where none is needed.</param>
    public EngineArea(AreaPages pages, int slot, int maxCpus, IReadOnlyList<MemoryRegion> aliased)
    {
        _pages = pages;
        _slot = slot;
        _maxCpus = maxCpus;
        SortedSet<long> gibibytes = GibibytesOf(aliased);
        int cpuTables = (maxCpus + CpusATable - 1) / CpusATable;
        _firstCpuFrame = FirstAliasFrame + gibibytes.Count;
        FrameCount = _firstCpuFrame + maxCpus + cpuTables;
        _memory = pages.Take(FrameCount);
        BuildTables(gibibytes);
        BuildStubs();
        for (int cpu = 0; cpu < maxCpus; cpu++)
            BuildCpu(cpu);
    }

    /// <summary>Frames in use, from frame 0.</summary>
    public int FrameCount { get; }

    /// <summary>
    /// Frames from 0 that nothing inside the machine ever has to write: code, page tables, the IDT. A read-only memory slot keeps them
    /// true whatever the guest maps; after them come each CPU's system structures, which the CPU itself writes.
    /// </summary>
    public int ConstantFrameCount => _firstCpuFrame;

    /// <summary>Where they lie in this process.</summary>
    public nint HostAddress => _memory;

    /// <summary>The slot's first linear address.</summary>
    public ulong Base => (ulong)((long)((ulong)_slot << 55) >> 16);

    /// <summary>The entry every L4 table needs.</summary>
    public RootEntry RootEntry => new(_slot, TableEntry(L3Frame));

    /// <summary>An L4 table with nothing but the engine's slot.</summary>
    public static Mfn RootTable => new(RootTableFrame);

    /// <summary>MSR_LSTAR.</summary>
    public ulong SyscallEntry => Linear(SyscallFrame) + SyscallStub;

    /// <summary>MSR_CSTAR: where `syscall` of 32-bit code comes out on AMD processors.</summary>
    public ulong CompatSyscallEntry => Linear(SyscallFrame) + CompatSyscallStub;

    /// <summary>MSR_LSTAR of a CPU whose `syscall` may go elsewhere: a jump to where <see cref="SyscallTarget"/> says.</summary>
    public ulong RedirectedEntry(int cpu) => Linear(EntryFrame) + (ulong)(cpu * EntrySpacing);

    /// <summary>Whether an address lies in the page of redirected entries.</summary>
    public bool IsRedirectedEntry(ulong address) => address - Linear(EntryFrame) < 4096;

    /// <summary>Where the redirected entry of a CPU goes.</summary>
    public ref ulong SyscallTarget(int cpu) => ref ((ulong*)Frame(TargetFrame))[cpu];

    /// <summary>The stub of vector 0; the others follow every <see cref="StubSpacing"/> bytes.</summary>
    public ulong ExceptionEntry => Linear(ExceptionFrame);

    /// <summary>The interrupt descriptor table.</summary>
    public ulong Idt => Linear(IdtFrame);

    /// <summary>Where ring-0 code is generated, as the CPU sees it.</summary>
    public ulong StubEntry => Linear(StubFrame);

    /// <summary>Where ring-0 code is generated, as this process sees it.</summary>
    public Span<byte> StubCode => new(Frame(StubFrame), StubFrameCount * 4096);

    /// <summary>The alias of a guest-physical address.</summary>
    public ulong Alias(ulong address) => Base + (1UL << 30) + address;

    /// <summary>Linear address of a CPU's GDT.</summary>
    public ulong Gdt(int cpu) => Base + (2UL << 20) + ((ulong)cpu * (GuestGdtFrames + 2 + LdtFrames) * 4096);

    /// <summary>Linear address of a CPU's LDT.</summary>
    public ulong Ldt(int cpu) => Gdt(cpu) + (16 * 4096);

    /// <summary>Linear address of a CPU's task state segment.</summary>
    public ulong TaskStateSegment(int cpu) => SystemPage(cpu) + TaskStateOffset;

    /// <summary>The hardware frame of the exception a CPU has just taken: [error code,] RIP, CS, RFLAGS, RSP, SS.</summary>
    public ulong* ExceptionFrameOf(int cpu, bool doubleFault) =>
        (ulong*)(Frame(_firstCpuFrame + cpu) + (doubleFault ? DoubleFaultStackTop : StackTop)) - 6;

    /// <summary>The engine's own descriptors of a CPU, the page at selector 0xe000.</summary>
    public ReadOnlySpan<ulong> OwnDescriptors(int cpu) => new(Frame(_firstCpuFrame + cpu), 512);

    /// <summary>Maps a frame as one page of a CPU's descriptor tables (0 to 13 GDT, 16 to 31 LDT), or unmaps the page.</summary>
    /// <returns>The entry's machine address, old and new value, to be notified.</returns>
    public (ulong Address, ulong Old, ulong New) MapDescriptors(int cpu, int page, Mfn frame)
    {
        int table = _firstCpuFrame + _maxCpus + (cpu / CpusATable);
        int index = ((cpu % CpusATable) * 32) + page;
        ulong* entry = (ulong*)Frame(table) + index;
        ulong old = *entry;
        // Writable, as Xen maps them: the CPU sets the accessed bit of a descriptor it loads.
        ulong value = frame == Mfn.None ? 0 : frame.Address | Present | Writable | AccessedDirty | NoExecute;
        Volatile.Write(ref *entry, value);
        return (((ulong)table << 12) + ((ulong)index * 8), old, value);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (!_disposed)
            _pages.Return(_memory, FrameCount);
        _disposed = true;
    }

    private static SortedSet<long> GibibytesOf(IReadOnlyList<MemoryRegion> regions)
    {
        SortedSet<long> result = [];
        if (regions.Count == 0)
            return result;
        result.Add(0);
        foreach (MemoryRegion region in regions)
        {
            for (long gibibyte = region.First.Value >> 18; gibibyte <= (region.First.Value + region.Frames - 1) >> 18; gibibyte++)
                result.Add(gibibyte);
        }

        return result;
    }

    private static ulong TableEntry(int frame) => ((ulong)frame << 12) | TableFlags;

    private ulong Linear(int frame) => Base + ((ulong)frame * 4096);

    private ulong SystemPage(int cpu) => Gdt(cpu) + (GuestGdtFrames * 4096UL);

    private byte* Frame(int frame) => (byte*)_memory + (frame * 4096L);

    private void BuildTables(SortedSet<long> gibibytes)
    {
        ulong* l2 = (ulong*)Frame(L2Frame);
        ulong* l1 = (ulong*)Frame(L1Frame);
        ((ulong*)Frame(RootTableFrame))[_slot] = TableEntry(L3Frame);
        ((ulong*)Frame(L3Frame))[0] = TableEntry(L2Frame);
        l2[0] = TableEntry(L1Frame);
        l1[SyscallFrame] = ((ulong)SyscallFrame << 12) | Present | User | AccessedDirty;
        l1[ExceptionFrame] = ((ulong)ExceptionFrame << 12) | Present | AccessedDirty;
        l1[EntryFrame] = ((ulong)EntryFrame << 12) | Present | User | AccessedDirty;
        l1[TargetFrame] = ((ulong)TargetFrame << 12) | Present | User | AccessedDirty | NoExecute;
        l1[IdtFrame] = ((ulong)IdtFrame << 12) | Present | AccessedDirty | NoExecute;
        for (int frame = StubFrame; frame < StubFrame + StubFrameCount; frame++)
            l1[frame] = ((ulong)frame << 12) | Present | AccessedDirty;
        int cpuTable = _firstCpuFrame + _maxCpus;
        for (int cpu = 0; cpu < _maxCpus; cpu += CpusATable)
            l2[1 + (cpu / CpusATable)] = TableEntry(cpuTable++);
        int table = FirstAliasFrame;
        foreach (long gibibyte in gibibytes)
            BuildAlias(gibibyte, table++);
    }

    private void BuildAlias(long gibibyte, int table)
    {
        ((ulong*)Frame(L3Frame))[1 + gibibyte] = ((ulong)table << 12) | Present | Writable | AccessedDirty;
        ulong* l2 = (ulong*)Frame(table);
        for (int index = 0; index < 512; index++)
            l2[index] = ((ulong)gibibyte << 30) | ((ulong)index << 21) | Present | Writable | AccessedDirty | Large | NoExecute;
    }

    private void BuildStubs()
    {
        // int3 everywhere else: a guest that jumps into the middle of the page gets an exception of its own.
        new Span<byte>(Frame(SyscallFrame), 4096).Fill(0xcc);
        WriteOut(Frame(SyscallFrame) + SyscallStub);
        WriteOut(Frame(SyscallFrame) + CompatSyscallStub);
        byte* entries = Frame(EntryFrame);
        for (int cpu = 0; cpu < 4096 / EntrySpacing; cpu++)
        {
            // jmp [rip + distance]: the targets lie in the next page, at the same offsets.
            byte* entry = entries + (cpu * EntrySpacing);
            entry[0] = 0xff;
            entry[1] = 0x25;
            *(int*)(entry + 2) = 4096 - JumpBytes;
            SyscallTarget(cpu) = SyscallEntry;
        }

        ulong* idt = (ulong*)Frame(IdtFrame);
        for (int vector = 0; vector < Vectors; vector++)
        {
            WriteOut(Frame(ExceptionFrame) + (vector * StubSpacing));
            // One stack for all, switched to even from ring 0, so that no frame is ever pushed where the guest's RSP points.
            ulong stack = vector == 8 ? 2UL : 1UL;
            ulong privilege = vector is 3 or 4 ? 3UL : 0UL;
            ulong entry = ExceptionEntry + (ulong)(vector * StubSpacing);
            idt[vector * 2] = (entry & 0xffff) | ((ulong)Ring0Code << 16) | (stack << 32) | (0x8eUL << 40) | (privilege << 45) | ((entry >> 16 & 0xffff) << 48);
            idt[(vector * 2) + 1] = entry >> 32;
        }
    }

    private static void WriteOut(byte* code)
    {
        code[0] = 0xe6;
        code[1] = Port;
    }

    private void BuildCpu(int cpu)
    {
        byte* page = Frame(_firstCpuFrame + cpu);
        ulong* descriptors = (ulong*)page;
        descriptors[1] = 0x00af9b000000ffff;
        descriptors[2] = 0x00cf93000000ffff;
        descriptors[4] = 0x00cffb000000ffff;
        descriptors[5] = 0x00cff3000000ffff;
        descriptors[6] = 0x00affb000000ffff;
        WriteSystemDescriptor(descriptors + 8, TaskStateSegment(cpu), TaskStateLimit, type: 0xb);

        Span<byte> task = new(page + TaskStateOffset, TaskStateLimit + 1);
        BinaryPrimitives.WriteUInt64LittleEndian(task[4..], SystemPage(cpu) + StackTop);
        BinaryPrimitives.WriteUInt64LittleEndian(task[36..], SystemPage(cpu) + StackTop);
        BinaryPrimitives.WriteUInt64LittleEndian(task[44..], SystemPage(cpu) + DoubleFaultStackTop);
        BinaryPrimitives.WriteUInt16LittleEndian(task[102..], 104);
        task[104..].Fill(0xff);
        task[104 + (Port / 8)] = unchecked((byte)~(1 << (Port % 8)));

        _ = MapDescriptors(cpu, GuestGdtFrames, new Mfn(_firstCpuFrame + cpu));
    }

    private static void WriteSystemDescriptor(ulong* descriptor, ulong address, uint limit, ulong type)
    {
        descriptor[0] = (limit & 0xffff) | ((address & 0xffffff) << 16) | ((0x80 | type) << 40) | ((address >> 24 & 0xff) << 56);
        descriptor[1] = address >> 32;
    }
}
