using Tessera.Sdk.SchedulerParts;
using Tessera.Sdk;
using Tessera.Sdk.Scheduling;

namespace Tessera.Plugins.Schedulers.Credit;

/// <summary>The priorities; the greater goes first, and those of one take turns.</summary>
internal enum Priority
{
    /// <summary>Has used its credits up.</summary>
    Over,

    /// <summary>Has credits left.</summary>
    Under,

    /// <summary>Has credits left and just woke.</summary>
    Boost,
}

/// <summary>Credit's record of a vCPU.</summary>
internal sealed class CreditVcpu : VcpuRecord<CreditVcpu>
{
    /// <summary>The heap of those that wait for credits.</summary>
    public const int Rising = 0;

    /// <summary>Its place in a <see cref="RunQueue"/>.</summary>
    public readonly LinkedListNode<CreditVcpu> Place;

    /// <summary>Its place among the active vCPUs of its domain.</summary>
    public readonly LinkedListNode<CreditVcpu> ActivePlace;

    public readonly CreditDomain Domain;

    public CreditVcpu(SchedulableVcpu vcpu, CreditDomain domain)
        : base(vcpu, heaps: 1)
    {
        Domain = domain;
        Place = new(this);
        ActivePlace = new(this);
    }

    public Priority Priority { get; set; } = Priority.Under;

    /// <summary>Credits as the CPU time they are worth, ns: Xen's credit is 100 µs of it. While it is active, as of <see cref="Given"/>.</summary>
    public long Credit { get; set; }

    /// <summary>What a unit of weight had been given when the account was written.</summary>
    public Int128 Given { get; set; }

    /// <summary>It ran or was boosted since the last accounting.</summary>
    public bool Ran { get; set; }

    /// <summary>Out of the queues because its domain has used its cap up.</summary>
    public bool Parked { get; set; }

    /// <summary>The CPU in whose queue it is, or which it ran on last.</summary>
    public int Home { get; set; }

    /// <summary>Whether more than one CPU may run it.</summary>
    public bool Movable { get; set; }

    public Nanoseconds DispatchedAt { get; set; }

    public bool Queued => Place.List is not null;

    public bool Active => ActivePlace.List is not null;

    /// <summary>Wants to run and may.</summary>
    public bool Ready => Runnable && !Parked;
}
