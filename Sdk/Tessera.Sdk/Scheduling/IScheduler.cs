namespace Tessera.Sdk.Scheduling;

/// <summary>
/// A CPU scheduling policy: which vCPU runs next on a physical CPU, and for how long. The operations are those of Xen's
/// <c>struct scheduler</c> (xen/common/sched/private.h) that survive a rethink.
/// </summary>
/// <remarks>
/// Every member is called by the scheduler core, one call at a time under its lock, never re-entered: write single-threaded
/// code. Time is an argument that never goes back; never read a clock. Must not block, wait, start threads or call the core
/// from another thread. The core keeps the run states; a policy keeps queues and accounts. A policy that throws, answers with
/// a vCPU that is not runnable here, takes longer than its budget or starves a runnable vCPU (by what it owes it,
/// <see cref="EntitlementOf"/>) is ejected and replaced by the fallback.
/// </remarks>
public interface IScheduler
{
    /// <summary>Called once, first: the machine this policy schedules. Keep the reference.</summary>
    void Attach(ISchedulerMachine machine);

    /// <summary>A vCPU joins, asleep: nothing is queued before its first <see cref="Wake"/>. <see cref="SchedulableVcpu.PolicyData"/> is free for use.</summary>
    void Add(SchedulableVcpu vcpu, Nanoseconds now);

    /// <summary>A vCPU leaves for good, whether asleep, queued or running; never return it again.</summary>
    void Remove(SchedulableVcpu vcpu, Nanoseconds now);

    /// <summary>A sleeping vCPU became runnable. Queue it, and call <see cref="ISchedulerMachine.RequestReschedule"/> for the pCPU that should look.</summary>
    void Wake(SchedulableVcpu vcpu, Nanoseconds now);

    /// <summary>
    /// A vCPU that is runnable or running stopped being so (blocked, paused). If it is running, its pCPU calls
    /// <see cref="Schedule"/> next, with <see cref="SchedulingPoint.CurrentRunnable"/> false: charge it there.
    /// </summary>
    void Sleep(SchedulableVcpu vcpu, Nanoseconds now);

    /// <summary>
    /// The running vCPU offers its pCPU to others; it stays runnable, and <see cref="Schedule"/> follows. Empty for a policy that puts who
    /// ran behind the others anyway.
    /// </summary>
    void Yield(SchedulableVcpu vcpu, Nanoseconds now)
    {
    }

    /// <summary>
    /// Decides what this pCPU runs now. Charge <see cref="SchedulingPoint.Current"/> for <see cref="SchedulingPoint.Ran"/>
    /// first. Called when a slice ends, the current vCPU stops or yields, a reschedule was requested, or an idle pCPU looks.
    /// </summary>
    /// <returns>A runnable vCPU that no other pCPU runs and whose affinity has this pCPU, with its slice; or <see cref="Decision.Idle"/>.</returns>
    Decision Schedule(in SchedulingPoint point);

    /// <summary>
    /// The parameters of a vCPU's domain (<see cref="SchedulableDomain.Weight"/>, <see cref="SchedulableDomain.Options"/>) or its affinity
    /// changed; the handles have the new ones already. Called for each vCPU that it concerns, at any moment in its life. Empty for a policy
    /// that reads them anew at each decision and has no queue by affinity; a new affinity may fit an idle pCPU that must be asked
    /// (<see cref="ISchedulerMachine.RequestIdle"/>).
    /// </summary>
    void Adjust(SchedulableVcpu vcpu, Nanoseconds now)
    {
    }

    /// <summary>
    /// What the policy owes a vCPU by its parameters: a share by weight, unless it says otherwise. This is how a policy with caps, budgets
    /// or reservations says that a vCPU may be runnable and not entitled to run for a while; the watchdog goes by nothing else, and takes
    /// other waiting for starvation. Depends on the parameters alone; asked after <see cref="Add"/> and <see cref="Adjust"/>.
    /// </summary>
    Entitlement EntitlementOf(SchedulableVcpu vcpu) => Entitlement.ByWeight(vcpu.Domain.Weight);

    /// <summary>
    /// Describes the policy's own state of a vCPU (virtual times, credits, queue) in a line, for reports and failure dumps; empty when
    /// there is nothing to say.
    /// </summary>
    string Describe(SchedulableVcpu vcpu) => "";
}

/// <summary>What a scheduling policy may know of and ask from the machine.</summary>
public interface ISchedulerMachine
{
    /// <summary>How many physical CPUs there are; they are numbered from 0.</summary>
    int PcpuCount { get; }

    /// <summary>How they lie to each other; flat where nobody knows. Never changes: keep it.</summary>
    MachineTopology Topology => MachineTopology.Flat(PcpuCount);

    /// <summary>The vCPU that runs on a physical CPU at this moment, or null when it idles.</summary>
    SchedulableVcpu? Running(PcpuId pcpu);

    /// <summary>Asks that a physical CPU calls <see cref="IScheduler.Schedule"/> soon, cutting the running slice short. Idempotent.</summary>
    void RequestReschedule(PcpuId pcpu);

    /// <summary>
    /// Asks every idle physical CPU of a set to call <see cref="IScheduler.Schedule"/> soon: when somebody was queued whom one of them
    /// could run. A policy that knows better which one to ask uses <see cref="RequestReschedule"/>.
    /// </summary>
    /// <param name="among">The set; usually the affinity of the vCPU that was queued.</param>
    /// <returns>Whether there was one.</returns>
    bool RequestIdle(CpuSet among)
    {
        bool found = false;
        for (PcpuId pcpu = new(0); pcpu.Index < PcpuCount; pcpu = new(pcpu.Index + 1))
        {
            if (!among.Contains(pcpu) || Running(pcpu) is not null)
                continue;
            RequestReschedule(pcpu);
            found = true;
        }

        return found;
    }

    /// <summary>Asks for a call of <see cref="IScheduler.Schedule"/> on a pCPU at this instant at the latest; the earliest request counts, and Schedule clears it.</summary>
    void RequestRescheduleAt(PcpuId pcpu, Nanoseconds at);
}

/// <summary>The moment of one scheduling decision.</summary>
/// <param name="Pcpu">The physical CPU that asks.</param>
/// <param name="Now">The instant; never earlier than in the call before.</param>
/// <param name="Current">The vCPU that ran here until now, or null when it idled. Already removed vCPUs are null.</param>
/// <param name="Ran">How long <paramref name="Current"/> ran since the last decision here (pCPU time, zero when idle).</param>
/// <param name="CurrentRunnable">Whether <paramref name="Current"/> could go on; false when it slept.</param>
public readonly record struct SchedulingPoint(PcpuId Pcpu, Nanoseconds Now, SchedulableVcpu? Current, Nanoseconds Ran, bool CurrentRunnable);

/// <summary>What a physical CPU does next.</summary>
/// <param name="Vcpu">The vCPU to run; null to idle until the next wake or requested reschedule.</param>
/// <param name="Slice">How long it may run before the policy is asked again, at least a microsecond; ignored when idle.</param>
public readonly record struct Decision(SchedulableVcpu? Vcpu, Nanoseconds Slice)
{
    /// <summary>Run nothing.</summary>
    public static readonly Decision Idle;
}
