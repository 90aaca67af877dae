using Tessera.Sdk.SchedulerParts;

namespace Tessera.Plugins.Schedulers.Credit;

/// <content>Accounts: who earns, what having credits or none means, and when that changes.</content>
public sealed partial class CreditScheduler
{
    /// <summary>
    /// Fraction bits of what a unit of weight was given. Nobody is given more than a time slice at an accounting, so a vCPU's account is exact to a
    /// nanosecond, and sums over the machine's life and its vCPUs stay below 2^63 · 2^20 · 2^31.
    /// </summary>
    private const int GivenBits = 20;

    /// <summary>The active vCPUs that did not run, by what a unit of weight will have been given when their account turns positive or is full.</summary>
    private readonly VcpuHeap<CreditVcpu> _rising = new(CreditVcpu.Rising);

    /// <summary>Those that ran or were boosted since the last accounting.</summary>
    private readonly List<CreditVcpu> _ran = [];

    /// <summary>What each unit of weight was given since the start, in 1/2^<see cref="GivenBits"/> ns.</summary>
    private Int128 _given;

    /// <summary>The sum of the active vCPUs' accounts as they are written, and of their weights times what they were written at.</summary>
    private Int128 _written;
    private Int128 _writtenAt;
    private int _parked;

    /// <summary>The sum of the active vCPUs' accounts.</summary>
    private Int128 Balance => _written + (((_activeWeight * _given) - _writtenAt) >> GivenBits);

    /// <summary>A vCPU that uses CPU at a tick competes, and earns from now on.</summary>
    private void Activate(CreditVcpu vcpu)
    {
        CreditDomain domain = vcpu.Domain;
        if (domain.Active.Count == 0)
            Enlist(domain);
        domain.Active.AddLast(vcpu.ActivePlace);
        _activeWeight += domain.Weight;
        vcpu.Given = _given;
        _written += vcpu.Credit;
        _writtenAt += domain.Weight * _given;
        Watch(vcpu);
    }

    private void Deactivate(CreditVcpu vcpu)
    {
        CreditDomain domain = vcpu.Domain;
        Sync(vcpu);
        _written -= vcpu.Credit;
        _writtenAt -= domain.Weight * vcpu.Given;
        _rising.Remove(vcpu);
        _activeWeight -= domain.Weight;
        domain.Active.Remove(vcpu.ActivePlace);
        if (domain.Active.Count == 0)
            domain.Place.List!.Remove(domain.Place);
    }

    private void Enlist(CreditDomain domain) => (domain.Cap == 0 ? domain.Class!.Active : _capped).AddLast(domain.Place);

    /// <summary>A domain has another weight or cap.</summary>
    private void SetParameters(CreditDomain domain, int weight, int cap)
    {
        bool active = domain.Active.Count > 0;
        if (active)
            domain.Place.List!.Remove(domain.Place);
        foreach (CreditVcpu vcpu in domain.Active)
        {
            Sync(vcpu);
            _writtenAt -= domain.Weight * vcpu.Given;
        }

        _activeWeight += (long)(weight - domain.Weight) * domain.Active.Count;
        domain.Cap = cap;
        if (weight != domain.Weight)
        {
            LeaveClass(domain);
            if (!_classes.TryGetValue(weight, out WeightClass? found))
                _classes.Add(weight, found = new(weight));
            found.Domains++;
            domain.Class = found;
        }

        foreach (CreditVcpu vcpu in domain.Active)
        {
            _writtenAt += domain.Weight * vcpu.Given;
            Watch(vcpu);
        }

        if (active)
            Enlist(domain);
    }

    private void LeaveClass(CreditDomain domain)
    {
        if (domain.Class is { } left && --left.Domains == 0)
            _classes.Remove(left.Weight);
        domain.Class = null;
    }

    private long CreditOf(CreditVcpu vcpu) =>
        vcpu.Active ? vcpu.Credit + (long)((_given - vcpu.Given) * vcpu.Domain.Weight >> GivenBits) : vcpu.Credit;

    /// <summary>Writes into an account what it was given since it was written last.</summary>
    private void Sync(CreditVcpu vcpu)
    {
        if (!vcpu.Active || vcpu.Given == _given)
            return;
        SetCredit(vcpu, CreditOf(vcpu));
        SetGiven(vcpu, _given);
    }

    private void SetCredit(CreditVcpu vcpu, long credit)
    {
        if (vcpu.Active)
            _written += credit - vcpu.Credit;
        vcpu.Credit = credit;
    }

    private void SetGiven(CreditVcpu vcpu, Int128 given)
    {
        _writtenAt += (given - vcpu.Given) * vcpu.Domain.Weight;
        vcpu.Given = given;
    }

    /// <summary>A vCPU runs or is boosted: the next accounting looks at it.</summary>
    private void NoteRan(CreditVcpu vcpu)
    {
        if (vcpu.Ran)
            return;
        vcpu.Ran = true;
        _ran.Add(vcpu);
        _rising.Remove(vcpu);
    }

    /// <summary>Notes what must have been given before the account of a vCPU that does not run comes to mean something else.</summary>
    private void Watch(CreditVcpu vcpu)
    {
        _rising.Remove(vcpu);
        if (!vcpu.Active || vcpu.Ran)
            return;
        Int128 missing = (Int128)(vcpu.Credit < 0 ? 0 : _slice + 1) - vcpu.Credit;
        _rising.Add(vcpu, vcpu.Given + DivideUp(missing << GivenBits, vcpu.Domain.Weight));
    }

    private void SettleAll(CreditDomain domain)
    {
        for (LinkedListNode<CreditVcpu>? member = domain.Active.First; member is not null;)
        {
            CreditVcpu vcpu = member.Value;
            member = member.Next;
            Settle(vcpu);
            Watch(vcpu);
        }
    }

    private void SettleRisen()
    {
        while (_rising.Top is { } vcpu && _rising.TopKey <= _given)
        {
            Sync(vcpu);
            Settle(vcpu);
            Watch(vcpu);
        }
    }

    private void SettleThoseWhoRan()
    {
        int stay = 0;
        for (int index = 0; index < _ran.Count; index++)
        {
            CreditVcpu vcpu = _ran[index];
            if (vcpu.Active)
            {
                Sync(vcpu);
                Settle(vcpu);
            }

            if (vcpu.Pcpu >= 0)
            {
                _ran[stay++] = vcpu;
                continue;
            }

            vcpu.Ran = false;
            Watch(vcpu);
        }

        _ran.RemoveRange(stay, _ran.Count - stay);
    }

    /// <summary>Priority, parking and the bounds of an account after credits were given.</summary>
    private void Settle(CreditVcpu vcpu)
    {
        if (vcpu.Credit < 0)
        {
            SetPriority(vcpu, Priority.Over);
            if (vcpu.Domain.Cap != 0 && vcpu.Credit < -vcpu.Domain.CapOfEach && !vcpu.Parked)
                Park(vcpu);
            SetCredit(vcpu, Math.Max(vcpu.Credit, -_slice));
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
}
