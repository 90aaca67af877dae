namespace Tessera.Cli.Results;

/// <summary>One claim on the machine's CPU time.</summary>
/// <param name="Weight">The domain's weight, at least 1.</param>
/// <param name="Demand">
/// How much it could use, in pCPUs: at most its vCPUs; 0 for a domain that was blocked throughout.
/// </param>
public readonly record struct ShareClaim(int Weight, double Demand);

/// <summary>
/// The share each domain is entitled to: generalised processor sharing (Parekh and Gallager, 1993), water-filled. Capacity is dealt
/// out by weight; a domain that cannot use its part (one vCPU runs on one pCPU at a time, a blocked one on none) gets what it can
/// use, and what it leaves is dealt to the others by weight, until none is left or nobody can use more. Shares are fractions of
/// all pCPU time, so they add up to the lesser of 1 and the whole demand over the capacity.
/// </summary>
/// <remarks>
/// Runs add the shares of short intervals up (<see cref="Runs.ExpectedShareMeter"/>). Affinity is not considered: with it, the result is
/// what the weights would give on an unrestricted machine.
/// </remarks>
public static class ExpectedShares
{
    /// <summary>The shares, in the order of the claims.</summary>
    /// <param name="claims">The domains.</param>
    /// <param name="pcpus">The machine's physical CPUs, at least 1.</param>
    public static double[] Of(IReadOnlyList<ShareClaim> claims, int pcpus)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(pcpus, 1);
        double[] shares = new double[claims.Count];

        // In ascending order of demand per weight, whoever fills up first comes first: one pass is enough.
        int[] order = [.. Enumerable.Range(0, claims.Count).Where(index => claims[index].Demand > 0).OrderBy(index => claims[index].Demand / claims[index].Weight)];
        double capacity = pcpus;
        double weights = order.Sum(index => (double)claims[index].Weight);
        foreach (int index in order)
        {
            double part = Math.Min(claims[index].Demand, capacity * claims[index].Weight / weights);
            shares[index] = part / pcpus;
            capacity -= part;
            weights -= claims[index].Weight;
        }

        return shares;
    }
}
