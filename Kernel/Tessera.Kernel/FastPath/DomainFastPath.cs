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
internal sealed class DomainFastPath(Domain domain, FastPathMemory memory, IAdoptsEntries adopter) : IDisposable
{
    /// <summary>Its memory.</summary>
    public FastPathMemory Memory => memory;

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
    public VcpuFastPath Attach(Vcpu vcpu, ISyscallInterception interception) => new(vcpu, memory, adopter, interception);

    /// <summary>A vCPU has a new kernel root.</summary>
    public void OnKernelRoot(Vcpu vcpu)
    {
        Mfn root = domain.Mmu.Root(vcpu.Index, userMode: false);
        if (vcpu.FastPath is not { } fast)
            return;
        fast.Root = Mfn.None;
        foreach (Vcpu other in domain.Vcpus)
        {
            if (domain.Mmu.Root(other.Index, userMode: true) == root)
                return;
        }

        Write(root, memory.RootEntry);
        fast.Root = root;
    }

    /// <summary>A vCPU has a new user root, or none.</summary>
    public void OnUserRoot(Vcpu vcpu)
    {
        Mfn root = domain.Mmu.Root(vcpu.Index, userMode: true);
        if (root == Mfn.None)
            return;
        Write(root, 0);
        foreach (Vcpu other in domain.Vcpus)
        {
            if (other.FastPath is { } fast && fast.Root == root)
                fast.Root = Mfn.None;
        }
    }

    /// <inheritdoc/>
    public void Dispose() => memory.Dispose();

    private void Write(Mfn root, ulong entry)
    {
        ref ulong place = ref domain.MmuHost.Table(root)[memory.Slot];
        ulong old = place;
        if (old == entry)
            return;
        place = entry;
        domain.MmuHost.EntryChanged(root.Address + ((ulong)memory.Slot * sizeof(ulong)), old, entry);
    }
}
