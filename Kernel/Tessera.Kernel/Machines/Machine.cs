using Tessera.Kernel.Devices;
using Tessera.Kernel.Devices.Block;
using Tessera.Kernel.Devices.Network;
using Tessera.Kernel.Domains;
using Tessera.Kernel.Grants;
using Tessera.Kernel.Hypercalls;
using Tessera.Kernel.Memory;
using Tessera.Kernel.Store;
using Tessera.Kernel.Time;
using Tessera.Kernel.Traps;
using Tessera.Sdk;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Memory;
using Tessera.Sdk.Plugins;
using Tessera.Sdk.Scheduling;
using Tessera.Sdk.Scheduling.Core;

namespace Tessera.Kernel.Machines;

/// <summary>
/// A running machine: physical CPUs, frames, the scheduler core and the domains. Everything of a machine hangs off this object; two
/// machines in one process know nothing of each other.
/// </summary>
public sealed partial class Machine : ISchedulerHost, IVcpuHost, IHypercallHost, IGrantDirectory, IDisposable
{
    private static readonly TimeSpan WatchInterval = TimeSpan.FromMilliseconds(200);

    /// <summary>How long the watchdog's last look may take when the machine ends; only a fallback that hangs takes longer.</summary>
    private static readonly TimeSpan LastLook = TimeSpan.FromSeconds(2);
    private static readonly Nanoseconds HangLimitInHostTime = Nanoseconds.FromSeconds(1);
    private static readonly Nanoseconds HangLimitInVirtualTime = Nanoseconds.FromSeconds(10);

    private readonly IReadOnlyList<int> _hostCpus;
    private readonly MachineMemory _memory;
    private readonly DomainFactory _factory;
    private readonly PolicyErrands _errands = new("tessera errands");
    private readonly Lock _gate = new();
    private readonly Native.HostArena _arena = new();
    private readonly List<Domain> _domains = [];
    private readonly System.Collections.Concurrent.ConcurrentDictionary<VcpuId, Vcpu> _vcpuOf = new();
    private readonly PhysicalCpu[] _pcpus;
    private readonly List<PhysicalCpu> _replaced = [];
    private readonly Timer _watchdog;
    private readonly WatchClock? _watchClock;
    private readonly PoolDoor? _pool;
    private readonly DeviceWorker _blockWorker;
    private readonly DeviceWorker _networkWorker;
    private readonly System.Collections.Concurrent.ConcurrentDictionary<DomainId, Domain> _byId = new();
    private Action? _beforeGuests;
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
        (_hostCpus, Engine) = (configuration.HostCpus, configuration.Engine);
        (_beforeGuests, Duties) = (configuration.BeforeGuests, configuration.Duties);
        if (configuration.VirtualTime is { } options)
        {
            if (!Engine.Facts.OwnsTime)
                throw new EngineException($"The engine {Engine.Facts.Name} cannot run in virtual time: its guests run by the host's clock.", "Use one that counts instructions: --engine software.");
            Virtual = new VirtualMachineDriver(this, new VirtualTime(options));
        }

