using Tessera.Kernel.Snapshots;
using Tessera.Kernel.Time;
using Tessera.Sdk;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Domains;

/// <summary>A domain's two watchdogs (SCHEDOP_watchdog): one that is not kicked in time ends the domain.</summary>
internal sealed class Watchdogs(Domain domain)
{
    private const int Count = 2;

    private readonly Alarm?[] _timers = new Alarm?[Count];
    private readonly Nanoseconds?[] _restored = new Nanoseconds?[Count];

    /// <summary>Makes one (id 0), kicks it, or stops it (0 seconds).</summary>
    /// <param name="vcpu">The vCPU that asks.</param>
    /// <param name="id">Which, from 1; 0 for a new one.</param>
    /// <param name="seconds">How long it waits.</param>
    /// <returns>The new one's number, 0, EINVAL for one that is not there, or ENOSPC as Xen gives it: in 32 bits.</returns>
    public long Set(Vcpu vcpu, uint id, uint seconds)
    {
        if (id > Count || (id != 0 && _timers[id - 1] is null))
            return -(long)XenErrno.EINVAL;
        if (id == 0)
        {
            int free = Array.IndexOf(_timers, null);
            if (free < 0)
                return unchecked((uint)-(int)XenErrno.ENOSPC);
            Arm(vcpu, _timers[free] = New(vcpu), seconds);
            return free + 1;
        }

        if (seconds != 0)
        {
            Arm(vcpu, _timers[id - 1]!, seconds);
            return 0;
        }

        TimerQueue.Disarm(_timers[id - 1]!);
        _timers[id - 1] = null;
        return 0;
    }

    /// <summary>Writes when each goes off, in the guest's time.</summary>
    public void Save(StateWriter writer)
    {
        foreach (Alarm? timer in _timers)
        {
            writer.Flag(timer is not null);
            writer.Number(timer is null ? 0 : domain.ToGuest(timer.Deadline).Value);
        }
    }

    /// <summary>Reads them; they go on when the domain does (<see cref="GoOn"/>).</summary>
    /// <exception cref="SnapshotException">They cannot be.</exception>
    public void Restore(StateReader reader, Vcpu vcpu)
    {
        for (int index = 0; index < Count; index++)
        {
            bool isThere = reader.Flag("whether there is a watchdog");
            Nanoseconds deadline = new(reader.Number("when a watchdog goes off", 0, long.MaxValue));
            if (!isThere)
                continue;
            _timers[index] = New(vcpu);
            _restored[index] = domain.ToMachine(deadline);
        }
    }

    /// <summary>The domain begins to run: what was restored is armed, and may go off at once.</summary>
    public void GoOn(Vcpu vcpu)
    {
        for (int index = 0; index < Count; index++)
        {
            if (_restored[index] is { } deadline && _timers[index] is { } timer)
                domain.Host.Arm(vcpu, timer, deadline);
            _restored[index] = null;
        }
    }

    /// <summary>The domain has ended.</summary>
    public void Stop()
    {
        foreach (Alarm? timer in _timers)
        {
            if (timer is not null)
                TimerQueue.Disarm(timer);
        }
    }

    private Alarm New(Vcpu vcpu) => new(() => domain.Shutdown(ShutdownReason.Watchdog, vcpu));

    private static void Arm(Vcpu vcpu, Alarm timer, uint seconds)
    {
        IVcpuHost host = vcpu.Domain.Host;
        host.Arm(vcpu, timer, host.Clock.Now + Nanoseconds.FromMilliseconds(1000L * seconds));
    }
}
