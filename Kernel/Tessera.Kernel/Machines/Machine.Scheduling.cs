using Tessera.Kernel.Domains;
using Tessera.Sdk;
using Tessera.Sdk.Scheduling;
using Tessera.Sdk.Scheduling.Core;

namespace Tessera.Kernel.Machines;

/// <content>The scheduler: swaps, ejections, and calls into a policy that may hang.</content>
public sealed partial class Machine
{
    /// <summary>Puts another scheduler in charge while guests run. Nothing of the old one is kept.</summary>
    /// <param name="scheduler">The policy.</param>
    /// <param name="name">Its name.</param>
    /// <param name="domainOptions">Makes its per-domain options; null for its defaults.</param>
    /// <returns>Null, or why the policy could not take over; the fallback is in charge then.</returns>
    public Ejection? SwapScheduler(IScheduler scheduler, string name, Func<SchedulableDomain, object?>? domainOptions)
    {
        Ejection? ejection = null;
        bool done = _errands.Run(() => ejection = Core.SwapPolicy(scheduler, name, domainOptions, Clock.Now));
        foreach (Domain domain in Domains)
        {
            // The core sees to those it schedules; what the ended ones keep would hold the old plugin as well.
            foreach (Vcpu vcpu in domain.Vcpus)
            {
                if (vcpu.Schedulable.State == RunState.Offline)
                    vcpu.Schedulable.PolicyData = null;
            }
        }

        return done ? ejection : Core.Ejections[^1];
    }

    /// <inheritdoc/>
    void ISchedulerHost.Kick(PcpuId pcpu) => _pcpus[pcpu.Index].Kick();

    /// <inheritdoc/>
    void ISchedulerHost.PolicyEjected(Ejection ejection) => SchedulerEjected?.Invoke(ejection);

    /// <inheritdoc/>
    void ISchedulerHost.PolicyHung(int managedThreadId, PcpuId? deciding)
    {
        if (_errands.Abandon(managedThreadId))
            return;
        lock (_gate)
        {
            int index = Virtual is null ? Array.FindIndex(_pcpus, pcpu => pcpu.ThreadId == managedThreadId) : Virtual.WhoseTurn(managedThreadId);
            if (index < 0)
                return;
            PhysicalCpu stuck = _pcpus[index];
            if (_disposed != 0)
            {
                stuck.LetGo();
                Virtual?.GoOnWithout(managedThreadId);
                return;
            }

            PhysicalCpu replacement = new(this, stuck.Id, _hostCpus[index], stuck.Timers, stuck.Inbox);
            replacement.Succeed(stuck);
            _replaced.Add(stuck);
            _pcpus[index] = replacement;
            stuck.Leave();
            if (Virtual is null)
                replacement.Start();
            else
                Virtual.GoOnWithout(managedThreadId);
        }
    }

    /// <inheritdoc/>
    void IVcpuHost.Wake(Vcpu vcpu, Nanoseconds due)
    {
        if (CurrentPcpu is { } pcpu)
            pcpu.WakeLater(vcpu, due);
        else
            WakeFromOutside(vcpu);
    }

    /// <summary>A wake from a thread that is no physical CPU's: an idle physical CPU tells the scheduler, or the one where the vCPU last ran.</summary>
    private void WakeFromOutside(Vcpu vcpu)
    {
        int chosen = vcpu.Pcpu.Index;
        for (int index = 0; index < _pcpus.Length && !_pcpus[chosen].IsIdle; index++)
        {
            if (_pcpus[index].IsIdle)
                chosen = index;
        }

        if (_pcpus[chosen].Inbox.Post(vcpu))
            Volatile.Read(ref _pcpus[chosen]).Kick();
    }

    /// <inheritdoc/>
    void IVcpuHost.Ended(Domain domain)
    {
        if (CurrentPcpu is { } pcpu)
        {
            pcpu.EndLater(domain);
            return;
        }

        bool isRemoved = false;
        while (!isRemoved)
        {
            _ = _errands.Run(() =>
            {
                // One that was given up says nothing any more.
                if (RemoveEnded(domain))
                    isRemoved = true;
            });
        }
    }

    /// <summary>The vCPUs of an ended domain leave the scheduler.</summary>
    /// <returns>False when the policy hung in it: whoever takes over from this thread does it once more.</returns>
    internal bool RemoveEnded(Domain domain)
    {
        foreach (Vcpu vcpu in domain.Vcpus)
        {
            if (!Core.Remove(vcpu.Schedulable, Clock.Now))
                return false;
            _ = _vcpuOf.TryRemove(new KeyValuePair<VcpuId, Vcpu>(vcpu.Schedulable.Id, vcpu));
        }

        Store.Ended(domain.Id);
        if (domain.State != DomainState.Destroyed)
            DomainEnded?.Invoke(domain);
        return true;
    }

    /// <summary>Tells the scheduler of a domain's vCPUs; a policy that hangs in it is thrown out and the caller goes on.</summary>
    private void Tell(Domain domain, Action<SchedulableVcpu> what) => _ = _errands.Run(() =>
    {
        foreach (Vcpu vcpu in domain.Vcpus)
            what(vcpu.Schedulable);
    });
}
