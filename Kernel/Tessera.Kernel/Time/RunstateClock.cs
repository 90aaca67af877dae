using System.Runtime.InteropServices;
using Tessera.Kernel.Snapshots;
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
    /// <param name="area">The structure.</param>
    /// <param name="ahead">What the guest's time is beyond the machine's.</param>
    public void Fill(Span<byte> area, Nanoseconds ahead)
    {
        area.Clear();
        _ = MemoryMarshal.TryWrite(area[VcpuRunStateInfo.State..], (int)State);
        _ = MemoryMarshal.TryWrite(area[VcpuRunStateInfo.StateEntryTime..], (Since + ahead).Value);
        MemoryMarshal.AsBytes(_time.AsSpan()).CopyTo(area[VcpuRunStateInfo.Time..]);
    }

    /// <summary>Writes the times; a restored vCPU begins as one that is offline.</summary>
    public void Save(StateWriter writer)
    {
        foreach (long time in _time)
            writer.Number(time);
    }

    /// <summary>Reads them.</summary>
    /// <param name="reader">Where from.</param>
    /// <param name="now">From when on it counts.</param>
    /// <exception cref="SnapshotException">They cannot be.</exception>
    public void Restore(StateReader reader, Nanoseconds now)
    {
        foreach (ref long time in _time.AsSpan())
            time = reader.Number("a run state's time", 0, long.MaxValue / 2);
        Since = now;
    }
}