        Clock = Virtual is null ? new HostClock() : Virtual.Time.Clock;
        _pool = Virtual is null ? new PoolDoor() : null;
        Store = new XenStore { Post = Virtual is null ? _pool!.Queue : Virtual.Post };
        StoreClient = new StoreClient(Store);
        StoreServer = new StoreServer(
            Time,
            (domain, exception) => FindDomain(domain)?.Crash(null, $"its store connection failed: {exception.Message}"),
            OnFailure,
            Duties,
            startThread: Virtual is null,
            Virtual is null ? null : Virtual.StoreHasNews);
        _blockWorker = new DeviceWorker("tessera-blkback", virtualTime: Virtual?.Time, duties: Duties);
        _networkWorker = new DeviceWorker("tessera-netback", virtualTime: Virtual?.Time, duties: Duties);
        Devices = new DeviceBus(StoreClient);
        _memory = new MachineMemory(this, configuration.MemoryPolicy, configuration.MemoryLimitBytes / 4096);
        Cpuid = new CpuidPolicy(Clock, Native.NullSelectorProbe.ClearsBase(), Engine.Facts.CpuidFaults, Engine.Facts.VectorStates);
        Hypercalls = new HypercallTable(this);
        Accounts = new MachineAccounts(this);
        _factory = new DomainFactory
        {
            Host = this,
            Grants = this,
            Frames = Frames,
            Arena = _arena,
            Engine = Engine,
            Mmu = configuration.Mmu,
            FastPaths = configuration.FastPaths,
            Store = Store,
            StoreServer = StoreServer,
            VirtualTime = Virtual?.Time,
        };
        _pcpus = [.. configuration.HostCpus.Select((hostCpu, index) => new PhysicalCpu(this, new PcpuId(index), hostCpu, new TimerQueue(), new WakeInbox()))];
        _watchClock = Virtual is null ? null : new WatchClock(WatchInterval);
        Core = new SchedulerCore(
            configuration.Scheduler,
            configuration.SchedulerName,
            configuration.FallbackScheduler,
            new SchedulerCoreOptions
            {
                PcpuCount = configuration.HostCpus.Count,
                Topology = configuration.Topology ?? (Virtual is null ? Native.HostTopology.Read(configuration.HostCpus) : null),
                HostClock = Virtual is null ? TimeProvider.System : null,
                HangClock = _watchClock,
                HangLimit = configuration.HangLimit ?? (Virtual is null ? HangLimitInHostTime : HangLimitInVirtualTime),
                StarvationLimit = configuration.StarvationLimit,
            },
            this);
        if (Virtual is null)
        {
            foreach (PhysicalCpu pcpu in _pcpus)
                pcpu.Start();
        }

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

    /// <summary>The domains that were not destroyed, in order of creation.</summary>
    public IReadOnlyList<Domain> Domains
    {
        get
        {
            lock (_gate)
                return [.. _domains];
        }
    }

    /// <summary>What devices of this machine go by: the host's time, or the machine's where that is virtual.</summary>
    public TimeProvider Time => Virtual?.Time ?? TimeProvider.System;

    /// <summary>What comes from outside into a machine in virtual time; null for one that goes by the host's.</summary>
    public Outside? Outside => Virtual?.Outside;

    /// <summary>Why the memory policy is no longer asked, with its name; null while it is.</summary>
    public string? MemoryPolicyFailure => _memory.Failure;

    /// <summary>What its domains and physical CPUs did.</summary>
    public MachineAccounts Accounts { get; }

    internal ICpuEngine Engine { get; }

    internal IThreadDuties? Duties { get; }

    /// <summary>What drives it in virtual time; null in the host's.</summary>
    internal VirtualMachineDriver? Virtual { get; }

    internal IReadOnlyList<PhysicalCpu> Pcpus => _pcpus;

    internal int FirstHostCpu => _hostCpus[0];

