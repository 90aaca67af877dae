using Tessera.Kernel.Building;
using Tessera.Kernel.Devices;
using Tessera.Kernel.Devices.Block;
using Tessera.Kernel.Devices.Network;
using Tessera.Kernel.FastPath;
using Tessera.Kernel.Grants;
using Tessera.Kernel.Hypercalls;
using Tessera.Kernel.Memory;
using Tessera.Kernel.Store;
using Tessera.Kernel.Time;
using Tessera.Kernel.Traps;
using Tessera.Scheduling;
using Tessera.Sdk;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Memory;
using Tessera.Sdk.Scheduling;

namespace Tessera.Kernel;

/// <summary>
/// A running machine: physical CPUs, frames, the scheduler core and the domains. Everything of a machine hangs off this object; two
/// machines in one process know nothing of each other.
/// </summary>
public sealed partial class Machine : ISchedulerHost, IGrantDirectory, IDisposable
{
    private static readonly TimeSpan WatchInterval = TimeSpan.FromMilliseconds(200);

    private readonly IReadOnlyList<int> _hostCpus;
    private readonly long _memoryLimitBytes;
    private readonly IMmuVirtualization _mmu;
    private readonly IMemoryPolicy _memoryPolicy;
    private readonly FastPathMode _fastPaths;
    private readonly PolicyErrands _errands = new();
    private readonly Lock _gate = new();
    private readonly List<Domain> _domains = [];
    private readonly System.Collections.Concurrent.ConcurrentDictionary<VcpuId, Vcpu> _vcpuOf = new();
    private readonly PhysicalCpu[] _pcpus;
    private readonly List<PhysicalCpu> _replaced = [];
    private readonly Timer _watchdog;
    private readonly DeviceWorker _blockWorker = new("tessera-blkback");
    private readonly DeviceWorker _networkWorker = new("tessera-netback");
    private Domain[] _byId = [];
    private int _disposed;

    /// <summary>
    /// Assembles a machine; its physical CPUs idle until domains start. The calling thread, and those it starts from now on (backends' workers among them), get short
    /// time slices from the host, so that they need not wait for a physical CPU's slice to end.
    /// </summary>
    public Machine(MachineConfiguration configuration)
    {
        Native.TimeSlice.Shorten();
        ArgumentOutOfRangeException.ThrowIfZero(configuration.HostCpus.Count, nameof(configuration));
        // The configuration itself is not kept: it refers to the first scheduler, whose plugin must be able to leave after a swap.
        (_hostCpus, _memoryLimitBytes, _fastPaths) = (configuration.HostCpus, configuration.MemoryLimitBytes, configuration.FastPaths);
        (Engine, _mmu, _memoryPolicy) = (configuration.Engine, configuration.Mmu, configuration.MemoryPolicy);
        Clock = new MachineClock();
        StoreClient = new StoreClient(Store);
        StoreServer = new StoreServer(TimeProvider.System, (domain, exception) => FindDomain(domain)?.Crash(null, $"its store connection failed: {exception.Message}"), OnFailure);
        Devices = new DeviceBus(StoreClient);
        Times = new VcpuTimes(Clock);
        Frames = new FrameTable(Engine.Facts.ReservedFrames + DomainMemory.TableFrames, configuration.MemoryLimitBytes / 4096);
        Cpuid = new CpuidPolicy(Clock, Native.NullSelectorProbe.ClearsBase());
        Hypercalls = new HypercallTable(this);
        _pcpus = [.. configuration.HostCpus.Select((hostCpu, index) => new PhysicalCpu(this, new PcpuId(index), hostCpu, new TimerQueue(), new WakeInbox()))];
        Core = new SchedulerCore(
            configuration.Scheduler,
            configuration.SchedulerName,
            configuration.FallbackScheduler,
            new SchedulerCoreOptions { PcpuCount = configuration.HostCpus.Count, HostClock = TimeProvider.System, StarvationLimit = configuration.StarvationLimit },
            this);
        foreach (PhysicalCpu pcpu in _pcpus)
            pcpu.Start();
        _watchdog = new Timer(_ => Watch(), null, WatchInterval, WatchInterval);
    }

    /// <summary>Called once for each domain that ends by itself or crashes, on a physical CPU's thread: take note and return.</summary>
    public Action<Domain>? DomainEnded { get; set; }

