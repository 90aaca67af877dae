using System.Collections.Immutable;
using Tessera.Kernel.Console;
using Tessera.Kernel.Devices;
using Tessera.Kernel.Devices.Block;
using Tessera.Kernel.Devices.Network;
using Tessera.Kernel.Events;
using Tessera.Kernel.Grants;
using Tessera.Kernel.Memory;
using Tessera.Kernel.Store;
using Tessera.Sdk;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Cpu.X64;
using Tessera.Sdk.Memory;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Domains;

/// <summary>A domain's life: Created → Running ⇄ Paused → Shutdown, Suspended or Crashed → Destroyed.</summary>
public enum DomainState
{
    /// <summary>Built, not started.</summary>
    Created,

    /// <summary>Its vCPUs are scheduled.</summary>
    Running,

    /// <summary>Held by the administrator.</summary>
    Paused,

    /// <summary>It ended itself: power-off, reboot.</summary>
    Shutdown,

    /// <summary>It asked to be saved (SHUTDOWN_suspend): it runs no more here, and a snapshot of it goes on elsewhere.</summary>
    Suspended,

    /// <summary>It did something fatal, or said so itself.</summary>
    Crashed,

    /// <summary>Ended by the administrator; its memory is gone.</summary>
    Destroyed,
}

/// <summary>One domain: its memory, MMU, event channels, console, store connection and vCPUs.</summary>
public sealed class Domain
{
    private readonly List<Vcpu> _vcpus = [];
    private readonly Lock _stateGate = new();
    private readonly Lock _memoryGate = new();
    private bool _memoryGone;
    private ImmutableArray<SplitDevice> _devices = [];
    private long _state = (long)DomainState.Created;
    private long _targetFrames;

    internal Domain(
        IVcpuHost host, DomainConfiguration configuration, DomainMemory memory, FrameTable frames, GuestWrites writes,
        IGuestMachine guestMachine, MmuHost mmuHost, IDomainMmu mmu, IGrantDirectory directory)
    {
        (Host, Id, Configuration) = (host, mmuHost.Domain, configuration);
        (Memory, Frames, Writes, GuestMachine, MmuHost, Mmu) = (memory, frames, writes, guestMachine, mmuHost, mmu);
        for (Mfn frame = memory.SharedInfoFrame; memory.Has(frame); frame += 1)
            WriteAtAnyTime(frame);
        Balloon = new Balloon(Gate, memory, frames, writes);
        Guest = new GuestMemory(memory, writes, mmu);
        Shared = new SharedInfoPage(memory, writes);
        Events = new EventChannels(Id, Shared);
        Grants = new GrantTable(Id, frames, memory, writes, directory);
        Mappings = new Maptrack(Id, memory, guestMachine, mmu);
        Watchdogs = new Watchdogs(this);
    }

    /// <summary>Its number.</summary>
    public DomainId Id { get; }

    /// <summary>Its kernel counts as ring 0 for I/O, and sees and sets the level in flags (VMASST_TYPE_architectural_iopl).</summary>
    internal bool ArchitecturalIopl { get; set; }

    /// <summary>It takes page-table roots anywhere in memory (VMASST_TYPE_pae_extended_cr3): all can, and are told so once they said it.</summary>
    internal bool ExtendedCr3 { get; set; }

    /// <summary>What its next shutdown is to be reported as, if the guest said so beforehand (SCHEDOP_shutdown_code).</summary>
    internal ShutdownReason? ShutdownCode { get; set; }

    internal Watchdogs Watchdogs { get; }

    /// <summary>Its name.</summary>
    public string Name => Configuration.Name;

    /// <summary>What it was made from, but for the scheduler's options: those belong to a plugin that may be replaced.</summary>
    public DomainConfiguration Configuration { get; }

    /// <summary>Its console; set by the builder.</summary>
    public DomainConsole Console { get; internal set; } = null!;

    /// <summary>Where it is in its life.</summary>
    public DomainState State => (DomainState)Interlocked.Read(ref _state);

    /// <summary>Why it ended: "poweroff", "reboot", "crash: …"; empty while it lives.</summary>
    public string ExitReason { get; private set; } = "";

    /// <summary>After a crash: registers, what was being done, last console lines.</summary>
    public CrashReport? CrashReport { get; private set; }

    /// <summary>When it was started, machine time.</summary>
    public Nanoseconds StartedAt { get; internal set; }

    /// <summary>What its time is beyond the machine's; not zero for a domain that was restored, whose time goes on from where it was saved.</summary>
    internal Nanoseconds TimeAhead { get; set; }

