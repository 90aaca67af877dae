using Tessera.Sdk;

namespace Tessera.Plugins.Schedulers.Credit;

/// <summary>The vCPUs that wait for one physical CPU: a line for each priority.</summary>
internal sealed class RunQueue(int pcpu)
{
    private readonly LinkedList<CreditVcpu>[] _lines = [new(), new(), new()];

    public int Pcpu { get; } = pcpu;

    public int Count { get; private set; }

    /// <summary>How many of them another CPU could take.</summary>
    public int Movable { get; private set; }

    public CreditVcpu? First => (_lines[(int)Priority.Boost].First ?? _lines[(int)Priority.Under].First ?? _lines[(int)Priority.Over].First)?.Value;

    /// <summary>Puts a vCPU at the end of the line of its priority.</summary>
    public void Add(CreditVcpu vcpu)
    {
        vcpu.Home = Pcpu;
        _lines[(int)vcpu.Priority].AddLast(vcpu.Place);
        Count++;
        Movable += vcpu.Movable ? 1 : 0;
    }

    public void Remove(CreditVcpu vcpu)
    {
        vcpu.Place.List!.Remove(vcpu.Place);
        Count--;
        Movable -= vcpu.Movable ? 1 : 0;
    }

    /// <summary>The first of at least this priority that may run on another CPU, or null.</summary>
    public CreditVcpu? FindFor(PcpuId pcpu, Priority least)
    {
        if (Movable == 0)
            return null;
        for (Priority priority = Priority.Boost; priority >= least; priority--)
        {
            for (LinkedListNode<CreditVcpu>? place = _lines[(int)priority].First; place is not null; place = place.Next)
            {
                if (place.Value.Vcpu.Affinity.Contains(pcpu))
                    return place.Value;
            }
        }

        return null;
    }
}
