using Tessera.Sdk;

namespace Tessera.Plugins.Schedulers.Credit2;

/// <content>Credit, resets, and the budgets of caps.</content>
public sealed partial class Credit2Scheduler
{
    /// <summary>Xen's CSCHED2_CREDIT_INIT: what a reset gives, ns.</summary>
    private const long InitialCredit = 10_000_000;

    /// <summary>Xen's CSCHED2_MIN_TIMER: the shortest slice.</summary>
    private const long MinTimer = 500_000;

    /// <summary>Xen's CSCHED2_MAX_TIMER: the longest slice.</summary>
    private const long MaxTimer = InitialCredit;

    /// <summary>CSCHED2_CREDIT_INIT and CSCHED2_CARRYOVER_MAX, which is MIN_TIMER.</summary>
    private const long MostCredit = InitialCredit + MinTimer;

    /// <summary>
    /// A charge is cut here (5 hours; only a jump of the clock is longer). Then what is burned at once is below 2^44 · 2^31, and all that
    /// resets give in the machine's life below 2^63 · 2^31: no sum of credits comes near 2^127.
    /// </summary>
    private const long LongestCharge = 1L << 44;

    /// <summary>How many vCPUs have each weight.</summary>
    private readonly SortedList<int, int> _weights = [];

    /// <summary>What resets have given to each vCPU since the start, ns.</summary>
    private Int128 _given;

    private int MaxWeight { get; set; } = 1;

    private Int128 Credit(Credit2Vcpu record) => record.Base + _given;

    /// <summary>Charges CPU time: at the speed of time for the heaviest, faster for a lighter one.</summary>
    private void Burn(Credit2Vcpu record, long ran)
    {
        if (ran == 0)
            return;
        record.Base -= (Int128)Math.Min(ran, LongestCharge) * MaxWeight / record.Weight;
        if (record.Domain.Capped)
            record.Quota -= Math.Min(ran, LongestCharge);
    }

    /// <summary>Nobody keeps more than the bound. A queued one has no more: when there was a reset, the most credit was none.</summary>
    private void Clip(Credit2Vcpu record) => record.Base = Int128.Min(record.Base, MostCredit - _given);

    /// <summary>The next to run has no credit left: as many times the initial credit for all as lift it above zero.</summary>
    private void Reset(Credit2Vcpu next, Nanoseconds now)
    {
        Int128 times = 1;
        if (Credit(next) < -InitialCredit)
            times += -Credit(next) / InitialCredit;
        _given += times * InitialCredit;
        for (int pcpu = 0; pcpu < _pcpus.Count; pcpu++)
        {
            if (_pcpus[pcpu] is not { } running)
                continue;
            Burn(running, running.TakeOpenAt(now));
            Clip(running);
        }
    }

    private void Enqueue(Credit2Vcpu record) => _queues.Enqueue(record, 0, -record.Base);

    private void CountWeight(int weight, int change)
    {
        int count = _weights.GetValueOrDefault(weight) + change;
        if (count == 0)
            _weights.Remove(weight);
        else
            _weights[weight] = count;
        MaxWeight = _weights.Count == 0 ? 1 : _weights.Keys[^1];
    }

    private static bool TryGrab(Credit2Vcpu record, Nanoseconds now)
    {
        if (record.Domain.Capped)
            record.Domain.Replenish(now);
        return record.Domain.Grab(record);
    }

    private void Park(Credit2Vcpu record)
    {
        Credit2Domain domain = record.Domain;
        if (domain.Parked.Count == 0)
            _replenishments.Add(domain, domain.NextReplenishment.Value);
        domain.Parked.AddLast(record.ParkedPlace);
    }

    private void Unpark(Credit2Vcpu record)
    {
        record.Domain.Parked.Remove(record.ParkedPlace);
        if (record.Domain.Parked.Count == 0)
            _replenishments.Remove(record.Domain);
    }

    /// <summary>Fills the budgets that are due, and lets those go on who waited for one.</summary>
    private void Replenish(Nanoseconds now)
    {
        while (_replenishments.Top is { } domain && _replenishments.TopKey <= now.Value)
        {
            _replenishments.Remove(domain);
            domain.Replenish(now);
            if (domain.Capped && domain.Budget <= 0)
            {
                _replenishments.Add(domain, domain.NextReplenishment.Value);
                continue;
            }

            while (domain.Parked.First is { } place)
            {
                domain.Parked.Remove(place);
                Enqueue(place.Value);
                Place(place.Value, now);
            }
        }
    }
}
