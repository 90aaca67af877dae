using System.Collections.Concurrent;
using Tessera.Kernel.Domains;
using Tessera.Kernel.Memory;
using Tessera.Kernel.Native;
using Tessera.Sdk;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Memory;

namespace Tessera.Kernel.FastPath;

/// <summary>A domain's fast paths: which L4 tables show them, and which vCPU may use them now.</summary>
/// <remarks>
/// The slot is in an L4 table only from the moment that table becomes a kernel root, and is taken out before one becomes a user root. So
/// user mode never sees the alias, the log or the values: a process gains nothing over the guest's kernel. A table that is both
/// at once shows none, and the kernel running on it has no fast paths.
/// </remarks>
internal sealed class DomainFastPath(
    MmuHost mmuHost, IDomainMmu mmu, FastPathMemory memory, IAdoptsEntries adopter, ConcurrentDictionary<FastPathPlaces, FastPathCode> codes)
{
    private readonly List<VcpuFastPath> _vcpus = [];

    /// <summary>Its memory.</summary>
    public FastPathMemory Memory => memory;

    /// <summary>Code that some domain of the machine has had.</summary>
    public ConcurrentDictionary<FastPathPlaces, FastPathCode> Codes => codes;

    /// <summary>Takes what the code did over into the domain's accounts.</summary>
    public IAdoptsEntries Adopter => adopter;

    /// <summary>How many spare pages a domain's memory needs for them; 0 where this machine and engine have none.</summary>
    public static int PagesFor(FastPathMode mode, EngineFacts engine, long frames, int vcpus)
    {
        // With several vCPUs, one may write an entry while another changes the type of the frame in it.
        const long MostFrames = 1L << 29;
        return mode == FastPathMode.Auto && FastPathSupport.Of(engine).Exists && vcpus == 1 && frames < MostFrames
            ? vcpus * FastPathLayout.GuestPages : 0;
    }

    /// <summary>Makes the memory, for a domain that has the spare pages.</summary>
    public static FastPathMemory CreateMemory(EngineFacts engine, HostArena arena, DomainMemory memory, int vcpus) =>
        new(arena, memory, new Mfn(engine.ReservedFrames), engine.FreeSlots[1], vcpus);

    /// <summary>Gives a vCPU its fast paths.</summary>
    public VcpuFastPath Attach(Vcpu vcpu, ISyscallInterception interception)
    {
        VcpuFastPath attached = new(vcpu, this, interception);
        _vcpus.Add(attached);
        return attached;
    }

    /// <summary>A vCPU has a new kernel root.</summary>
    public void OnKernelRoot(VcpuFastPath vcpu)
    {
        Mfn root = mmu.Root(vcpu.Index, userMode: false);
        vcpu.Root = Mfn.None;
        foreach (VcpuFastPath other in _vcpus)
        {
            if (mmu.Root(other.Index, userMode: true) == root)
                return;
        }

        Write(root, memory.RootEntry);
        vcpu.Root = root;
    }

    /// <summary>A vCPU has a new user root, or none.</summary>
    public void OnUserRoot(VcpuFastPath vcpu)
    {
        Mfn root = mmu.Root(vcpu.Index, userMode: true);
        if (root == Mfn.None)
            return;
        Write(root, 0);
        foreach (VcpuFastPath other in _vcpus)
        {
            if (other.Root == root)
                other.Root = Mfn.None;
        }
    }

    private void Write(Mfn root, ulong entry)
    {
        ref ulong place = ref mmuHost.Table(root)[memory.Slot];
        ulong old = place;
        if (old == entry)
            return;
        place = entry;
        mmuHost.EntryChanged(root.Address + ((ulong)memory.Slot * sizeof(ulong)), old, entry);
    }
}
