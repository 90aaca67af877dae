using Tessera.Plugins.Schedulers.Common;
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
    /// <summary>Its place in a <see cref="RunQueue"/>.</summary>
    public readonly LinkedListNode<CreditVcpu> Place;

    /// <summary>Its place among the active vCPUs of its domain.</summary>
    public readonly LinkedListNode<CreditVcpu> ActivePlace;

    public readonly CreditDomain Domain;

    public CreditVcpu(SchedulableVcpu vcpu, CreditDomain domain)
        : base(vcpu, heaps: 0)
    {
        Domain = domain;
        Place = new(this);
        ActivePlace = new(this);
    }

    public Priority Priority { get; set; } = Priority.Under;

    /// <summary>Credits as the CPU time they are worth, ns: Xen's credit is 100 µs of it.</summary>
    public long Credit { get; set; }

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

/// <summary>A domain: caps hold for all its vCPUs together.</summary>
internal sealed class CreditDomain
{
    /// <summary>Its vCPUs that earn credits.</summary>
    public readonly LinkedList<CreditVcpu> Active = new();

    /// <summary>Its place among the domains that have active vCPUs.</summary>
    public readonly LinkedListNode<CreditDomain> Place;

    public CreditDomain() => Place = new(this);

    public int Members { get; set; }

    public int Weight { get; set; }

    /// <summary>In percent of one CPU; 0 for none.</summary>
    public int Cap { get; set; }
}
