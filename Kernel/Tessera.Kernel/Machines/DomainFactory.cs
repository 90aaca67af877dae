using System.Collections.Concurrent;
using Tessera.Kernel.Building;
using Tessera.Kernel.Domains;
using Tessera.Kernel.FastPath;
using Tessera.Kernel.Grants;
using Tessera.Kernel.Hypercalls;
using Tessera.Kernel.Memory;
using Tessera.Kernel.Native;
using Tessera.Kernel.Store;
using Tessera.Kernel.Time;
using Tessera.Sdk;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Memory;
using Tessera.Sdk.Scheduling;

namespace Tessera.Kernel.Machines;

/// <summary>Puts a domain's parts together, and takes them apart again. One domain at a time is built.</summary>
internal sealed class DomainFactory
{
    private readonly ConcurrentDictionary<FastPathPlaces, FastPathCode> _codes = new();

    /// <summary>The machine that its domains know.</summary>
    public required IVcpuHost Host { get; init; }

    /// <summary>Where grants of other domains are found.</summary>
    public required IGrantDirectory Grants { get; init; }

    /// <summary>The frames that domains may have.</summary>
    public required FrameBudget Frames { get; init; }

    /// <summary>Where their memory comes from.</summary>
    public required HostArena Arena { get; init; }

    /// <summary>Makes guest machines and their CPUs.</summary>
    public required ICpuEngine Engine { get; init; }

    /// <summary>Makes a domain's MMU.</summary>
    public required IMmuVirtualization Mmu { get; init; }

    /// <summary>Whether leaf hypercalls may be answered inside the guest.</summary>
    public required FastPathMode FastPaths { get; init; }

    /// <summary>Where domains are introduced.</summary>
    public required XenStore Store { get; init; }

    /// <summary>Who serves their connections.</summary>
    public required StoreServer StoreServer { get; init; }

    /// <summary>The machine's virtual time; null where it goes by the host's.</summary>
    public VirtualTime? VirtualTime { get; init; }

    /// <summary>The frames that a domain takes of the machine's beside its memory: those that the VMM shares with it, and those for its MMU's tables.</summary>
    /// <param name="ramFrames">The most memory that it may ever have.</param>
    public long FramesBeside(long ramFrames) => DomainMemory.SharedFrames + Mmu.TableFrames(ramFrames);

