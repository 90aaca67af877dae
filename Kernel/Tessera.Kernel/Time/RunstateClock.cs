using System.Runtime.InteropServices;
using Tessera.Sdk;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Time;

/// <summary>How long a vCPU was in each of Xen's run states (public/vcpu.h): running, runnable, blocked, offline.</summary>
internal sealed class RunstateClock
{
    private readonly long[] _time = new long[4];

    /// <summary>The state now.</summary>
    public RunState State { get; private set; } = RunState.Offline;

    /// <summary>Since when.</summary>
    public Nanoseconds Since { get; private set; }

    /// <summary>Enters a state.</summary>
    public void Enter(RunState state, Nanoseconds now)
    {
        _time[(int)State] += Math.Max(0, now.Value - Since.Value);
        State = state;
        Since = now;
    }

    /// <summary>Fills a vcpu_runstate_info (public/vcpu.h).</summary>
    public void Fill(Span<byte> area)
    {
        area.Clear();
        _ = MemoryMarshal.TryWrite(area[VcpuRunStateInfo.State..], (int)State);
        _ = MemoryMarshal.TryWrite(area[VcpuRunStateInfo.StateEntryTime..], Since.Value);
        MemoryMarshal.AsBytes(_time.AsSpan()).CopyTo(area[VcpuRunStateInfo.Time..]);
    }
}
