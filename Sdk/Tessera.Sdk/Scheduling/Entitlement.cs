namespace Tessera.Sdk.Scheduling;

/// <summary>
/// What a policy owes a vCPU for as long as it is runnable: a part of a physical CPU that is reserved for it, by weight a part of what nobody has
/// reserved, and in all no more than a limit. The watchdog measures waiting by it, and results measure shares by it.
/// </summary>
/// <remarks>
/// This is how a policy says "runnable, but not entitled now": a vCPU at its <see cref="Limit"/>, or whose reservation of this
/// <see cref="Period"/> is used up, may wait, and for how long follows from the two. A policy that could answer for the moment instead
/// could put its starving vCPUs off for ever.
/// </remarks>
/// <param name="Weight">By what it shares, with the other runnable vCPUs, the time that nobody has reserved; 0 when it has no part in that.</param>
/// <param name="Reserved">The part of a physical CPU reserved for it, 0 to 1.</param>
/// <param name="Limit">The most of a physical CPU that it is given even if physical CPUs idle, above 0 to 1; 1 is no limit.</param>
/// <param name="Period">
/// The time over which the reservation and the limit are kept. In each such period a vCPU may have its part early in one and late in the next, so it
/// can wait for almost two of them and have all it is owed. Zero when there is neither.
/// </param>
public readonly record struct Entitlement(double Weight, double Reserved, double Limit, Nanoseconds Period)
{
    /// <summary>A share by weight, and nothing else: what a policy without caps and reservations owes.</summary>
    /// <param name="weight">The weight, at least 1.</param>
    public static Entitlement ByWeight(int weight) => new(weight, 0, 1, Nanoseconds.Zero);

    /// <summary>What is wrong with it, in words that follow "its entitlement of d1v0"; null when nothing is.</summary>
    public string? Objection()
    {
        if (!double.IsFinite(Weight) || Weight < 0)
            return $"has the weight {Weight}: it must be 0 or more";
        if (!(Reserved is >= 0 and <= 1))
            return $"reserves {Reserved} of a physical CPU: it must be 0 to 1";
        if (!(Limit is > 0 and <= 1))
            return $"has the limit {Limit} of a physical CPU: it must be more than 0 and at most 1";
        if (Period < Nanoseconds.Zero)
            return $"has the period {Period}: it must not be negative";
        return Weight == 0 && Reserved == 0 ? "is nothing at all: neither a weight nor a reservation" : null;
    }
}
