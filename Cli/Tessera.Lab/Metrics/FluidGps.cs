using Tessera.Sdk;
using Tessera.Sdk.Scheduling;

namespace Tessera.Lab.Metrics;

/// <summary>
/// Generalised processor sharing (Parekh and Gallager, IEEE/ACM Transactions on Networking 1(3), 1993) as a fluid: at every instant all
/// physical CPUs are dealt out among the vCPUs with a claim, as the scheduler owes it to them: reservations first, then by weight what is left, at
/// most its limit and one whole pCPU to each, water-filled (<see cref="Sdk.Scheduling.Core.ExpectedShares"/> says the same of an interval).
/// </summary>
/// <remarks>
/// Arrivals are those of the recording. A busy period (<see cref="BusyPeriod"/>) brings the work that it really had, and has a claim from
/// its beginning until the fluid has served that; so a vCPU that wakes for moments claims those moments and not the time it was kept
/// waiting. A period of <see cref="LongPeriod"/> or more, or one that did not end, has a claim for as long as it could run: with that
/// much patience nobody knows what it would have done with more. Each vCPU claims what its domain's are owed. Those who are owed the
/// same have equal rates, so a step costs as much as there are different entitlements.
/// </remarks>
public sealed class FluidGps
{
    /// <summary>A busy period of this length claims while it lasts, not only what it got; it is the interval of a result's expected shares too.</summary>
    public static readonly Nanoseconds LongPeriod = Nanoseconds.FromMilliseconds(50);

    private readonly Class[] _classes;
    private readonly Claim[] _claims;
    private readonly (long At, int Claim, bool Begins, BusyPeriod Period)[] _arrivals;
    private readonly int _pcpus;
    private int _next;
    private double _now;

    /// <summary>Makes the fluid of a recording.</summary>
    /// <param name="pcpus">The physical CPUs.</param>
    /// <param name="owed">What each domain's vCPUs are owed.</param>
    /// <param name="claimants">The vCPUs.</param>
    /// <param name="periods">Their busy periods, in order of their beginnings.</param>
    public FluidGps(int pcpus, IReadOnlyList<Entitlement> owed, IReadOnlyList<(int Domain, int Vcpu)> claimants, IReadOnlyList<BusyPeriod> periods)
    {
        _pcpus = pcpus;
        Dictionary<Entitlement, Class> classes = [];
        Dictionary<(int, int), int> indexOf = [];
        _claims = new Claim[claimants.Count];
        for (int index = 0; index < claimants.Count; index++)
        {
            Entitlement own = owed[claimants[index].Domain];
            if (!classes.TryGetValue(own, out Class? same))
                classes.Add(own, same = new Class(own));
            _claims[index] = new Claim(same);
            indexOf.Add(claimants[index], index);
        }

        _classes = [.. classes.Values.OrderBy(each => each.Weight > 0 ? each.Room / each.Weight : double.PositiveInfinity)];
        List<(long At, int Claim, bool Begins, BusyPeriod Period)> arrivals = [];
        foreach (BusyPeriod period in periods)
        {
            int claim = indexOf[(period.Domain, period.Vcpu)];
            bool isLong = IsLong(period);
            if (isLong || period.Ran > Nanoseconds.Zero)
                arrivals.Add((period.From.Value, claim, true, period));
            if (isLong)
                arrivals.Add((period.To.Value, claim, false, period));
        }

        // The end of one long period may be the beginning of the next: ends come first.
        _arrivals = [.. arrivals.OrderBy(static arrival => (arrival.At, arrival.Begins))];
    }

    /// <summary>Service of one vCPU so far, in ns of pCPU time.</summary>
    public double ServiceOf(int claimant) => _claims[claimant].Served;

    /// <summary>Lets the fluid run to an instant.</summary>
    public void AdvanceTo(Nanoseconds instant)
    {
        while (_next < _arrivals.Length && _arrivals[_next].At <= instant.Value)
        {
            (long at, int claim, bool begins, BusyPeriod period) = _arrivals[_next++];
            Flow(at);
            if (begins)
                Arrive(_claims[claim], period);
            else
                Leave(_claims[claim], period);
        }

        Flow(instant.Value);
    }

    private static bool IsLong(in BusyPeriod period) => !period.Ended || period.To - period.From >= LongPeriod;

    private void Arrive(Claim claim, in BusyPeriod period)
    {
        if (IsLong(period))
        {
            claim.Held = true;
            claim.Base = Math.Max(claim.Target, claim.Served);
            Settle(claim);
            return;
        }

        claim.Target = Math.Max(claim.Target, claim.Served) + period.Ran.Value;
        Settle(claim);
    }

