using System.Runtime.InteropServices;
using Tessera.Guests;
using Tessera.Images;
using Tessera.Kernel.Hypercalls;
using Tessera.Kernel.Memory;
using Tessera.Kernel.Time;
using Tessera.Plugins.Memory.DirectPaging;
using Tessera.Plugins.Memory.StaticPartition;
using Tessera.Plugins.Schedulers.RoundRobin;
using Tessera.Sdk;
using Tessera.Sdk.Cpu.X64;
using Tessera.Sdk.Memory;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Tests;

/// <summary>A machine whose domains never run: the test makes their hypercalls and writes their memory.</summary>
internal sealed class HandMachine : IDisposable
{
    private readonly HandEngine _engine;
    private int _number;

    public HandMachine(
        long counterShift = 0, byte[]? hypercallInstruction = null, IMemoryPolicy? memoryPolicy = null, long memoryLimit = 64L << 20,
        Func<MachineConfiguration, MachineConfiguration>? configure = null, IMmuVirtualization? mmu = null)
    {
        _engine = new HandEngine(counterShift, hypercallInstruction);
        MachineConfiguration configuration = new()
        {
            HostCpus = [0],
            MemoryLimitBytes = memoryLimit,
            Engine = _engine,
            Mmu = mmu ?? new DirectPaging(),
            MemoryPolicy = memoryPolicy ?? new StaticPartition(),
            Scheduler = new RoundRobinScheduler(new RoundRobinOptions()),
            SchedulerName = "round-robin",
            FallbackScheduler = () => new RoundRobinScheduler(new RoundRobinOptions()),
        };
        Machine = new Machine(configure?.Invoke(configuration) ?? configuration);
        Pcpu = new PhysicalCpu(Machine, new PcpuId(0), 0, new TimerQueue(), new WakeInbox());
    }

    public Machine Machine { get; }

    public PhysicalCpu Pcpu { get; }

    public HandEngine Engine => _engine;

    public HandDomain Create(long mostMemory = 0)
    {
        Domain domain = Machine.CreateDomain(new DomainConfiguration
        {
            Name = $"hand-{_number++}",
            Image = KernelImage.Load(BuiltinGuests.Build("spin"), "spin"),
            MemoryBytes = 2L << 20,
            MaxMemoryBytes = mostMemory,
        });
        return new HandDomain(domain, Machine, Pcpu);
    }

    public void Dispose()
    {
        Machine.Dispose();
        _engine.Dispose();
    }
}

/// <summary>One domain by hand: pages 128 to 511 of its memory are mapped writable and used by nobody.</summary>
internal sealed unsafe class HandDomain(Domain domain, Machine machine, PhysicalCpu pcpu)
{
    public const int FreePage = 128;
    public const int ListPage = 501;
    private const int ArgumentPage = 500;
    private const ulong Place = 0x1000;

    public Domain Domain { get; } = domain;

    public ushort Id => Domain.Id.Value;

    public HandGuestMachine GuestMachine => (HandGuestMachine)Domain.GuestMachine;

    public Mfn Frame(int page) => DomainMemory.First + page;

    public ulong Address(int page) => Domain.Configuration.Image.VirtBase + ((ulong)page << 12);

    // SAFETY: a whole frame of the domain.
    public Span<byte> Page(int page) => new(Domain.Memory.PageForWriting(Frame(page)), 4096);

    /// <summary>Where a page lies in this process.</summary>
    public nint HostAddress(int page) => (nint)Domain.Memory.PageForWriting(Frame(page));

    /// <summary>Machine address of the level-1 entry that maps a page.</summary>
    public ulong EntryAddress(int page)
    {
        Assert.That(Domain.Mmu.FindEntry(0, new VirtualAddress(Address(page)), out ulong address), Is.True);
        return address;
    }

    public ulong Entry(int page) => Domain.MmuHost.Table(PageTableEntry.FrameOf(EntryAddress(page)))[(int)(EntryAddress(page) & 4095) / 8];

    /// <summary>Unmaps a page.</summary>
    public void Clear(int page) => Assert.That(Domain.Mmu.UpdateVaMapping(0, new VirtualAddress(Address(page)), 0), Is.EqualTo(XenErrno.Success));

