using Tessera.Kernel.Building;
using Tessera.Kernel.Domains;
using Tessera.Kernel.FastPath;
using Tessera.Kernel.Hypercalls;
using Tessera.Kernel.Memory;
using Tessera.Sdk;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Memory;
using Tessera.Sdk.Scheduling;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Machines;

/// <content>How domains come and go.</content>
public sealed partial class Machine
{
    private readonly Lock _creation = new();
    private ushort _lastId;

    /// <summary>Builds a domain; <see cref="Start"/> lets it run.</summary>
    /// <exception cref="DomainBuildException">It cannot be built from this configuration.</exception>
    /// <exception cref="EngineException">The host refused something.</exception>
    public Domain CreateDomain(DomainConfiguration configuration)
    {
        ObjectDisposedException.ThrowIf(_disposed != 0, this);
        if (configuration.MemoryBytes <= 0 || configuration.MemoryBytes % 4096 != 0)
            throw new DomainBuildException($"Domain '{configuration.Name}': memory of {configuration.MemoryBytes} bytes is not a positive multiple of 4096.");
        // One at a time, and nobody else waits for it: a kernel is copied and the clock measured in it.
        lock (_creation)
        {
            DomainId id;
            lock (_gate)
            {
                if (_domains.Any(domain => domain.Name == configuration.Name))
                    throw new DomainBuildException($"Domain '{configuration.Name}': another domain has this name.");
                id = NextId(configuration.Name);
            }

            Domain built = Build(id, configuration);
            lock (_gate)
                _domains.Add(built);
            _byId[id] = built;
            return built;
        }
    }

    /// <summary>
    /// Ends a domain, whatever it does, and frees its memory; it leaves <see cref="Domains"/>, and its number may be given again when nobody uses its memory any more. Not from a
    /// physical CPU's thread.
    /// </summary>
    /// <exception cref="InvalidOperationException">The accounts of its frames were wrong, a defect of Tessera's: it is gone all the same.</exception>
    public void Destroy(Domain domain)
    {
        _ = domain.TryEnd(DomainState.Destroyed, "destroyed");
        SpinWait wait = default;
        Virtual?.LetGo(domain);
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
            foreach (Vcpu vcpu in domain.Vcpus)
                vcpu.Accelerator?.Dispose();
            domain.Mappings.ReleaseAll();
            // What others still use of its memory stays until they have let go of it; the rest goes back to the host now.
            if (!domain.Grants.Close(() => FreeFrames(domain)))
                domain.Memory.DiscardExcept(domain.Grants.PinnedFrames());
            domain.Grants.LetGo();
        }

