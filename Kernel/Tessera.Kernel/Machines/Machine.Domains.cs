using Tessera.Kernel.Domains;
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
    public Domain CreateDomain(DomainConfiguration configuration) => Create(configuration, snapshot: null);

    private Domain Create(DomainConfiguration configuration, Stream? snapshot)
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

            MemoryRequest request = Request(id, configuration);
            // How much of its memory a saved domain had is known when the snapshot has been read; what it had not is given back then.
            if (snapshot is not null)
                request = request with { Frames = request.MaxFrames };
            long frames = _memory.Admit(request, _factory.FramesBeside(request.MaxFrames));
            if (frames == 0)
            {
                throw new DomainBuildException(
                    $"Domain '{configuration.Name}': {request.Frames >> 8} MiB asked for, but the machine's limit is " +
                    $"{Frames.LimitFrames >> 8} MiB and {Frames.AssignedFrames >> 8} MiB are assigned. Raise machine.memoryLimit or " +
                    "give the domains less.");
            }

            Domain built = _factory.Build(request, frames, configuration, Admit, snapshot);
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
        WaitUntilItRests(domain);
        Devices.Release(domain.Id);
        lock (domain.Gate)
        {
            if (!domain.TryMarkDestroyed())
                return;
            _factory.Release(domain);
        }

        _ = _byId.TryRemove(new KeyValuePair<DomainId, Domain>(domain.Id, domain));
        lock (_gate)
            _ = _domains.Remove(domain);
        if (domain.Defect is { } defect)
            throw new InvalidOperationException($"Domain '{domain.Name}' is destroyed, but the accounts of its frames were wrong: {defect.Message} Report this with its configuration.", defect);
    }

    /// <summary>Waits until no physical CPU is in a domain that was held or has ended.</summary>
    private void WaitUntilItRests(Domain domain)
    {
        SpinWait wait = default;
        Virtual?.LetGo(domain);
        while (domain.Vcpus.Any(vcpu => vcpu.IsOnPcpu))
        {
            foreach (PhysicalCpu pcpu in _pcpus)
                pcpu.Kick();
            wait.SpinOnce();
        }
    }

    // Without the gate: hypercalls look up.
    internal Domain? FindDomain(DomainId id) => _byId.TryGetValue(id, out Domain? domain) && domain.State != DomainState.Destroyed ? domain : null;

    private void Admit(Vcpu vcpu)
    {
        _vcpuOf[vcpu.Schedulable.Id] = vcpu;
        _ = _errands.Run(() => Core.Add(vcpu.Schedulable, Clock.Now));
    }

    private static MemoryRequest Request(DomainId id, DomainConfiguration configuration) =>
        new(id, configuration.MemoryBytes / 4096, Math.Max(configuration.MaxMemoryBytes, configuration.MemoryBytes) / 4096);

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
}
