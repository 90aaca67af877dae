namespace Tessera.Sdk.Scheduling.Core;

/// <summary>
/// The machine below a <see cref="SchedulerCore"/>: the threads that are physical CPUs, or a simulator's event loop. Except
/// <see cref="PolicyHung"/>, every member is called under the core's lock: it must not block and must not call the core.
/// </summary>
public interface ISchedulerHost
{
    /// <summary>Makes this physical CPU call <see cref="SchedulerCore.Schedule"/> soon. The core asks once until it does.</summary>
    void Kick(PcpuId pcpu);

    /// <summary>
    /// Moves the end of the running slice (or idle sleep) forward. A host that cannot do so kicks: deciding early is never wrong.
    /// </summary>
    /// <param name="pcpu">The physical CPU.</param>
    /// <param name="until">The instant to call <see cref="SchedulerCore.Schedule"/> at the latest; earlier than its last dispatch said.</param>
    void Shorten(PcpuId pcpu, Nanoseconds until) => Kick(pcpu);

    /// <summary>A policy was ejected and the fallback is in charge.</summary>
    void PolicyEjected(Ejection ejection)
    {
    }

    /// <summary>
    /// A thread is stuck inside the ejected policy. Called outside the lock by the thread that found it, and before the stuck one
    /// comes back from the core: do not wait for that. If the stuck thread is a physical CPU's, start another for that CPU; when
    /// the stuck one ever comes back it must leave: a stuck Schedule answers <see cref="Dispatch.Lost"/>, the calls that a physical
    /// CPU's thread makes beside it answer false, others simply return.
    /// </summary>
    /// <param name="managedThreadId">The stuck thread's <see cref="Environment.CurrentManagedThreadId"/>.</param>
    /// <param name="deciding">The physical CPU it was deciding for; null when it was in another call.</param>
    void PolicyHung(int managedThreadId, PcpuId? deciding)
    {
    }
}
