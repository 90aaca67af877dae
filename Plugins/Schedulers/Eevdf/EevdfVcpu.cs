using Tessera.Sdk.SchedulerParts;
using Tessera.Sdk.Scheduling;

namespace Tessera.Plugins.Schedulers.Eevdf;

/// <summary>EEVDF's record of a vCPU. Virtual times are those of its runqueue.</summary>
internal sealed class EevdfVcpu(SchedulableVcpu vcpu) : VcpuRecord<EevdfVcpu>(vcpu, heaps: 2)
{
    /// <summary>The heap of eligible requests, by deadline.</summary>
    public const int Eligible = 0;

    /// <summary>The heap of requests that are not eligible yet, by eligible time.</summary>
    public const int Pending = 1;

    /// <summary>The CPU in whose runqueue it is or was last.</summary>
    public int Home;

    /// <summary>Whether another CPU could take it.</summary>
    public bool Movable;

    /// <summary>The length of its requests, ns.</summary>
    public long Request;

    /// <summary>How much of the present request it has had, ns.</summary>
    public long Used;

    /// <summary>The service it has had, as virtual time.</summary>
    public Int128 Served;

    /// <summary>ve: the service it had when its present request began.</summary>
    public Int128 EligibleAt;

    /// <summary>vd = ve + r/w.</summary>
    public Int128 Deadline;

    /// <summary>While it sleeps: the service it is owed (positive) or owes, ns times 2^<see cref="RunQueue.ScaleBits"/>.</summary>
    public Int128 Lag;

    public bool Queued => Places[Eligible] >= 0 || Places[Pending] >= 0;

    public void BeginRequest()
    {
        Used = 0;
        EligibleAt = Served;
        Deadline = Served + RunQueue.Advance(Request, Weight);
    }
}
