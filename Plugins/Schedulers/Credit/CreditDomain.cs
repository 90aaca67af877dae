namespace Tessera.Plugins.Schedulers.Credit;

/// <summary>A domain: weight and cap hold for all its vCPUs together.</summary>
internal sealed class CreditDomain
{
    /// <summary>Its vCPUs that earn credits.</summary>
    public readonly LinkedList<CreditVcpu> Active = new();

    /// <summary>Its place among the domains with active vCPUs, of its weight or with caps.</summary>
    public readonly LinkedListNode<CreditDomain> Place;

    public CreditDomain() => Place = new(this);

    public int Members { get; set; }

    /// <summary>The domains of its weight.</summary>
    public WeightClass? Class { get; set; }

    public int Weight => Class?.Weight ?? 0;

    /// <summary>In percent of one CPU; 0 for none.</summary>
    public int Cap { get; set; }

    /// <summary>This accounting has dealt with it by itself.</summary>
    public bool Dealt { get; set; }

    /// <summary>What each active vCPU is given at this accounting, when it is not by weight alone; ns.</summary>
    public long Each { get; set; }

    /// <summary>The cap's worth for each active vCPU in a time slice, ns.</summary>
    public long CapOfEach { get; set; }
}

/// <summary>The domains of one weight.</summary>
/// <param name="weight">The weight.</param>
internal sealed class WeightClass(int weight)
{
    public int Weight { get; } = weight;

    /// <summary>How many domains have this weight.</summary>
    public int Domains { get; set; }

    /// <summary>Those without a cap that have active vCPUs.</summary>
    public LinkedList<CreditDomain> Active { get; } = new();
}
