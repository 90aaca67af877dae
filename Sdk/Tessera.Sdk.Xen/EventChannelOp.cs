namespace Tessera.Sdk.Xen;

/// <summary>Sub-ops of <see cref="Hypercall.EventChannelOp"/> (public/event_channel.h); the argument layouts are in <see cref="EventChannelLayout"/>.</summary>
public enum EventChannelOp
{
    BindInterdomain = 0,
    BindVirq = 1,
    BindPirq = 2,
    Close = 3,
    Send = 4,
    Status = 5,
    AllocUnbound = 6,
    BindIpi = 7,
    BindVcpu = 8,
    Unmask = 9,
    Reset = 10,
    InitControl = 11,
    ExpandArray = 12,
    SetPriority = 13,
}

/// <summary>What EVTCHNOP_status answers (EVTCHNSTAT_*).</summary>
public enum EventChannelState
{
    Closed = 0,
    Unbound = 1,
    Interdomain = 2,
    Pirq = 3,
    Virq = 4,
    Ipi = 5,
}
