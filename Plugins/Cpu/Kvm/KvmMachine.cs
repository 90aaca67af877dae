using Tessera.Plugins.Cpu.Kvm.Native;
using Tessera.Plugins.Cpu.Kvm.Paging;
using Tessera.Sdk;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Cpu.X64;

namespace Tessera.Plugins.Cpu.Kvm;

/// <summary>One domain's KVM VM: its memory slots, the engine's own area, its CPUs, and how its page-table changes become effective.</summary>
internal sealed class KvmMachine : IGuestMachine, IShowsForeignFrames, ILogsDirtyFrames
{
    private readonly GuestMachineLayout _layout;
    private readonly VmHandle _vm;
    private readonly EntryRewriter? _rewriter;
    private readonly List<KvmCpu> _cpus = [];

    /// <summary>The memory that guest code may write, and its slots.</summary>
    private readonly List<(MemoryRegion Region, uint Slot)> _written = [];
    private bool _disposed;

    public KvmMachine(KvmHost host, int slot, PagingStrategy strategy, GuestMachineLayout layout)
    {
        Validate(layout, Math.Min(host.MaxCpus - 1, EngineArea.MaxCpus));
        _layout = layout;
        _vm = new VmHandle(host);
        try
        {
            Area = new EngineArea(host.AreaPages, slot, layout.MaxCpus, strategy == PagingStrategy.Flush ? [] : layout.Regions);
            AddArea(strategy);
            foreach (MemoryRegion region in layout.Regions)
            {
                uint memory = _vm.AddMemory(region);
                if (!region.IsReadOnly)
                    _written.Add((region, memory));
            }

            if (strategy != PagingStrategy.Flush)
            {
                _rewriter = new EntryRewriter(_vm, layout.MaxCpus, Area, layout.Regions);
                Notifier = new RewriteNotifier(_rewriter, flushAfter: strategy == PagingStrategy.RewriteAndFlush);
            }
            else
            {
                Notifier = new FlushNotifier();
            }
        }
        catch
        {
            Dispose();
            throw;
        }

        RootEntries = [Area.RootEntry];
    }

    /// <inheritdoc/>
    public IReadOnlyList<RootEntry> RootEntries { get; }

    /// <summary>The engine's frames and slot.</summary>
    public EngineArea Area { get; } = null!;

    /// <summary>How page-table changes become effective.</summary>
    public IEntryNotifier Notifier { get; } = null!;

    /// <summary>Whether another CPU may be in guest code while one is not.</summary>
    public bool HasSeveralCpus => _layout.MaxCpus > 1;

    /// <inheritdoc/>
    public IGuestCpu CreateCpu(int index) => CreateCpu(index, null);

