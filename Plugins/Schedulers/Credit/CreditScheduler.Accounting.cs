using Tessera.Sdk;

namespace Tessera.Plugins.Schedulers.Credit;

/// <content>The accounting: how many credits each earns.</content>
public sealed partial class CreditScheduler
{
    /// <summary>
    /// Accounting periods made up for at once after a time without decisions: everybody slept, so more would only fill up accounts
    /// that stop earning when full anyway.
    /// </summary>
    private const int MostPeriodsAtOnce = 8;

    private readonly SortedList<int, WeightClass> _classes = [];

    /// <summary>The domains with a cap and active vCPUs.</summary>
    private readonly LinkedList<CreditDomain> _capped = new();

    /// <summary>Those that this accounting gives less than weights say; a list kept so that it need not be made.</summary>
    private readonly List<CreditDomain> _dealt = [];
    private Nanoseconds _nextAccounting;

    /// <summary>The weight of all active vCPUs.</summary>
    private long _activeWeight;

    /// <summary>The credits of all active vCPUs after the last accounting.</summary>
    private Int128 _balance;

    /// <summary>Gives credits out if it is time.</summary>
    private void AccountIfDue(Nanoseconds now)
    {
        for (int period = 0; _nextAccounting <= now; period++)
        {
            if (period == MostPeriodsAtOnce)
            {
                // Back onto the grid.
                _nextAccounting += new Nanoseconds(((now - _nextAccounting).Value / _slice * _slice) + _slice);
                break;
            }

            _nextAccounting += options.Timeslice;
            Account(now);
        }
    }

    private void Account(Nanoseconds now)
    {
        for (int pcpu = 0; pcpu < _pcpus.Count; pcpu++)
        {
            if (_pcpus[pcpu] is { } running)
                SetCredit(running, running.Credit - running.TakeOpenAt(now));
        }

        if (_activeWeight > 0)
        {
            Int128 given = Deal();
            foreach (CreditDomain domain in _dealt)
            {
                foreach (CreditVcpu vcpu in domain.Active)
                {
                    Sync(vcpu);
                    SetCredit(vcpu, vcpu.Credit + domain.Each);
                    SetGiven(vcpu, given);
                }
            }

            _given = given;
            foreach (CreditDomain domain in _dealt)
            {
                domain.Dealt = false;
                SettleAll(domain);
            }

            _dealt.Clear();
        }

        SettleRisen();
        SettleThoseWhoRan();
        _balance = Balance;
    }

    /// <summary>
    /// Deals out what all CPUs can burn in a time slice. Who can use less than its weight says, for its cap or because a vCPU has one CPU at most, is
    /// noted in the list; what they leave is the others', by weight alone.
    /// </summary>
    /// <returns>What will have been given to each unit of weight since the start.</returns>
    private Int128 Deal()
    {
        Portion portion = new((Int128)_slice * _pcpus.Count, _activeWeight);
        foreach (CreditDomain domain in _capped)
        {
            if (portion.Fair(domain) >= Peak(domain))
                Deal(ref portion, domain);
        }

        for (int index = _classes.Count - 1; index >= 0; index--)
        {
            WeightClass weight = _classes.GetValueAtIndex(index);
            if (weight.Active.First is not { } first)
                continue;

            // What one can use more than its weight says, those of less weight can too.
            if (portion.Fair(first.Value) < Peak(first.Value))
                break;
            foreach (CreditDomain domain in weight.Active)
                Deal(ref portion, domain);
        }

        // Caps that are no limit; for them too what the others left counts.
        foreach (CreditDomain domain in _capped)
        {
            if (!domain.Dealt)
                Deal(ref portion, domain);
        }

        return _given + Divide(portion.Total << GivenBits, _activeWeight);
    }

    private void Deal(ref Portion portion, CreditDomain domain)
    {
        int count = domain.Active.Count;
        Int128 part = portion.Take(domain, Peak(domain));
        domain.Each = (long)DivideUp(part, count);
        domain.CapOfEach = domain.Cap == 0 ? 0 : (long)DivideUp(CapOf(domain), count);
        domain.Dealt = true;
        _dealt.Add(domain);
    }

    /// <summary>At most a CPU for each vCPU, and what repays the debt of all; at most the cap.</summary>
    private Int128 Peak(CreditDomain domain)
    {
        int count = domain.Active.Count;
        Int128 peak = (Int128)_slice * count;
        if (_balance < 0)
            peak += DivideUp(-_balance * ((long)domain.Weight * count), _activeWeight);
        return domain.Cap == 0 ? peak : Int128.Min(peak, CapOf(domain));
    }

    private Int128 CapOf(CreditDomain domain) => DivideUp((Int128)domain.Cap * _slice, 100);

    private static Int128 DivideUp(Int128 dividend, long divisor) => Divide(dividend + divisor - 1, divisor);

    /// <summary>128-bit division takes many times as long, and the usual numbers do not need it.</summary>
    private static Int128 Divide(Int128 dividend, long divisor) =>
        dividend <= long.MaxValue ? (long)dividend / divisor : dividend / divisor;

    /// <summary>What is left to deal out.</summary>
    /// <param name="total">What all would get, at the weights, if everybody left were everybody.</param>
    /// <param name="weight">The weight of all.</param>
    private struct Portion(Int128 total, long weight)
    {
        private readonly long _weight = weight;
        private long _weightLeft = weight;

        public Int128 Total { get; private set; } = total;

        /// <summary>The part of a domain by its weight.</summary>
        public readonly Int128 Fair(CreditDomain domain) => DivideUp(Total * ((long)domain.Weight * domain.Active.Count), _weight);

        /// <summary>A domain takes its part; what it cannot use is for those left.</summary>
        public Int128 Take(CreditDomain domain, Int128 peak)
        {
            Int128 fair = Fair(domain);
            _weightLeft -= (long)domain.Weight * domain.Active.Count;
            if (fair < peak)
                return fair;
            if (_weightLeft != 0)
                Total += DivideUp((fair - peak) * _weight, _weightLeft);
            return peak;
        }
    }
}