    /// <summary>Makes an empty page a level-1 table: mapped read-only and pinned.</summary>
    public void MakeTable(int page)
    {
        Page(page).Clear();
        Assert.That(Domain.Mmu.UpdateVaMapping(0, new VirtualAddress(Address(page)), Frame(page).Address | 0x21), Is.EqualTo(XenErrno.Success));
        Assert.That(Domain.Mmu.Extended(0, (uint)MmuExtOp.PinL1Table, Frame(page), Mfn.None), Is.EqualTo(XenErrno.Success));
    }

    /// <summary>Writes a version 1 entry.</summary>
    public void Grant(uint reference, ushort to, int page, GrantEntryFlags flags = GrantEntryFlags.PermitAccess) => Grant(reference, to, Frame(page).Value, flags);

    public void Grant(uint reference, ushort to, long frame, GrantEntryFlags flags = GrantEntryFlags.PermitAccess)
    {
        if (Domain.Grants.Version == 1)
        {
            *(uint*)(Entries + (reference * 8) + 4) = (uint)frame;
            *(uint*)(Entries + (reference * 8)) = (uint)flags | ((uint)to << 16);
            return;
        }

        *(ulong*)(Entries + (reference * 16) + 8) = (ulong)frame;
        *(uint*)(Entries + (reference * 16)) = (uint)flags | ((uint)to << 16);
    }

    public void GrantPart(uint reference, ushort to, int page, ushort offset, ushort length)
    {
        *(uint*)(Entries + (reference * 16) + 4) = offset | ((uint)length << 16);
        Grant(reference, to, page, GrantEntryFlags.PermitAccess | GrantEntryFlags.SubPage);
    }

    public void PassOn(uint reference, ushort to, ushort whose, uint which)
    {
        *(uint*)(Entries + (reference * 16) + 4) = whose;
        *(uint*)(Entries + (reference * 16) + 8) = which;
        *(uint*)(Entries + (reference * 16)) = (uint)GrantEntryFlags.Transitive | ((uint)to << 16);
    }

    /// <summary>The marks of use that the guest sees.</summary>
    public GrantEntryFlags Use(uint reference) => (GrantEntryFlags.Reading | GrantEntryFlags.Writing) & (Domain.Grants.Version == 1
        ? (GrantEntryFlags)(*(uint*)(Entries + (reference * 8)))
        : (GrantEntryFlags)(*(ushort*)(Domain.Memory.PageForWriting(Domain.Memory.GrantStatusFrame(0)) + (reference * 2))));

    private byte* Entries => Domain.Memory.PageForWriting(Domain.Memory.GrantFrame(0));

    /// <summary>A grant_table_op on structures in guest memory; answers its result, and the structures as they are then.</summary>
    public long Call<T>(GrantTableOp operation, Span<T> arguments)
        where T : unmanaged
    {
        Span<byte> bytes = MemoryMarshal.AsBytes(arguments);
        bytes.CopyTo(Page(ArgumentPage));
        long result = Call(operation, Address(ArgumentPage), (ulong)arguments.Length);
        Page(ArgumentPage)[..bytes.Length].CopyTo(bytes);
        return result;
    }

    public long Call<T>(GrantTableOp operation, ref T argument)
        where T : unmanaged => Call(operation, new Span<T>(ref argument));

    public long Call(GrantTableOp operation, ulong address, ulong count)
    {
        HypercallCall call = new() { Vcpu = Domain.Vcpus[0], Pcpu = pcpu, A0 = (ulong)operation, A1 = address, A2 = count };
        while (true)
        {
            long result;
            lock (Domain.Gate)
                result = GrantCalls.Operation(ref call);
            if (!call.Continues)
                return result;
            call.Continues = false;
        }
    }

    /// <summary>Makes a hypercall, again and again until it is done.</summary>
    public long Hypercall(Hypercall number, ulong first, ulong second)
    {
        Vcpu vcpu = Domain.Vcpus[0];
        ref GuestCpuState state = ref vcpu.Cpu.State;
        (state.Rax, state.Rdi, state.Rsi) = ((ulong)number, first, second);
        do
            state.Rip = Place;
        while (machine.Hypercalls.Run(vcpu, pcpu, 2) == TrapOutcome.Reschedule && state.Rip != Place);
        return (long)state.Rax;
    }

    /// <summary>Gives so many of the free pages' frames back, and then takes so many.</summary>
    public void Balloon(int give, int take)
    {
        Assert.That((GiveBack(FreePage, give), Take(FreePage, take)), Is.EqualTo(((long)give, (long)take)));
    }

