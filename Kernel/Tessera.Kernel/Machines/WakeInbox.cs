using Tessera.Kernel.Domains;
using Tessera.Sdk;

namespace Tessera.Kernel.Machines;

/// <summary>
/// Wakes from threads that are no physical CPU's (store, device backends, console input), handed to a physical CPU to tell the scheduler: a
/// policy that hangs in a wake must not take such a thread with it. It outlives a thread that is stuck in a plugin. Allocates nothing.
/// </summary>
internal sealed class WakeInbox
{
    private Vcpu? _newest;

    public bool IsEmpty => Volatile.Read(ref _newest) is null;

    /// <summary>Posts a wake, unless one of this vCPU's is still on its way somewhere. Any thread; kick the physical CPU afterwards.</summary>
    /// <returns>Whether it was posted here.</returns>
    public bool Post(Vcpu vcpu)
    {
        if (Interlocked.Exchange(ref vcpu.WakePosted, 1) != 0)
            return false;
        Vcpu? newest;
        do
        {
            newest = Volatile.Read(ref _newest);
            vcpu.NextWake = newest;
        }
        while (Interlocked.CompareExchange(ref _newest, vcpu, newest) != newest);
        return true;
    }

    /// <summary>Moves all wakes to the physical CPU that this inbox belongs to. Its own thread only.</summary>
    public void Drain(PhysicalCpu pcpu)
    {
        if (IsEmpty)
            return;
        Vcpu? vcpu = Interlocked.Exchange(ref _newest, null);
        while (vcpu is not null)
        {
            Vcpu? next = vcpu.NextWake;
            vcpu.NextWake = null;

            // From here on an event needs a wake of its own: this one may be told before it.
            Volatile.Write(ref vcpu.WakePosted, 0);
            pcpu.WakeLater(vcpu, Nanoseconds.Never);
            vcpu = next;
        }
    }
}
