using Tessera.Sdk;

namespace Tessera.Kernel.Time;

/// <summary>How long a vCPU was in each of Xen's run states (public/vcpu.h): running, runnable, blocked, offline.</summary>
internal sealed class RunstateClock
{
    private readonly long[] _time = new long[4];

    /// <summary>The state now.</summary>
    public Sdk.Xen.RunState State { get; private set; } = Sdk.Xen.RunState.Offline;

    /// <summary>Since when.</summary>
    public Nanoseconds Since { get; private set; }

    /// <summary>Enters a state.</summary>
    public void Enter(Sdk.Xen.RunState state, Nanoseconds now)
    {
        _time[(int)State] += Math.Max(0, now.Value - Since.Value);
        State = state;
        Since = now;
    }

    /// <summary>Nanoseconds spent in a state until its last end.</summary>
    public long TimeIn(Sdk.Xen.RunState state) => _time[(int)state];
}
