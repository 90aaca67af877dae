using Tessera.Plugins.Cpu.Kvm.Native;

namespace Tessera.Plugins.Cpu.Kvm;

/// <summary>The time-stamp counter of a KVM vCPU.</summary>
internal sealed unsafe class VcpuCounter(VcpuHandle vcpu) : ICounterRegister
{
    // SAFETY: KVM reads the local that the attribute's address names during the call only.
    private const uint MsrTimeStampCounter = 0x10;
    private const uint CounterControl = 0; // KVM_VCPU_TSC_CTRL
    private const ulong CounterOffset = 0; // KVM_VCPU_TSC_OFFSET

    /// <inheritdoc/>
    public bool TrySetOffset(ulong offset)
    {
        KvmDeviceAttribute attribute = new() { Group = CounterControl, Attribute = CounterOffset, Address = (ulong)&offset };
        return vcpu.TryCall(KvmCalls.SetDeviceAttribute, ref attribute) >= 0;
    }

    /// <inheritdoc/>
    public bool TryWrite(ulong value)
    {
        KvmMsrs msrs = One(value);
        return vcpu.TryCall(KvmCalls.SetMsrs, ref msrs) == 1;
    }

    /// <inheritdoc/>
    public bool TryRead(out ulong value)
    {
        KvmMsrs msrs = One(0);
        bool read = vcpu.TryCall(KvmCalls.GetMsrs, ref msrs) == 1;
        value = msrs.Entries[0].Value;
        return read;
    }

    private static KvmMsrs One(ulong value)
    {
        KvmMsrs msrs = default;
        msrs.Count = 1;
        msrs.Entries[0] = new KvmMsrEntry { Index = MsrTimeStampCounter, Value = value };
        return msrs;
    }
}
