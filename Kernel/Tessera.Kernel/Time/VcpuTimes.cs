using System.Runtime.InteropServices;
using Tessera.Sdk;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Time;

/// <summary>
/// What guests read of time without asking: pvclock (public/xen.h vcpu_time_info) and run states. System time is one function of the
/// counter for the machine's whole life, so that the structure is written once and marked stable.
/// </summary>
internal sealed unsafe class VcpuTimes(MachineClock clock)
{
    private const byte StableFlag = 1;
    private const uint SteadyVersion = 2; // even: not being changed

    /// <summary>Fills vcpu_info's time at the start of day.</summary>
    // SAFETY: Info points to a whole vcpu_info in the domain's own frame.
    public void Initialise(Vcpu vcpu) => Fill(vcpu, new Span<byte>(vcpu.Info + VcpuInfo.Time, VcpuTimeInfo.Size));

    /// <summary>Fills a time area in the guest's memory, for its user space.</summary>
    public bool WriteArea(Vcpu vcpu, ulong address)
    {
        Span<byte> area = stackalloc byte[VcpuTimeInfo.Size];
        Fill(vcpu, area);
        return vcpu.Domain.Guest.TryWrite(vcpu.Index, userMode: false, address, area);
    }

    /// <summary>Writes a vCPU's run states to the guest kernel's memory.</summary>
    public static bool WriteRunstate(Vcpu vcpu, ulong address)
    {
        Span<byte> area = stackalloc byte[VcpuRunStateInfo.Size];
        area.Clear();
        RunstateClock clock = vcpu.Runstate;
        _ = MemoryMarshal.TryWrite(area[VcpuRunStateInfo.State..], (int)clock.State);
        _ = MemoryMarshal.TryWrite(area[VcpuRunStateInfo.StateEntryTime..], clock.Since.Value);
        for (int state = 0; state < 4; state++)
            _ = MemoryMarshal.TryWrite(area[(VcpuRunStateInfo.Time + (8 * state))..], clock.TimeIn((RunState)state));
        return vcpu.Domain.Guest.TryWrite(vcpu.Index, userMode: false, address, area);
    }

    private void Fill(Vcpu vcpu, Span<byte> area)
    {
        area.Clear();
        _ = MemoryMarshal.TryWrite(area[VcpuTimeInfo.Version..], SteadyVersion);
        _ = MemoryMarshal.TryWrite(area[VcpuTimeInfo.TscTimestamp..], clock.StartTsc + (ulong)vcpu.CounterShift);
        _ = MemoryMarshal.TryWrite(area[VcpuTimeInfo.TscToSystemMul..], clock.Multiplier);
        area[VcpuTimeInfo.TscShift] = (byte)clock.Shift;
        area[VcpuTimeInfo.Flags] = StableFlag;
    }
}
