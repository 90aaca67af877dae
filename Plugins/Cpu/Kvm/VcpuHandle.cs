using System.Runtime.CompilerServices;
using Tessera.Plugins.Cpu.Kvm.Native;

namespace Tessera.Plugins.Cpu.Kvm;

/// <summary>A KVM vCPU: its descriptor and its run area, in which registers are exchanged without system calls (KVM_CAP_SYNC_REGS).</summary>
internal sealed unsafe class VcpuHandle : IDisposable
{
    // SAFETY: _area maps the whole run area until Dispose; the offsets are those of struct kvm_run. One thread at a time runs a vCPU.
    private readonly DescriptorHandle _vcpu;
    private readonly MappingHandle _area;
    private readonly byte* _run;

    public VcpuHandle(DescriptorHandle vcpu, KvmHost host)
    {
        _vcpu = vcpu;
        Host = host;
        try
        {
            _area = MappingHandle.OfVcpu(vcpu, host.RunAreaBytes);
        }
        catch
        {
            vcpu.Dispose();
            throw;
        }

        _run = (byte*)_area.Address;
        *(ulong*)(_run + RunArea.ValidRegs) = RunArea.Regs | RunArea.Sregs | RunArea.Events;
    }

    public KvmHost Host { get; }

    public KvmRegs* Regs => (KvmRegs*)(_run + RunArea.SyncRegs);

    public KvmSregs* Sregs => (KvmSregs*)(_run + RunArea.SyncSregs);

    public KvmVcpuEvents* Events => (KvmVcpuEvents*)(_run + RunArea.SyncEvents);

    public KvmIoExit* Io => (KvmIoExit*)(_run + RunArea.Detail);

    public KvmMmioExit* Mmio => (KvmMmioExit*)(_run + RunArea.Detail);

    public uint ExitReason => *(uint*)(_run + RunArea.ExitReason);

    public ulong Detail(int index) => ((ulong*)(_run + RunArea.Detail))[index];

    public bool ImmediateExit
    {
        set => _run[RunArea.ImmediateExit] = value ? (byte)1 : (byte)0;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void MarkDirty(ulong sets) => *(ulong*)(_run + RunArea.DirtyRegs) |= sets;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public int Run() => KvmCalls.Run(_vcpu.Fd);

    /// <summary>An ioctl that sets the CPU up; throws when it fails.</summary>
    public void Call<T>(uint request, string name, ref T argument)
        where T : unmanaged
    {
        int result = KvmCalls.Call(_vcpu.Fd, request, ref argument);
        if (result < 0)
            throw KvmHost.Failed(name, -result, "Report this with the output of `tessera doctor --json`.");
    }

    /// <summary>An ioctl that KVM may not know; gives what it answers, negative for minus errno.</summary>
    public int TryCall<T>(uint request, ref T argument)
        where T : unmanaged => KvmCalls.Call(_vcpu.Fd, request, ref argument);

    /// <inheritdoc/>
    public void Dispose()
    {
        _area.Dispose();
        _vcpu.Dispose();
    }
}