    /// <summary>Its time.</summary>
    internal Nanoseconds Now => ToGuest(Host.Clock.Now);

    /// <summary>The frames of its store and console rings.</summary>
    internal (Mfn Store, Mfn Console) Rings { get; set; }

    /// <summary>Machine address of a built-in guest's report page, 0 for other guests.</summary>
    internal ulong ReportPage { get; set; }

    internal IVcpuHost Host { get; }

    internal DomainMemory Memory { get; }

    /// <summary>What its frames are used as.</summary>
    internal FrameTable Frames { get; }

    /// <summary>The door to writing it.</summary>
    internal GuestWrites Writes { get; }

    internal IGuestMachine GuestMachine { get; }

    /// <summary>Code of the guest's that the engine does not run, if it is one that names such.</summary>
    public IReadOnlyList<UnknownCode> UnknownCode => (GuestMachine as INamesUnknownCode)?.UnknownCode ?? [];

    internal MmuHost MmuHost { get; }

    internal IDomainMmu Mmu { get; }

    internal GuestMemory Guest { get; }

    /// <summary>Its page tables and the accounts of its frames did not agree when it was destroyed: the guest had written tables itself.</summary>
    internal bool HadFalseAccounts { get; set; }

    /// <summary>The same of a guest that cannot write tables: a defect of the MMU or of the kernel.</summary>
    internal Exception? Defect { get; set; }

    internal SharedInfoPage Shared { get; }

    internal EventChannels Events { get; }

    /// <summary>What it grants to others.</summary>
    internal GrantTable Grants { get; }

    /// <summary>What it has mapped of others' grants; guarded by <see cref="Gate"/>.</summary>
    internal Maptrack Mappings { get; }

    internal StoreConnection? Store { get; set; }

    /// <summary>Frames of its own that the VMM writes for as long as it lives (shared_info, grant table, console, store): held as writable, so that they never become tables.</summary>
    internal List<Mfn> WrittenByVmm { get; } = [];

    /// <summary>Its frames that it does not have now; guarded by <see cref="Gate"/>.</summary>
    internal Balloon Balloon { get; }

    /// <summary>How many frames it should have by memory/target.</summary>
    internal long TargetFrames => Interlocked.Read(ref _targetFrames);

    /// <summary>Held during a hypercall or emulation of this domain.</summary>
    internal Lock Gate { get; } = new();

    internal IReadOnlyList<Vcpu> Vcpus => _vcpus;

    /// <summary>Frames it holds now.</summary>
    public long AssignedFrames => Memory.RamFrames - Balloon.Count;

    /// <summary>Its disks, also those that have left; of one name the last.</summary>
    public IReadOnlyList<Disk> Disks => [.. _devices.OfType<Disk>()];

    /// <summary>Its network interfaces, also those that have left; of one number the last.</summary>
    public IReadOnlyList<Nic> Nics => [.. _devices.OfType<Nic>()];

    /// <summary>It, as its devices' backends need it.</summary>
    internal Frontend Frontend => new(Id, Name, Events, Grants);

    /// <summary>Copies the built-in guest's report page; empty for guests without one.</summary>
    public byte[] ReadReportPage()
    {
        lock (_memoryGate)
        {
            // The builder checked that the page is a whole frame of the domain; its memory is there as long as the gate says so.
            return ReportPage == 0 || _memoryGone ? [] : Memory.Frame(PageTableEntry.FrameOf(ReportPage)).ToArray();
        }
    }

    /// <summary>Publishes how many frames it should have, for its balloon driver to see; nothing once its memory is gone.</summary>
    internal void SetTarget(StoreClient store, long frames)
    {
        lock (_memoryGate)
        {
            if (_memoryGone || frames == TargetFrames)
                return;
            _ = Interlocked.Exchange(ref _targetFrames, frames);
            store.Write($"{StorePath.HomeOf(Id)}/memory/target", $"{frames * 4}");
        }
    }

    /// <summary>Does all that its MMU has left to do, on a thread that runs no guests.</summary>
    internal void FinishMmuWork() => Finish(Mmu);

    /// <summary>Does all that an MMU has left to do, on a thread that runs no guests.</summary>
    internal static void Finish(IDomainMmu mmu)
    {
        while (!mmu.Work(MmuLimits.EntriesAtOnce))
        {
        }
    }

    /// <summary>The VMM writes a frame for as long as the domain lives: a store's answer or a grant's mark, as the guest bids, must not land in a table.</summary>
    internal void WriteAtAnyTime(Mfn frame)
    {
        if (!Writes.TryBegin(frame))
            throw new DomainBuildException($"Domain '{Name}': {frame}, which the VMM writes, is a table.");
        WrittenByVmm.Add(frame);
    }

