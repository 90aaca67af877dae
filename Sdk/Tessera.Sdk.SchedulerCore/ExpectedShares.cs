namespace Tessera.Sdk.Scheduling.Core;

/// <summary>One claim on the machine's CPU time.</summary>
/// <param name="Owed">What the scheduling policy owes the claimant.</param>
/// <param name="Demand">
/// How much it could use, in pCPUs: at most its vCPUs; 0 for a domain that was blocked throughout.
/// </param>
public readonly record struct ShareClaim(Entitlement Owed, double Demand)
{
    /// <summary>A claim by weight alone.</summary>
    /// <param name="weight">The weight, at least 1.</param>
    /// <param name="demand">How much it could use, in pCPUs.</param>
    public ShareClaim(int weight, double demand)
        : this(Entitlement.ByWeight(weight), demand)
    {
    }

    /// <summary>What it can use within its limit.</summary>
    internal double Most => Math.Min(Demand, Owed.Limit * Math.Max(1, Math.Ceiling(Demand)));
}

/// <summary>
/// The share each domain is entitled to: generalised processor sharing (Parekh and Gallager, 1993), water-filled, after reservations. First everybody
/// has what is reserved for it and it can use; reservations beyond the capacity are scaled down alike. The rest is dealt out by weight; a domain that
/// cannot use its part (one vCPU runs on one pCPU at a time, a blocked one on none, a capped one on no more than its limit) gets what it can use, and
/// what it leaves is dealt to the others by weight, until none is left or nobody can use more. Shares are fractions of all pCPU time.
/// </summary>
/// <remarks>
/// Reservations, limits and weights are what the policy says it owes (<see cref="IScheduler.EntitlementOf"/>); a policy that says nothing is measured
/// by the weights. Runs add the shares of short intervals up. Affinity is not considered: with it, the result is what would be owed on an
/// unrestricted machine.
/// </remarks>
public static class ExpectedShares
{
    /// <summary>The shares, in the order of the claims.</summary>
    /// <param name="claims">The domains.</param>
    /// <param name="pcpus">The machine's physical CPUs, at least 1.</param>
    public static double[] Of(IReadOnlyList<ShareClaim> claims, int pcpus)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(pcpus, 1);
        double[] parts = [.. claims.Select(static claim => Math.Min(claim.Owed.Reserved, claim.Most))];
        double reserved = parts.Sum();
        double kept = reserved > pcpus ? pcpus / reserved : 1;
        double capacity = Math.Max(0, pcpus - reserved);
        for (int index = 0; index < parts.Length; index++)
            parts[index] *= kept;

        // In ascending order of what it can use more per weight, whoever fills up first comes first: one pass is enough.
        int[] order = [.. Enumerable.Range(0, parts.Length).Where(index => claims[index].Owed.Weight > 0 && Room(index) > 0).OrderBy(index => Room(index) / claims[index].Owed.Weight)];
        double weights = order.Sum(index => claims[index].Owed.Weight);
        foreach (int index in order)
        {
            double part = Math.Min(Room(index), capacity * claims[index].Owed.Weight / weights);
            parts[index] += part;
            capacity = Math.Max(0, capacity - part);
            weights -= claims[index].Owed.Weight;
        }

        for (int index = 0; index < parts.Length; index++)
            parts[index] /= pcpus;
        return parts;

        double Room(int index) => claims[index].Most - parts[index];
    }
}
