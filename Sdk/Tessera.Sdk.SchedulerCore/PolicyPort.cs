namespace Tessera.Sdk.Scheduling.Core;

/// <summary>
/// The machine as one policy sees it. Each policy gets its own, which goes dead when the policy is replaced, so that a policy
/// stuck in a call or kept by a stray reference cannot disturb its successor.
/// </summary>
internal sealed class PolicyPort(SchedulerCore core) : ISchedulerMachine
{
    public int PcpuCount => core.PcpuCount;

    public MachineTopology Topology => core.Topology;

    public SchedulableVcpu? Running(PcpuId pcpu) => core.KnownOn(pcpu);

    public void RequestReschedule(PcpuId pcpu)
    {
        if (core.AcceptsFrom(this))
            core.NoteReschedule(pcpu);
    }

    public bool RequestIdle(CpuSet among) => core.AcceptsFrom(this) && core.NoteIdle(among);

    public void RequestRescheduleAt(PcpuId pcpu, Nanoseconds at)
    {
        if (core.AcceptsFrom(this))
            core.NoteRescheduleAt(pcpu, at);
    }
}