    /// <summary>Unmaps pages and gives the frames behind them back.</summary>
    /// <returns>How many the call says it did.</returns>
    public long GiveBack(int page, int count)
    {
        for (int index = page; index < page + count; index++)
            Clear(index);
        return Reserve(MemoryOp.DecreaseReservation, [.. Enumerable.Range(page, count).Select(index => (ulong)Frame(index).Value)]);
    }

    /// <summary>Takes frames as pseudo-physical ones from a number on.</summary>
    /// <returns>How many the call says it did; which they are stands in <see cref="ListPage"/>.</returns>
    public long Take(int pfn, int count) =>
        Reserve(MemoryOp.PopulatePhysmap, [.. Enumerable.Range(pfn, count).Select(static index => (ulong)index)]);

    /// <summary>Changes the reservation by a list of frames.</summary>
    public long Reserve(MemoryOp operation, params ReadOnlySpan<ulong> list)
    {
        MemoryMarshal.AsBytes(list).CopyTo(Page(ListPage));
        return Reserve(operation, Address(ListPage), (ulong)list.Length);
    }

    /// <summary>Changes the reservation by a list anywhere.</summary>
    public long Reserve(MemoryOp operation, ulong list, ulong count, ulong startExtent = 0)
    {
        MemoryMarshal.AsBytes<ulong>([list, count, 0, DomainIds.Self]).CopyTo(Page(ArgumentPage));
        return Hypercall(Sdk.Xen.Hypercall.MemoryOp, (ulong)operation | (startExtent << 6), Address(ArgumentPage));
    }

    public MapOperation Map(HandDomain granter, uint reference, GrantMapFlags flags, ulong hostAddress)
    {
        MapOperation map = new() { HostAddress = hostAddress, Flags = flags, Reference = reference, Domain = granter.Id, Status = GrantStatus.NoDeviceSpace };
        Assert.That(Call(GrantTableOp.MapGrantRef, ref map), Is.Zero);
        return map;
    }

    /// <summary>Maps over one of the free pages' addresses.</summary>
    public MapOperation MapAt(HandDomain granter, uint reference, int page, bool isReadOnly = false) =>
        Map(granter, reference, GrantMapFlags.HostMap | (isReadOnly ? GrantMapFlags.Readonly : GrantMapFlags.None), Address(page));

    public GrantStatus Unmap(uint handle, ulong hostAddress, ulong deviceAddress = 0)
    {
        UnmapOperation unmap = new() { HostAddress = hostAddress, DeviceAddress = deviceAddress, Handle = handle, Status = GrantStatus.NoDeviceSpace };
        Assert.That(Call(GrantTableOp.UnmapGrantRef, ref unmap), Is.Zero);
        return unmap.Status;
    }

    public GrantStatus Copy(CopyOperation copy)
    {
        Assert.That(Call(GrantTableOp.Copy, ref copy), Is.Zero);
        return copy.Status;
    }

    public long SetVersion(uint version) => Call(GrantTableOp.SetVersion, ref version);

    public void Grow(uint frames)
    {
        SetupOperation setup = new() { Domain = DomainIds.Self, Frames = frames, FrameList = Address(ArgumentPage + 1) };
        Assert.That((Call(GrantTableOp.SetupTable, ref setup), setup.Status), Is.EqualTo((0L, GrantStatus.Okay)));
    }
}

#pragma warning disable CS0649 // ABI structures: some fields are only padding.

internal struct MapOperation
{
    public ulong HostAddress;
    public GrantMapFlags Flags;
    public uint Reference;
    public ushort Domain;
    public GrantStatus Status;
    public uint Handle;
    public ulong DeviceAddress;
}

internal struct UnmapOperation
{
    public ulong HostAddress;
    public ulong DeviceAddress;
    public uint Handle;
    public GrantStatus Status;
}

internal struct CopyOperation
{
    public ulong Source;
    public ushort SourceDomain;
    public ushort SourceOffset;
    public uint SourcePadding;
    public ulong Destination;
    public ushort DestinationDomain;
    public ushort DestinationOffset;
    public uint DestinationPadding;
    public ushort Length;
    public GrantCopyFlags Flags;
    public GrantStatus Status;
}

internal struct SetupOperation
{
    public ushort Domain;
    public uint Frames;
    public GrantStatus Status;
    public ulong FrameList;
}