    /// <summary>Builds a domain of one vCPU, ready to run.</summary>
    /// <param name="request">Its number and memory.</param>
    /// <param name="frames">How much of that it starts with, which is assigned to it; returned when it cannot be built.</param>
    /// <param name="configuration">What it is to be.</param>
    /// <param name="admit">Called with its vCPU at the end; what it throws undoes all.</param>
    /// <param name="snapshot">What it goes on from; null for one that boots.</param>
    public Domain Build(in MemoryRequest request, long frames, DomainConfiguration configuration, Action<Vcpu> admit, Stream? snapshot = null)
    {
        DomainId id = request.Domain;
        DomainMemory? memory = null;
        FastPathMemory? fastMemory = null;
        IGuestMachine? guestMachine = null;
        IDomainMmu? mmu = null;
        Domain? domain = null;
        try
        {
            int fastPages = DomainFastPath.PagesFor(FastPaths, Engine.Facts, request.MaxFrames, vcpus: 1);
            memory = new DomainMemory(Arena, request.MaxFrames, Engine.Facts, fastPages, Mmu.TableFrames(request.MaxFrames));
            if (fastPages > 0)
                fastMemory = DomainFastPath.CreateMemory(Engine.Facts, Arena, memory, vcpus: 1);
            guestMachine = Engine.CreateMachine(new GuestMachineLayout
            {
                Name = configuration.Name,
                Regions = fastMemory is null ? [memory.Region] : [memory.Region, fastMemory.Region],
                MaxCpus = 1,
                Time = VirtualTime?.GuestsOf(id),
            });
            FrameTable table = new(DomainMemory.First, memory.TotalFrames, guestMachine);
            GuestWrites writes = new(table, memory, guestMachine as ITracksWrites);
            MmuHost host = new(id, 1, table, memory, writes, guestMachine);
            mmu = Mmu.Attach(host);
            DomainConfiguration kept = configuration with { SchedulerOptions = null };
            domain = new Domain(Host, kept, memory, table, writes, guestMachine, host, mmu, Grants);
            SchedulableDomain scheduled = new(id, configuration.Weight, configuration.SchedulerOptions);
            SchedulableVcpu schedulable = new(scheduled, 0, configuration.Affinity);
            Vcpu vcpu = new(domain, 0, guestMachine.CreateCpu(0), schedulable);
            domain.AddVcpu(vcpu);
            if (fastMemory is not null && mmu is IAdoptsEntries adopter && vcpu.Cpu is ISyscallInterception interception)
            {
                vcpu.Accelerator = new DomainFastPath(host, mmu, fastMemory, adopter, _codes).Attach(vcpu, interception);
                table.Watch(vcpu.Accelerator);
            }

            if (snapshot is null)
            {
                // Whoever watches the types of its frames must see this.
                domain.Balloon.StartWith(frames);
                new DomainBuilder(domain, Engine.Facts).Build(Store, StoreServer);
            }
            else
            {
                new DomainRestorer(domain, Engine.Facts).Restore(snapshot, Store, StoreServer);
                long needed = domain.AssignedFrames;
                if (needed > frames)
                    throw new DomainBuildException($"Domain '{domain.Name}': it had {needed >> 8} MiB when it was saved, and the memory policy gives it {frames >> 8} MiB. Free some, or choose another policy.");
                Frames.Release(id, frames - needed);
            }

            vcpu.Accelerator?.RootChanged(userMode: false);
            vcpu.Accelerator?.RootChanged(userMode: true);
            admit(vcpu);
            return domain;
        }
        catch
        {
            // What may come from outside, or be on its way, comes no more.
            domain?.Events.Close();
            domain?.Console?.Close();
            domain?.Store?.Close();
            domain?.DisarmAlarms();
            foreach (Mfn frame in domain?.WrittenByVmm ?? [])
                domain!.Writes.End(frame);
            if (mmu is not null)
            {
                mmu.Release();
                Domain.Finish(mmu);
            }

            Store.Release(id);
            guestMachine?.Dispose();
            fastMemory?.Dispose();
            memory?.Dispose();
            Frames.Return(id);
            throw;
        }
    }

    /// <summary>
    /// Takes a dead domain apart. What others still use of its memory stays until they have let go of it; the rest goes back to the host now.
    /// </summary>
    public void Release(Domain domain)
    {
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
        if (!domain.Grants.Close(() => FreeFrames(domain)))
            domain.Memory.DiscardExcept(domain.Grants.PinnedFrames());
        domain.Grants.LetGo();
    }

    private static void ReleaseAccounts(Domain domain)
    {
        domain.Frames.Watch(null);
        try
        {
            foreach (Vcpu vcpu in domain.Vcpus)
            {
                SegmentOps.ReleaseAll(vcpu);
                if (vcpu.Context.Info.Frame != Mfn.None)
                    domain.Writes.End(vcpu.Context.Info.Frame);
            }

            domain.Balloon.Close();
            foreach (Mfn frame in domain.WrittenByVmm)
                domain.Writes.End(frame);
            domain.Mmu.Release();
            domain.FinishMmuWork();
            domain.MmuHost.RequireNoTables();
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
                domain.Frames.RequireIdle();
        }
        catch (Exception exception) when (exception is InvalidOperationException or TamperedTablesException or ArgumentException)
        {
            FoundFalseAccounts(domain, exception);
        }

        domain.Memory.Dispose();
        Frames.Return(domain.Id);
    }

    // A guest with fast paths can write its own tables; then they no longer tell what is held. Its frames go back all the same, and those of
    // one that could not, which is a defect: half a destruction would help nobody.
    private static void FoundFalseAccounts(Domain domain, Exception exception)
    {
        domain.HadFalseAccounts = true;
        if (domain.Vcpus.All(vcpu => vcpu.Accelerator is null))
            domain.Defect ??= exception;
    }
}