    private void Leave(Claim claim, in BusyPeriod period)
    {
        claim.Held = false;
        claim.Target = Math.Max(claim.Base + period.Ran.Value, claim.Served);
        Settle(claim);
    }

    /// <summary>Puts a claim where it belongs after it changed.</summary>
    private void Settle(Claim claim)
    {
        claim.Version++;
        bool active = claim.Held || claim.Target > claim.Served;
        if (active != claim.Active)
        {
            if (active)
                claim.Begin();
            else
                claim.End();
            Deal();
        }

        if (active && !claim.Held)
            claim.Class.Due.Enqueue((claim, claim.Version), claim.Class.Service + (claim.Target - claim.Served));
    }

    /// <summary>Lets time pass at constant rates from one completion to the next.</summary>
    private void Flow(double until)
    {
        while (true)
        {
            Class? first = null;
            double firstAt = until;
            foreach (Class each in _classes)
            {
                if (each.Rate <= 0 || !each.TryFirstDue(out double due))
                    continue;
                double at = _now + (Math.Max(0, due - each.Service) / each.Rate);
                if (at < firstAt)
                    (first, firstAt) = (each, at);
            }

            double length = firstAt - _now;
            foreach (Class each in _classes)
                each.Service += each.Rate * length;
            _now = firstAt;
            if (first is null)
                return;
            (Claim done, _) = first.Due.Dequeue();
            done.End();
            done.Finish();
            Deal();
        }
    }

    /// <summary>Rates by water-filling: reservations first; then who has least room for its weight fills up first, and the others divide the rest by weight.</summary>
    private void Deal()
    {
        double reserved = 0;
        double weights = 0;
        foreach (Class each in _classes)
        {
            reserved += each.Active * each.Reserved;
            weights += each.Active * each.Weight;
        }

        double kept = reserved > _pcpus ? _pcpus / reserved : 1;
        double capacity = Math.Max(0, _pcpus - reserved);
        foreach (Class each in _classes)
        {
            if (each.Active == 0)
            {
                each.Rate = 0;
                continue;
            }

            double part = each.Weight > 0 ? Math.Min(each.Room, Math.Max(0, capacity) * each.Weight / weights) : 0;
            each.Rate = (each.Reserved * kept) + part;
            if (part < each.Room)
                continue;
            capacity -= each.Active * part;
            weights -= each.Active * each.Weight;
        }
    }

    /// <summary>All vCPUs that are owed the same.</summary>
    private sealed class Class(Entitlement owed)
    {
        public readonly double Weight = owed.Weight;

        /// <summary>Reserved for each, in pCPUs.</summary>
        public readonly double Reserved = Math.Min(owed.Reserved, owed.Limit);

        /// <summary>What each can have beyond that.</summary>
        public readonly double Room = Math.Max(0, owed.Limit - owed.Reserved);

        /// <summary>Claims without a hold by the value of <see cref="Service"/> at which they are served.</summary>
        public readonly PriorityQueue<(Claim Claim, int Version), double> Due = new();

        public int Active;
        public double Rate;

        /// <summary>What a vCPU with a claim throughout would have had.</summary>
        public double Service;

        public bool TryFirstDue(out double due)
        {
            while (Due.TryPeek(out (Claim Claim, int Version) entry, out due))
            {
                if (entry.Claim.Version == entry.Version && entry.Claim.Active)
                    return true;
                _ = Due.Dequeue();
            }

            return false;
        }
    }

    private sealed class Claim(Class @class)
    {
        private double _served;
        private double _since;

        public readonly Class Class = @class;

        /// <summary>The service after which it has no claim.</summary>
        public double Target;

        /// <summary><see cref="Target"/> when the long period under way began.</summary>
        public double Base;

        /// <summary>Whether it claims whatever it was served.</summary>
        public bool Held;

        public bool Active;

        /// <summary>Grows with each change: queue entries of an earlier one are void.</summary>
        public int Version;

        public double Served => Active ? _served + (Class.Service - _since) : _served;

        public void Begin()
        {
            _since = Class.Service;
            Active = true;
            Class.Active++;
        }

        public void End()
        {
            _served = Served;
            Active = false;
            Class.Active--;
        }

        /// <summary>Served to the last bit: rounding must not leave a claim on nothing.</summary>
        public void Finish() => _served = Target;
    }
}
