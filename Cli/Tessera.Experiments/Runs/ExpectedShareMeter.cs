using Tessera.Kernel.Machines;
using Tessera.Sdk;
using Tessera.Sdk.Scheduling.Core;

namespace Tessera.Experiments.Runs;

/// <summary>
/// What each domain is entitled to over a window: what the policy owes it (<see cref="ExpectedShares"/>) in short intervals, added up. In an interval a domain either never
/// blocked, then it could have used a whole pCPU more or less for itself; or it blocked, then it had all it wanted, which is what
/// it used. So a domain that works now and sleeps then has a claim while it works, and one that wakes for moments only for those.
/// </summary>
internal sealed class ExpectedShareMeter
{
    /// <summary>Accounts are read one after the other while the machine runs: blocked time below this part of an interval is a reading's error.</summary>
    private const double ReadingError = 1e-3;

    private readonly IReadOnlyList<IRunDomain> _domains;
    private readonly int _pcpus;
    private readonly double[] _sums;
    private readonly DomainActivity[] _last;
    private readonly ShareClaim[] _claims;
    private Nanoseconds _since;
    private double _seconds;

    /// <summary>Begins a window now.</summary>
    public ExpectedShareMeter(IReadOnlyList<IRunDomain> domains, int pcpus, Nanoseconds now)
    {
        (_domains, _pcpus, _since) = (domains, pcpus, now);
        _sums = new double[domains.Count];
        _claims = new ShareClaim[domains.Count];
        _last = [.. domains.Select(domain => domain.Activity)];
    }

    /// <summary>Ends an interval and begins the next.</summary>
    public void Sample(Nanoseconds now)
    {
        double seconds = (now - _since).TotalSeconds;
        if (seconds <= 0)
            return;
        _since = now;
        for (int index = 0; index < _claims.Length; index++)
        {
            DomainActivity activity = _domains[index].Activity;
            _claims[index] = new ShareClaim(_domains[index].Owed, Demand(_last[index], activity));
            _last[index] = activity;
        }

        double[] shares = ExpectedShares.Of(_claims, _pcpus);
        for (int index = 0; index < shares.Length; index++)
            _sums[index] += shares[index] * seconds;
        _seconds += seconds;
    }

    /// <summary>The expected shares so far, by domain.</summary>
    public double[] Shares() => [.. _sums.Select(sum => _seconds > 0 ? sum / _seconds : 0)];

    /// <summary>In pCPUs: one for a domain that never blocked, else what it used.</summary>
    private static double Demand(in DomainActivity before, in DomainActivity after)
    {
        double whole = (after.Now - before.Now).TotalSeconds;
        if (whole <= 0)
            return 0;
        double running = (after.Running - before.Running).TotalSeconds / whole;
        double active = running + ((after.Waiting - before.Waiting).TotalSeconds / whole);
        return active >= 1 - ReadingError ? 1 : Math.Clamp(running, 0, 1);
    }
}
