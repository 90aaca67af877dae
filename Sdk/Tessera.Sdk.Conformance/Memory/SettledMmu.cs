using Tessera.Sdk.Cpu.X64;
using Tessera.Sdk.Memory;

namespace Tessera.Sdk.Conformance.Memory;

/// <summary>An MMU as the kernel uses it: what an operation leaves is done before the next, in slices of a size that can be chosen, and one that answers ERESTART is asked for again.</summary>
internal sealed class SettledMmu(IDomainMmu mmu) : IDomainMmu
{
    public IDomainMmu Raw => mmu;

    /// <summary>Entries a slice.</summary>
    public int Slice { get; set; } = MmuLimits.EntriesAtOnce;

    /// <summary>Slices so far.</summary>
    public int Slices { get; private set; }

    public bool HasWork => mmu.HasWork;

    public bool Work(int entries) => mmu.Work(entries);

    public XenErrno AdoptBootTables(Mfn root) => Settle(() => mmu.AdoptBootTables(root));

    public XenErrno Update(ulong pointer, ulong value)
    {
        XenErrno answer;
        while ((answer = mmu.Update(pointer, value)) == XenErrno.ERESTART)
            Finish();
        Finish();
        return answer;
    }

    public XenErrno UpdateVaMapping(int vcpu, VirtualAddress address, ulong entry)
    {
        XenErrno answer = mmu.UpdateVaMapping(vcpu, address, entry);
        Finish();
        return answer;
    }

    public XenErrno Extended(int vcpu, uint command, Mfn frame, Mfn source) => Settle(() => mmu.Extended(vcpu, command, frame, source));

    public Mfn Root(int vcpu, bool userMode) => mmu.Root(vcpu, userMode);

    public Mfn GuestRoot(int vcpu, bool userMode) => mmu.GuestRoot(vcpu, userMode);

    public bool Translate(int vcpu, bool userMode, VirtualAddress address, bool forWriting, out ulong machineAddress) => mmu.Translate(vcpu, userMode, address, forWriting, out machineAddress);

    public bool FindEntry(int vcpu, VirtualAddress address, out ulong entryAddress) => mmu.FindEntry(vcpu, address, out entryAddress);

    public FaultAnswer OnFault(int vcpu, bool userMode, VirtualAddress address, PageFaultError error) => mmu.OnFault(vcpu, userMode, address, error);

    public XenErrno AcquireDescriptorFrame(Mfn frame) => mmu.AcquireDescriptorFrame(frame);

    public void ReleaseDescriptorFrame(Mfn frame) => mmu.ReleaseDescriptorFrame(frame);

    public XenErrno UpdateDescriptor(ulong machineAddress, ulong descriptor) => mmu.UpdateDescriptor(machineAddress, descriptor);

    public void Release()
    {
        mmu.Release();
        Finish();
    }

    public void Finish()
    {
        while (!mmu.Work(Slice))
            Slices++;
    }

    private XenErrno Settle(Func<XenErrno> operation)
    {
        XenErrno answer;
        while ((answer = operation()) == XenErrno.ERESTART)
            Finish();
        Finish();
        return answer;
    }
}