    /// <summary>Creates a CPU whose CPUID is edited.</summary>
    public KvmCpu CreateCpu(int index, CpuidEdit? edit)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        if (index != _cpus.Count || index >= _layout.MaxCpus)
            throw new ArgumentOutOfRangeException(nameof(index), $"CPU {index} of {_layout.Name}: the next is {_cpus.Count}, of at most {_layout.MaxCpus}.");
        KvmCpu cpu = new(this, _vm.CreateVcpu(index), index, edit);
        _cpus.Add(cpu);
        return cpu;
    }

    /// <inheritdoc/>
    public void EntryChanged(ulong entryAddress, ulong oldEntry, ulong newEntry) => Notifier.EntryChanged(entryAddress, oldEntry, newEntry);

    /// <inheritdoc/>
    public void Synchronize()
    {
        if (!HasSeveralCpus)
            return;
        Interlocked.MemoryBarrier();
        long changes = Notifier.Changes;
        for (int index = 0; index < _cpus.Count; index++)
            _cpus[index].Presence?.Await(changes);
    }

    /// <inheritdoc/>
    public bool TryShow(MemoryRegion region)
    {
        if (region.Frames != 1 || region.First.Value < EngineArea.ReservedFrames || HostAddress(region.First.Address) != 0)
            throw new ArgumentException($"{_layout.Name}: {region.First} is not one frame outside the machine's memory.", nameof(region));
        return _vm.TryAddFrame(region);
    }

    /// <inheritdoc/>
    public void Hide(Mfn frame) => _vm.RemoveFrame(frame);

    /// <inheritdoc/>
    public void StartLog()
    {
        // A log that was not ended begins anew.
        StopLog();
        foreach ((MemoryRegion region, uint memory) in _written)
            _vm.LogWrites(memory, region, on: true);
    }

    /// <inheritdoc/>
    public void TakeLog(Mfn first, Span<ulong> bitmap)
    {
        (MemoryRegion region, uint memory) = _written.Find(each => each.Region.First == first);
        if (region.Frames == 0 || bitmap.Length * 64L < region.Frames)
            throw new ArgumentException($"{_layout.Name}: {first} does not begin a region of at most {bitmap.Length * 64L} frames that can be written.", nameof(first));
        int result = _vm.TakeLog(memory, bitmap);
        if (result == -KvmCalls.ErrnoNoEntry)
            throw new InvalidOperationException($"{_layout.Name}: the log was not started.");
        if (result < 0)
            throw KvmHost.Failed("KVM_GET_DIRTY_LOG", -result, "Report this with the output of `tessera doctor --json`.");
        bitmap[(int)((region.Frames + 63) / 64)..].Clear();
    }

    /// <inheritdoc/>
    public void StopLog()
    {
        foreach ((MemoryRegion region, uint memory) in _written)
            _vm.LogWrites(memory, region, on: false);
    }

    /// <summary>Where a machine address lies in this process; 0 when the machine does not have it.</summary>
    public nint HostAddress(ulong machineAddress)
    {
        long frame = (long)(machineAddress >> 12);
        for (int index = 0; index < _layout.Regions.Count; index++)
        {
            MemoryRegion region = _layout.Regions[index];
            if (frame >= region.First.Value && frame - region.First.Value < region.Frames)
                return region.HostAddress + (nint)(machineAddress - region.First.Address);
        }

        return 0;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (_disposed)
            return;
        _disposed = true;
        foreach (KvmCpu cpu in _cpus)
            cpu.Dispose();
        _rewriter?.Dispose();
        _vm.Dispose();
        Area?.Dispose();
    }

    private void AddArea(PagingStrategy strategy)
    {
        // Hardware that walks guest tables itself may count a walk as a write; where KVM walks them, entries whose A and D bits are set
        // stay untouched, and the area can be out of the guest's reach even if it owned its page tables and ring 0.
        int constant = strategy != PagingStrategy.Flush ? Area.ConstantFrameCount : 0;
        if (constant > 0)
            _ = _vm.AddMemory(new MemoryRegion(new Mfn(0), constant, Area.HostAddress, IsReadOnly: true));
        _ = _vm.AddMemory(new MemoryRegion(new Mfn(constant), Area.FrameCount - constant, Area.HostAddress + (constant * 4096), IsReadOnly: false));
    }

    private static void Validate(GuestMachineLayout layout, int mostCpus)
    {
        if (layout.MaxCpus < 1 || layout.MaxCpus > mostCpus)
            throw new ArgumentOutOfRangeException(nameof(layout), $"{layout.Name}: {layout.MaxCpus} CPUs; this host allows 1 to {mostCpus}.");
        long end = EngineArea.ReservedFrames;
        foreach (MemoryRegion region in layout.Regions.OrderBy(region => region.First))
        {
            if (region.Frames < 1 || region.First.Value < end)
                throw new ArgumentException($"{layout.Name}: region of {region.Frames} frames at {region.First} is empty, overlaps another, or starts below mfn {EngineArea.ReservedFrames:x}.", nameof(layout));
            if (region.HostAddress == 0 || region.HostAddress % 4096 != 0)
                throw new ArgumentException($"{layout.Name}: region at {region.First}: host address 0x{region.HostAddress:x} is not page aligned.", nameof(layout));
            end = region.First.Value + region.Frames;
        }

        // The alias of guest memory lies in the 511 GiB that the engine's slot has left.
        if (end > 511L << 18)
            throw new ArgumentException($"{layout.Name}: memory ends at mfn {end:x}; the engine reaches machine addresses up to 511 GiB.", nameof(layout));
    }
}