    /// <summary>The physical CPU whose thread this is; null on any other thread.</summary>
    internal PhysicalCpu? CurrentPcpu
    {
        get
        {
            if (Virtual is not null)
                return Virtual.CurrentHere;
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

    internal FrameBudget Frames => _memory.Budget;

    internal CpuidPolicy Cpuid { get; }

    internal HypercallTable Hypercalls { get; }

    internal SchedulerCore Core { get; }

    /// <summary>The store, in the name of domain 0.</summary>
    public StoreClient StoreClient { get; }

    internal XenStore Store { get; }

    internal StoreServer StoreServer { get; }

    /// <summary>The split devices of all domains.</summary>
    internal DeviceBus Devices { get; }

    /// <summary>Attaches a disk to a domain that runs or is yet to start, and opens its backend, which the disk owns from now on.</summary>
    /// <exception cref="DeviceException">The domain is gone, or has a disk of this name.</exception>
    /// <exception cref="Sdk.Devices.BackendException">The backend cannot be opened.</exception>
    public Disk AttachDisk(Domain domain, DiskConfiguration configuration) =>
        domain.Add(Disk.Attach(Devices, domain.Frontend, configuration, _blockWorker));

    /// <summary>Attaches a network interface to a domain that runs or is yet to start, and opens its backend, which the interface owns from now on.</summary>
    /// <exception cref="DeviceException">The domain is gone, or has an interface of this number.</exception>
    /// <exception cref="Sdk.Devices.BackendException">The backend cannot be opened.</exception>
    public Nic AttachNic(Domain domain, NicConfiguration configuration) =>
        domain.Add(Nic.Attach(Devices, domain.Frontend, configuration, _networkWorker));

    /// <summary>Lets a created domain run.</summary>
    public void Start(Domain domain)
    {
        Interlocked.Exchange(ref _beforeGuests, null)?.Invoke();
        if (!domain.TrySetState(DomainState.Created, DomainState.Running))
            throw new InvalidOperationException($"Domain '{domain.Name}' is {domain.State}; only a created one can be started.");
        domain.StartedAt = Clock.Now;
        domain.Watchdogs.GoOn(domain.Vcpus[0]);
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
        _ = _errands.Run(() => Core.Adjust(domain.Vcpus[0].Schedulable.Domain, weight, schedulerOptions, affinity, Clock.Now));

    /// <summary>Lets the machine go on, in virtual time, to an instant; everything it does is done on one thread of its own, for which the caller waits.</summary>
    /// <param name="instant">The instant; <see cref="Now"/> is not before it afterwards.</param>
    /// <param name="isOver">Asked now and then whether to stop before.</param>
    /// <exception cref="InvalidOperationException">The machine goes by the host's time.</exception>
    /// <exception cref="ObjectDisposedException">The machine was disposed of before it came there.</exception>
    public void RunUntil(Nanoseconds instant, Func<bool>? isOver = null) =>
        (Virtual ?? throw new InvalidOperationException("This machine goes by the host's time, by itself.")).RunUntil(instant, isOver);

    /// <summary>Stops every physical CPU and frees every domain.</summary>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0)
            return;
        try
        {
            using PolicyErrands errands = _errands;
            Virtual?.Dispose();
            _memory.Dispose();
            foreach (PhysicalCpu pcpu in _pcpus)
                pcpu.Leave();
            foreach (PhysicalCpu pcpu in _pcpus)
                pcpu.Dispose();
            foreach (PhysicalCpu pcpu in _replaced)
                pcpu.Dispose();
            foreach (Domain domain in Domains)
            {
                try
                {
                    Destroy(domain);
                }
                catch (InvalidOperationException exception)
                {
                    OnFailure(exception);
                }
            }

            _blockWorker.Dispose();
            _networkWorker.Dispose();
            StoreServer.Dispose();
            _pool?.Dispose();
            _arena.Dispose();
        }
        finally
        {
            // The watchdog goes after all that may hang in a policy, and the clock after its last look.
            _ = _watchdog.DisposeAsync().AsTask().Wait(LastLook);
            Clock.Dispose();
        }
    }

    /// <inheritdoc/>
    Domain? IHypercallHost.FindDomain(DomainId id) => FindDomain(id);

    /// <inheritdoc/>
    long IHypercallHost.Grant(Domain domain, long asked) => _memory.Grant(domain, asked);

    /// <inheritdoc/>
    void IHypercallHost.Release(Domain domain, long frames) => Frames.Release(domain.Id, frames);

    /// <inheritdoc/>
    GrantTable? IGrantDirectory.FindGrants(ushort domain) => FindDomain(new DomainId(domain))?.Grants;

    internal Vcpu? FindVcpu(SchedulableVcpu schedulable) => _vcpuOf.GetValueOrDefault(schedulable.Id);

    /// <inheritdoc/>
    MachineClock IVcpuHost.Clock => Clock;

    /// <inheritdoc/>
    SchedulerCore IVcpuHost.Core => Core;

    /// <inheritdoc/>
    void IVcpuHost.Arm(Vcpu vcpu, Alarm alarm, Nanoseconds deadline)
    {
        PhysicalCpu pcpu = _pcpus[vcpu.Pcpu.Index];
        pcpu.Timers.Arm(alarm, deadline);
        // Who drives virtual time looks at all alarms before it chooses whose turn it is.
        if (Virtual is null && Environment.CurrentManagedThreadId != pcpu.ThreadId && deadline <= pcpu.Timers.Next)
            pcpu.Kick();
    }

    internal void OnFailure(Exception exception) => Failed?.Invoke(exception);

    // On a timer's thread, where an exception would end the process.
    private void Watch()
    {
        try
        {
            _watchClock?.Look();
            _ = Core.CheckHung(Clock.Now);
        }
        catch (Exception exception)
        {
            OnFailure(exception);
        }
    }
}
