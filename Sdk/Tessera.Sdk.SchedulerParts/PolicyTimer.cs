using Tessera.Sdk;
using Tessera.Sdk.Scheduling;

namespace Tessera.Sdk.SchedulerParts;

/// <summary>One timer for all physical CPUs: one of them is asked to decide by the next instant at which something is due.</summary>
/// <param name="machine">The machine.</param>
internal sealed class PolicyTimer(ISchedulerMachine machine)
{
    private int _pcpu;
    private Nanoseconds _at = Nanoseconds.Never;

    /// <summary>A physical CPU decides, which clears what it was asked for.</summary>
    public void BeginDecision(int pcpu)
    {
        if (pcpu == _pcpu)
            _at = Nanoseconds.Never;
    }

    /// <summary>The same decision ends, and the next instant is known.</summary>
    public void EndDecision(int pcpu, Nanoseconds next)
    {
        if (next < _at)
            Arm(pcpu, next);
    }

    /// <summary>Outside a decision, something may be due earlier.</summary>
    public void NotLaterThan(Nanoseconds next)
    {
        if (next < _at)
            Arm(_pcpu, next);
    }

    private void Arm(int pcpu, Nanoseconds next)
    {
        _pcpu = pcpu;
        _at = next;
        machine.RequestRescheduleAt(new PcpuId(pcpu), next);
    }
}
