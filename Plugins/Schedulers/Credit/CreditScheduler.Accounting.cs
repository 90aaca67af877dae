using Tessera.Sdk;

namespace Tessera.Plugins.Schedulers.Credit;

/// <content>Credits: who earns them, how many, and what having none means.</content>
public sealed partial class CreditScheduler
{
    /// <summary>
    /// Accounting periods made up for at once after a time without decisions: everybody slept, so more would only fill up accounts
    /// that stop earning when full anyway.
    /// </summary>
    private const int MostPeriodsAtOnce = 8;

    private readonly LinkedList<CreditDomain> _activeDomains = new();
    private Nanoseconds _nextAccounting;

    /// <summary>The weight of all active vCPUs.</summary>
    private long _activeWeight;

    /// <summary>The credits of all active vCPUs after the last accounting.</summary>
    private long _balance;
    private int _parked;

    /// <summary>A vCPU that uses CPU at a tick competes, and earns from now on.</summary>
    private void Activate(CreditVcpu vcpu)
    {
        CreditDomain domain = vcpu.Domain;
        if (domain.Active.Count == 0)
            _activeDomains.AddLast(domain.Place);
        domain.Active.AddLast(vcpu.ActivePlace);
        _activeWeight += domain.Weight;
    }

    private void Deactivate(CreditVcpu vcpu)
    {
        CreditDomain domain = vcpu.Domain;
        domain.Active.Remove(vcpu.ActivePlace);
        _activeWeight -= domain.Weight;
        if (domain.Active.Count == 0)
            _activeDomains.Remove(domain.Place);
    }

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
                running.Credit -= running.TakeOpenAt(now);
        }

        Int128 total = (Int128)_slice * _pcpus.Count;
        long weightLeft = _activeWeight;
        long weightTotal = _activeWeight;
        bool extra = false;
        long balance = 0;
        for (LinkedListNode<CreditDomain>? place = _activeDomains.First; place is not null;)
        {
            CreditDomain domain = place.Value;
            place = place.Next;
            int count = domain.Active.Count;
            long weight = (long)domain.Weight * count;
            weightLeft -= weight;

            // At most a CPU for each vCPU, and what repays the debt of all; at most the cap.
            Int128 peak = (Int128)_slice * count;
            if (_balance < 0)
                peak += DivideUp((Int128)(-_balance) * weight, weightTotal);
            long capOfEach = 0;
            if (domain.Cap != 0)
            {
                Int128 cap = DivideUp((Int128)domain.Cap * _slice, 100);
                peak = Int128.Min(peak, cap);
                capOfEach = (long)DivideUp(cap, count);
            }

            Int128 fair = DivideUp(total * weight, weightTotal);
            if (fair < peak)
            {
                extra = true;
            }
            else
            {
                // What it cannot use is for the others; who could use more goes first next time, to have the chance.
                if (weightLeft != 0)
                    total += DivideUp((fair - peak) * weightTotal, weightLeft);
                if (extra)
                {
                    _activeDomains.Remove(domain.Place);
                    _activeDomains.AddFirst(domain.Place);
                }

                fair = peak;
            }

            long each = (long)DivideUp(fair, count);
            for (LinkedListNode<CreditVcpu>? member = domain.Active.First; member is not null;)
            {
                CreditVcpu vcpu = member.Value;
                member = member.Next;
                vcpu.Credit += each;
                Settle(vcpu, capOfEach);
                balance += vcpu.Credit;
            }
        }

        _balance = balance;
    }

    /// <summary>Priority, parking and the bounds of an account after credits were given.</summary>
    private void Settle(CreditVcpu vcpu, long cap)
    {
        if (vcpu.Credit < 0)
        {
            SetPriority(vcpu, Priority.Over);
            if (vcpu.Domain.Cap != 0 && vcpu.Credit < -cap && !vcpu.Parked)
                Park(vcpu);
            vcpu.Credit = Math.Max(vcpu.Credit, -_slice);
            return;
        }

        SetPriority(vcpu, Priority.Under);
        if (vcpu.Parked)
            Unpark(vcpu);
        if (vcpu.Credit <= _slice)
            return;

        // A full account earns no more; when it competes again it starts with half.
        Deactivate(vcpu);
        vcpu.Credit /= 2;
    }

    private void SetPriority(CreditVcpu vcpu, Priority priority)
    {
        if (vcpu.Priority == priority)
            return;
        bool queued = vcpu.Queued;
        if (queued)
            _queues[vcpu.Home].Remove(vcpu);
        vcpu.Priority = priority;
        if (queued)
            _queues[vcpu.Home].Add(vcpu);
    }

    private void Park(CreditVcpu vcpu)
    {
        vcpu.Parked = true;
        _parked++;
        if (vcpu.Queued)
            _queues[vcpu.Home].Remove(vcpu);
        else if (vcpu.Pcpu >= 0)
            _pcpus.Request(vcpu.Pcpu);
    }

    private void Unpark(CreditVcpu vcpu)
    {
        vcpu.Parked = false;
        _parked--;
        if (vcpu.Runnable && vcpu.Pcpu < 0)
            Place(vcpu);
    }

    private static Int128 DivideUp(Int128 dividend, long divisor) => (dividend + divisor - 1) / divisor;
}