        _ = _byId.TryRemove(new KeyValuePair<DomainId, Domain>(domain.Id, domain));
        lock (_gate)
            _ = _domains.Remove(domain);
        if (domain.Defect is { } defect)
            throw new InvalidOperationException($"Domain '{domain.Name}' is destroyed, but the accounts of its frames were wrong: {defect.Message} Report this with its configuration.", defect);
    }

    // Without the gate: hypercalls look up.
    internal Domain? FindDomain(DomainId id) => _byId.TryGetValue(id, out Domain? domain) && domain.State != DomainState.Destroyed ? domain : null;

    private void ReleaseAccounts(Domain domain)
    {
        Frames.Watch(domain.Id, null);
        try
        {
            foreach (Vcpu vcpu in domain.Vcpus)
            {
                SegmentOps.ReleaseAll(vcpu);
                if (vcpu.Context.Info.Frame != Mfn.None)
                    domain.Writes.End(vcpu.Context.Info.Frame);
            }

            foreach (Mfn frame in domain.Ballooned)
                _ = Frames.DropType(frame);
            foreach (Mfn frame in domain.WrittenByVmm)
                domain.Writes.End(frame);
            domain.Mmu.Release();
            domain.FinishMmuWork();
        }
        catch (Exception exception) when (exception is InvalidOperationException or TamperedTablesException or ArgumentException)
        {
            FoundFalseAccounts(domain, exception);
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
        catch (Exception exception) when (exception is InvalidOperationException or TamperedTablesException or ArgumentException)
        {
            FoundFalseAccounts(domain, exception);
        }

        if (domain.HadFalseAccounts)
            Frames.Seize(domain.Id);
        domain.Memory.Dispose();
    }

    // A guest with fast paths can write its own tables; then they no longer tell what is held. Its frames go back all the same, and those of one that could not, which is a
    // defect: half a destruction would help nobody.
    private static void FoundFalseAccounts(Domain domain, Exception exception)
    {
        domain.HadFalseAccounts = true;
        if (domain.Vcpus.All(vcpu => vcpu.Accelerator is null))
            domain.Defect ??= exception;
    }

    private static MemoryRequest Request(DomainId id, DomainConfiguration configuration) =>
        new(id, configuration.MemoryBytes / 4096, Math.Max(configuration.MaxMemoryBytes, configuration.MemoryBytes) / 4096);

    private MemoryBudget Budget() => new(_memoryLimitBytes / 4096, Frames.AssignedFrames);

    private Mfn AllocateFrames(in MemoryRequest request, DomainConfiguration configuration)
    {
        lock (_gate)
        {
            if (_memoryPolicy.FramesAtCreation(request, Budget()) >= request.Frames)
                return Frames.Allocate(request.Domain, DomainMemory.FramesFor(request.Frames));
        }

        throw new DomainBuildException(
            $"Domain '{configuration.Name}': {configuration.MemoryBytes >> 20} MiB asked for, but the machine's limit is {_memoryLimitBytes >> 20} MiB and {Frames.AssignedFrames * 4096 >> 20} MiB are assigned. Raise machine.memoryLimit or give the domains less.");
    }

    /// <summary>Round robin: a number that was just given back is the last to be given again. Under the gate.</summary>
    private DomainId NextId(string name)
    {
        for (int tried = 0; tried < DomainIds.FirstReserved - 1; tried++)
        {
            _lastId = (ushort)((_lastId % (DomainIds.FirstReserved - 1)) + 1);
            DomainId id = new(_lastId);
            // The frames of a destroyed domain stay its own as long as somebody uses one.
            if (!_byId.ContainsKey(id) && !Frames.HasFrames(id))
                return id;
        }

        throw new DomainBuildException($"Domain '{name}': all {DomainIds.FirstReserved - 1} numbers of domains are taken. Destroy some.");
    }

    private Domain Build(DomainId id, DomainConfiguration configuration)
    {
        MemoryRequest request = Request(id, configuration);
        Mfn first = AllocateFrames(request, configuration);
        DomainMemory? memory = null;
        FastPathMemory? fastMemory = null;
        IGuestMachine? guestMachine = null;
        IDomainMmu? mmu = null;
        Domain? domain = null;
        try
        {
            memory = new DomainMemory(first, request.Frames, Engine.Facts);
            fastMemory = DomainFastPath.TryCreateMemory(_fastPaths, Engine.Facts, memory, vcpus: 1);
            guestMachine = Engine.CreateMachine(new GuestMachineLayout { Name = configuration.Name, Regions = [.. memory.Regions(), .. fastMemory?.Regions() ?? []], MaxCpus = 1, Time = Virtual?.Time.GuestsOf(id) });
            GuestWrites writes = new(id, Frames, memory, guestMachine as ITracksWrites);
            MmuHost host = new(id, 1, Frames, memory, writes, guestMachine);
            mmu = _mmu.Attach(host);
            domain = new Domain(this, configuration with { SchedulerOptions = null }, Frames, memory, writes, guestMachine, host, mmu, this);
            SchedulableVcpu schedulable = new(new VcpuId(id, 0), configuration.Weight, configuration.SchedulerOptions, configuration.Affinity);
            Vcpu vcpu = new(domain, 0, guestMachine.CreateCpu(0), schedulable);
            domain.AddVcpu(vcpu);
            if (fastMemory is not null && mmu is IAdoptsEntries adopter && vcpu.Cpu is ISyscallInterception interception)
            {
                vcpu.Accelerator = new DomainFastPath(host, mmu, fastMemory, adopter).Attach(vcpu, interception);
                Frames.Watch(id, vcpu.Accelerator);
            }

            new DomainBuilder(domain, Engine.Facts).Build(Store, StoreServer);
            vcpu.Accelerator?.RootChanged(userMode: false);
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