    /// <summary>Called when a scheduler was thrown out: take note and return.</summary>
    public Action<Ejection>? SchedulerEjected { get; set; }

    /// <summary>Called when a physical CPU's thread failed: the machine cannot go on.</summary>
    public Action<Exception>? Failed { get; set; }

    /// <summary>Time since the machine's start.</summary>
    public Nanoseconds Now => Clock.Now;

    /// <summary>The name of the scheduler in charge.</summary>
    public string SchedulerName => Core.PolicyName;

    /// <summary>The domains, in order of creation.</summary>
    public IReadOnlyList<Domain> Domains
    {
        get
        {
            lock (_gate)
                return [.. _domains];
        }
    }

    internal ICpuEngine Engine { get; }

    /// <summary>The physical CPU whose thread this is; null on any other thread.</summary>
    internal PhysicalCpu? CurrentPcpu
    {
        get
        {
            int thread = Environment.CurrentManagedThreadId;
            foreach (PhysicalCpu pcpu in _pcpus)
            {
                if (pcpu.ThreadId == thread)
                    return pcpu;
            }

            return null;
        }
    }

    internal MachineClock Clock { get; }

    internal VcpuTimes Times { get; }

    internal FrameTable Frames { get; }

    internal CpuidPolicy Cpuid { get; }

    internal HypercallTable Hypercalls { get; }

    internal SchedulerCore Core { get; }

    /// <summary>The store, in the name of domain 0.</summary>
    public StoreClient StoreClient { get; }

    internal XenStore Store { get; } = new();

    internal StoreServer StoreServer { get; }

    /// <summary>The split devices of all domains.</summary>
    internal DeviceBus Devices { get; }

    /// <summary>Builds a domain; <see cref="Start"/> lets it run.</summary>
    /// <exception cref="DomainBuildException">It cannot be built from this configuration.</exception>
    /// <exception cref="EngineException">The host refused something.</exception>
    public Domain CreateDomain(DomainConfiguration configuration)
    {
        ObjectDisposedException.ThrowIf(_disposed != 0, this);
        if (configuration.MemoryBytes <= 0 || configuration.MemoryBytes % 4096 != 0)
            throw new DomainBuildException($"Domain '{configuration.Name}': memory of {configuration.MemoryBytes} bytes is not a positive multiple of 4096.");
        DomainId id;
        lock (_gate)
        {
            if (_domains.Any(domain => domain.Name == configuration.Name && domain.State != DomainState.Destroyed))
                throw new DomainBuildException($"Domain '{configuration.Name}': another domain has this name.");
            id = new DomainId((ushort)(_domains.Count + 1));
            Domain built = Build(id, configuration);
            _domains.Add(built);
            Volatile.Write(ref _byId, [.. _domains]);
            return built;
        }
    }

    /// <summary>Attaches a disk to a domain that runs or is yet to start, and opens its backend, which the disk owns from now on.</summary>
    /// <exception cref="DeviceException">The domain is gone, or has a disk of this name.</exception>
    /// <exception cref="Sdk.Devices.BackendException">The backend cannot be opened.</exception>
    public Disk AttachDisk(Domain domain, DiskConfiguration configuration) => Disk.Attach(Devices, domain, configuration, _blockWorker);

    /// <summary>Attaches a network interface to a domain that runs or is yet to start, and opens its backend, which the interface owns from now on.</summary>
    /// <exception cref="DeviceException">The domain is gone, or has an interface of this number.</exception>
    /// <exception cref="Sdk.Devices.BackendException">The backend cannot be opened.</exception>
    public Nic AttachNic(Domain domain, NicConfiguration configuration) => Nic.Attach(Devices, domain, configuration, _networkWorker);

    /// <summary>Lets a created domain run.</summary>
    public void Start(Domain domain)
    {
        if (!domain.TrySetState(DomainState.Created, DomainState.Running))
            throw new InvalidOperationException($"Domain '{domain.Name}' is {domain.State}; only a created one can be started.");
        domain.StartedAt = Clock.Now;
        Tell(domain, vcpu => Core.Wake(vcpu, Clock.Now));
    }

    /// <summary>Holds a running domain.</summary>
    public void Pause(Domain domain)
    {
        if (!domain.TrySetState(DomainState.Running, DomainState.Paused))
            throw new InvalidOperationException($"Domain '{domain.Name}' is {domain.State}; only a running one can be paused.");
        Tell(domain, vcpu => Core.Pause(vcpu, Clock.Now));
    }