    /// <summary>An instant of its time, as it may have named it, in the machine's.</summary>
    internal Nanoseconds ToMachine(Nanoseconds instant) =>
        TimeAhead < Nanoseconds.Zero && instant.Value > long.MaxValue + TimeAhead.Value ? Nanoseconds.Never : instant - TimeAhead;

    /// <summary>An instant of the machine's time in its own.</summary>
    internal Nanoseconds ToGuest(Nanoseconds instant) => new(instant.Value + TimeAhead.Value);

    /// <summary>Begins to log which of its frames are written; null where the engine cannot. No vCPU may be in guest code then.</summary>
    internal DirtyLog? StartLog() => GuestMachine is ILogsDirtyFrames engine ? new DirtyLog(Memory, Writes, MmuHost, engine, OpenFrames) : null;

    /// <summary>Frames that somebody outside its own code may be writing now.</summary>
    private IEnumerable<Mfn> OpenFrames() =>
        [.. WrittenByVmm, .. _vcpus.Select(vcpu => vcpu.Context.Info.Frame).Where(frame => frame != Mfn.None), .. Grants.PinnedFrames()];

    internal Vcpu? FindVcpu(int index) => (uint)index < (uint)_vcpus.Count ? _vcpus[index] : null;

    internal void AddVcpu(Vcpu vcpu)
    {
        _vcpus.Add(vcpu);
        Events.AddVcpu(vcpu.Events);
    }

    /// <summary>It has a device more, in place of one that has left.</summary>
    internal T Add<T>(T device)
        where T : SplitDevice
    {
        _ = ImmutableInterlocked.Update(ref _devices, static (devices, added) => devices.RemoveAll(added.Replaces).Add(added), device);
        return device;
    }

    /// <summary>What its devices do counts from now on.</summary>
    internal void BeginWindow()
    {
        foreach (SplitDevice device in _devices)
            device.BeginWindow();
    }

    /// <summary>Ends the domain because of what it did. Any thread; the first reason stands.</summary>
    internal void Crash(Vcpu? vcpu, string reason)
    {
        Console?.TakeLastWords();
        _ = TryEnd(DomainState.Crashed, $"crash: {reason}", CrashReport.Take(vcpu, reason, Console?.TailLines(20) ?? []));
    }

    /// <summary>SCHEDOP_shutdown.</summary>
    internal void Shutdown(ShutdownReason reason, Vcpu vcpu)
    {
        reason = ShutdownCode ?? reason;
        if (reason == ShutdownReason.Crash)
        {
            Crash(vcpu, "the guest kernel reported a crash (SCHEDOP_shutdown)");
            return;
        }

        Console.TakeLastWords();
        _ = TryEnd(reason == ShutdownReason.Suspend ? DomainState.Suspended : DomainState.Shutdown, Enum.IsDefined(reason) ? reason.ToString().ToLowerInvariant() : $"shutdown reason {(int)reason}");
    }

    internal bool TrySetState(DomainState from, DomainState to) => Interlocked.CompareExchange(ref _state, (long)to, (long)from) == (long)from;

    internal bool TryEnd(DomainState end, string reason, CrashReport? report = null)
    {
        lock (_stateGate)
        {
            if (State is DomainState.Shutdown or DomainState.Suspended or DomainState.Crashed or DomainState.Destroyed)
                return false;
            ExitReason = reason;
            CrashReport = report;
            _ = Interlocked.Exchange(ref _state, (long)end);
        }

        DisarmAlarms();
        Host.Ended(this);
        return true;
    }

    /// <summary>None of its alarms goes off any more, but for one that is doing so now.</summary>
    internal void DisarmAlarms()
    {
        foreach (Vcpu vcpu in _vcpus)
        {
            Time.TimerQueue.Disarm(vcpu.Timer);
            Time.TimerQueue.Disarm(vcpu.PeriodicTimer);
            Time.TimerQueue.Disarm(vcpu.PollTimeout);
        }

        Watchdogs.Stop();
    }

    /// <summary>Its memory goes; true for the first who says so.</summary>
    internal bool TryMarkDestroyed()
    {
        lock (_stateGate)
            _ = Interlocked.Exchange(ref _state, (long)DomainState.Destroyed);
        lock (_memoryGate)
        {
            bool first = !_memoryGone;
            _memoryGone = true;
            return first;
        }
    }
}
