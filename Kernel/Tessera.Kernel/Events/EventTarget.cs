using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Events;

/// <summary>A vCPU as its domain's event channels know it.</summary>
/// <param name="info">Its vcpu_info.</param>
/// <param name="wake">Makes it runnable if it blocks. Any thread.</param>
internal sealed class EventTarget(VcpuInfoArea info, Action wake)
{
    /// <summary>Ports that one poll may wait for.</summary>
    public const int MaxPolled = 128;

    private readonly int[] _polled = new int[MaxPolled];
    private int _polledCount = -1;

    /// <summary>Ports of the virtual interrupts, zero for unbound.</summary>
    public int[] VirqPorts { get; } = new int[VirqLimits.Count];

    /// <summary>Makes it runnable if it blocks. Any thread.</summary>
    public void Wake() => wake();

    /// <summary>A pending port becomes visible to it; true when it is to be woken.</summary>
    /// <param name="port">The port.</param>
    /// <param name="isMasked">Whether the guest has masked it; a poll waits for it all the same.</param>
    public bool Raise(int port, bool isMasked) => (!isMasked && info.Select(port)) || IsPolling(port);

    /// <summary>SCHEDOP_poll: which ports end the wait.</summary>
    public void BeginPoll(ReadOnlySpan<uint> ports)
    {
        for (int index = 0; index < ports.Length; index++)
            _polled[index] = (int)ports[index];
        // With a fence: the ports are looked at next, and a sender sets its bit before it looks here.
        _ = Interlocked.Exchange(ref _polledCount, ports.Length);
    }

    /// <summary>No poll goes on from now on.</summary>
    /// <returns>Whether one did.</returns>
    public bool EndPoll()
    {
        if (_polledCount < 0)
            return false;
        Volatile.Write(ref _polledCount, -1);
        return true;
    }

    /// <summary>Whether a poll waits for this port, masked or not.</summary>
    private bool IsPolling(int port)
    {
        int count = Volatile.Read(ref _polledCount);
        for (int index = 0; index < count; index++)
        {
            if (_polled[index] == port)
                return true;
        }

        return false;
    }
}