    /// <summary>Lets a paused domain go on.</summary>
    public void Resume(Domain domain)
    {
        if (!domain.TrySetState(DomainState.Paused, DomainState.Running))
            throw new InvalidOperationException($"Domain '{domain.Name}' is {domain.State}; only a paused one can be resumed.");
        Tell(domain, vcpu => Core.Resume(vcpu, Clock.Now));
    }

    /// <summary>Changes a domain's weight, scheduler options or affinity while it runs; null leaves one as it is.</summary>
    /// <exception cref="ArgumentException">The affinity has none of this machine's physical CPUs, or the weight is below 1.</exception>
    public void Adjust(Domain domain, int? weight, object? schedulerOptions, CpuSet? affinity) =>
        Tell(domain, vcpu => Core.Adjust(vcpu, weight, schedulerOptions, affinity, Clock.Now));

    /// <summary>Ends a domain, whatever it does, and frees its memory. Not from a physical CPU's thread.</summary>
    public void Destroy(Domain domain)
    {
        _ = domain.TryEnd(DomainState.Destroyed, "destroyed");
        SpinWait wait = default;
        while (domain.Vcpus.Any(vcpu => vcpu.IsOnPcpu))
        {
            foreach (PhysicalCpu pcpu in _pcpus)
                pcpu.Kick();
            wait.SpinOnce();
        }

        Devices.Release(domain.Id);
        lock (domain.Gate)
        {
            if (!domain.TryMarkDestroyed())
                return;
            domain.Events.Close();
            domain.Console.Close();
            domain.Store?.Close();
            Store.Release(domain.Id);
            ReleaseAccounts(domain);
            foreach (Vcpu vcpu in domain.Vcpus)
                vcpu.Cpu.Dispose();
            domain.Writes.Close();
            domain.GuestMachine.Dispose();
            domain.FastPath?.Dispose();
            domain.Mappings.ReleaseAll();
            // What others still use of its memory stays until they have let go of it; the rest goes back to the host now.
            if (!domain.Grants.Close(() => FreeFrames(domain)))
                domain.Memory.DiscardExcept(domain.Grants);
            domain.Grants.LetGo();
        }
    }

    /// <summary>How long a domain's vCPUs ran and waited to run up to now: the cheap part of <see cref="Snapshot()"/>, for looking often.</summary>
    public DomainActivity ActivityOf(Domain domain)
    {
        Nanoseconds now = Clock.Now;
        Nanoseconds running = Nanoseconds.Zero;
        Nanoseconds waiting = Nanoseconds.Zero;
        foreach (Vcpu vcpu in domain.Vcpus)
        {
            VcpuAccount account = Core.AccountOf(vcpu.Schedulable, now);
            running += account.CpuTime;
            waiting += account.WaitTime;
        }

        return new DomainActivity(now, running, waiting);
    }

    /// <summary>How often a domain trapped and called up to now, for looking often as well.</summary>
    /// <returns>All traps, hypercalls among them; and hypercalls.</returns>
    public static (long Traps, long Hypercalls) CallsOf(Domain domain)
    {
        (long traps, long hypercalls) = (0, 0);
        foreach (Vcpu vcpu in domain.Vcpus)
        {
            traps += vcpu.Counters.AllTraps;
            hypercalls += vcpu.Counters.AllHypercalls;
        }

        return (traps, hypercalls);
    }

    /// <summary>The accounts now.</summary>
    public MachineSnapshot Snapshot()
    {
        Nanoseconds now = Clock.Now;
        return new MachineSnapshot(
            now,
            [.. Domains.Select(domain => Snapshot(domain, now))],
            [.. _pcpus.Select(pcpu => Core.AccountOf(pcpu.Id, now))],
            Core.Decisions,
            Core.PolicyName,
            Core.Ejections,
            [.. _pcpus.Select(pcpu => pcpu.GuestTime)],
            [.. _pcpus.Select(pcpu => pcpu.AllocatedBytes)]);
    }

    /// <summary>A measured window begins: scheduling decisions with their cost, and what disks and interfaces do, count from now on.</summary>
    public void BeginWindow()
    {
        Core.ForgetDecisions();
        foreach (Domain domain in Domains)
        {
            foreach (Disk disk in domain.Disks)
                disk.BeginWindow();
            foreach (Nic nic in domain.Nics)
                nic.BeginWindow();
        }
    }

    /// <summary>Starts recording every scheduling event; one that was going on is dropped.</summary>
    /// <param name="capacity">How many it keeps before it is cut; 24 bytes each.</param>
    public void StartRecording(int capacity) => Core.StartRecording(capacity, Clock.Now);

    /// <summary>Ends the recording.</summary>
    /// <returns>It, in machine time; null when none was going on.</returns>
    public ScheduleLog? StopRecording() => Core.StopRecording(Clock.Now);

    /// <summary>Stops every physical CPU and frees every domain.</summary>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0)
            return;
        using MachineClock clock = Clock;
        using PolicyErrands errands = _errands;
        using Timer watchdog = _watchdog;
        foreach (PhysicalCpu pcpu in _pcpus)
            pcpu.Leave();
        foreach (PhysicalCpu pcpu in _pcpus)
            pcpu.Dispose();
        foreach (PhysicalCpu pcpu in _replaced)
            pcpu.Dispose();
        foreach (Domain domain in Domains)
            Destroy(domain);
        _blockWorker.Dispose();
        _networkWorker.Dispose();
        StoreServer.Dispose();
    }

    // Without the gate: hypercalls look up, and the gate is held as long as a domain is being built. Domains are numbered from 1 in order.
    internal Domain? FindDomain(DomainId id)
    {
        Domain[] domains = Volatile.Read(ref _byId);
        return id.Value - 1 < domains.Length && id.Value != 0 && domains[id.Value - 1] is { State: not DomainState.Destroyed } domain ? domain : null;
    }

    /// <inheritdoc/>
    GrantTable? IGrantDirectory.FindGrants(ushort domain) => FindDomain(new DomainId(domain))?.Grants;

    internal Vcpu VcpuOf(SchedulableVcpu schedulable) => _vcpuOf[schedulable.Id];

    internal void ArmTimer(Vcpu vcpu, Alarm alarm, Nanoseconds deadline)
    {
        PhysicalCpu pcpu = _pcpus[vcpu.Pcpu?.Id.Index ?? 0];
        pcpu.Timers.Arm(alarm, deadline);
        if (Environment.CurrentManagedThreadId != pcpu.ThreadId && deadline <= pcpu.Timers.Next)
            pcpu.Kick();
    }

    internal long FramesToGrant(Domain domain, long asked)
    {
        lock (_gate)
            return _memoryPolicy.FramesToGrant(Request(domain.Id, domain.Configuration), domain.AssignedFrames, asked, Budget());
    }

    internal void OnFailure(Exception exception) => Failed?.Invoke(exception);

    // On a timer's thread, where an exception would end the process.
    private void Watch()
    {
        try
        {
            _ = Core.CheckHung(Clock.Now);
        }
        catch (Exception exception)
        {
            OnFailure(exception);
        }
    }

    private void ReleaseAccounts(Domain domain)
    {
        Frames.Watch(domain.Id, null);
        try
        {
            foreach (Vcpu vcpu in domain.Vcpus)
            {
                SegmentOps.ReleaseAll(vcpu);
                if (vcpu.InfoFrame != Mfn.None)
                    domain.Writes.End(vcpu.InfoFrame);
            }

            foreach (Mfn frame in domain.Ballooned)
                _ = Frames.DropType(frame);
            foreach (Mfn frame in domain.WrittenByVmm)
                domain.Writes.End(frame);
            domain.Mmu.Release();
            domain.FinishMmuWork();
        }
        catch (Exception exception) when (MayBeFalse(domain, exception))
        {
            domain.HadFalseAccounts = true;
        }
    }

    // Nothing is pinned any more: by now every reference to the domain's frames is its own.
    private void FreeFrames(Domain domain)
    {
        try
        {
            domain.HadFalseAccounts |= domain.Grants.HadFalseAccounts;
            if (!domain.HadFalseAccounts)
                Frames.Free(domain.Id);
        }
        catch (Exception exception) when (MayBeFalse(domain, exception))
        {
            domain.HadFalseAccounts = true;
        }

        if (domain.HadFalseAccounts)
            Frames.Seize(domain.Id);
        domain.Memory.Dispose();
    }

    // A guest with fast paths can write its own tables; then they no longer tell what is held. Its frames go back all the same.
    private static bool MayBeFalse(Domain domain, Exception exception) =>
        domain.FastPath is not null && exception is InvalidOperationException or TamperedTablesException or ArgumentException;

    private static MemoryRequest Request(DomainId id, DomainConfiguration configuration) =>
        new(id, configuration.MemoryBytes / 4096, Math.Max(configuration.MaxMemoryBytes, configuration.MemoryBytes) / 4096);

    private MemoryBudget Budget() => new(_memoryLimitBytes / 4096, Frames.AssignedFrames);

    private DomainSnapshot Snapshot(Domain domain, Nanoseconds now)
    {
        Vcpu vcpu = domain.Vcpus[0];
        VcpuAccount account = Core.AccountOf(vcpu.Schedulable, now);
        return new DomainSnapshot(
            domain.Id,
            domain.Name,
            domain.State,
            vcpu.Schedulable.State is RunState.Running or RunState.Runnable,
            domain.ExitReason,
            vcpu.Schedulable.Weight,
            account.CpuTime,
            account.WaitTime,
            account.Wakes,
            account.WakeLatency,
            vcpu.Counters.TrapsByKind(),
            vcpu.Counters.HypercallsByName(),
            domain.State == DomainState.Destroyed ? 0 : domain.AssignedFrames * 4096,
            domain.State == DomainState.Destroyed ? 0 : domain.Memory.ResidentBytes);
    }

    private Domain Build(DomainId id, DomainConfiguration configuration)
    {
        MemoryRequest request = Request(id, configuration);
        long granted = _memoryPolicy.FramesAtCreation(request, Budget());
        if (granted < request.Frames)
        {
            throw new DomainBuildException(
                $"Domain '{configuration.Name}': {configuration.MemoryBytes >> 20} MiB asked for, but the machine's limit is {_memoryLimitBytes >> 20} MiB and {Frames.AssignedFrames * 4096 >> 20} MiB are assigned. Raise machine.memoryLimit or give the domains less.");
        }

        Mfn first = Frames.Allocate(id, DomainMemory.FramesFor(request.Frames));
        DomainMemory? memory = null;
        FastPathMemory? fastMemory = null;
        IGuestMachine? guestMachine = null;
        IDomainMmu? mmu = null;
        Domain? domain = null;
        try
        {
            memory = new DomainMemory(first, request.Frames, Engine.Facts);
            fastMemory = DomainFastPath.TryCreateMemory(_fastPaths, Engine.Facts, memory, vcpus: 1);
            guestMachine = Engine.CreateMachine(new GuestMachineLayout { Name = configuration.Name, Regions = [.. memory.Regions(), .. fastMemory?.Regions() ?? []], MaxCpus = 1 });
            GuestWrites writes = new(id, Frames, memory, guestMachine as ITracksWrites);
            MmuHost host = new(id, 1, Frames, memory, writes, guestMachine);
            mmu = _mmu.Attach(host);
            domain = new Domain(this, id, configuration with { SchedulerOptions = null }, memory, writes, guestMachine, host, mmu);
            SchedulableVcpu schedulable = new(new VcpuId(id, 0), configuration.Weight, configuration.SchedulerOptions, configuration.Affinity);
            Vcpu vcpu = new(domain, 0, guestMachine.CreateCpu(0), schedulable);
            domain.AddVcpu(vcpu);
            if (fastMemory is not null && mmu is IAdoptsEntries adopter && vcpu.Cpu is ISyscallInterception interception)
            {
                Frames.Watch(id, fastMemory);
                domain.FastPath = new DomainFastPath(domain, fastMemory, adopter);
                vcpu.FastPath = domain.FastPath.Attach(vcpu, interception);
            }

            new DomainBuilder(domain, Engine.Facts).Build(Store, StoreServer);
            domain.FastPath?.OnKernelRoot(vcpu);
            _vcpuOf[schedulable.Id] = vcpu;
            _ = _errands.Run(() => Core.Add(schedulable, Clock.Now));
            return domain;
        }
        catch
        {
            foreach (Mfn frame in domain?.WrittenByVmm ?? [])
                domain!.Writes.End(frame);
            if (mmu is not null)
            {
                mmu.Release();
                Domain.Finish(mmu);
            }

            Store.Release(id);
            Frames.Free(id);
            Frames.Watch(id, null);
            guestMachine?.Dispose();
            fastMemory?.Dispose();
            memory?.Dispose();
            throw;
        }
    }
}
