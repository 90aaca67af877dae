using Tessera.Sdk.Simulation;

namespace Tessera.Sdk.Conformance;

/// <summary>Looks for a random case that fails, and makes it smaller for as long as it still does.</summary>
internal static class RandomSearch
{
    /// <summary>The smallest failing case found, or null when none of all fails. Equal seeds try equal cases.</summary>
    /// <param name="options">How many cases, the steps of the longest, and the seed.</param>
    /// <param name="make">Makes a case of at most so many steps.</param>
    /// <param name="smaller">Cases that are smaller in one respect, the much smaller ones first.</param>
    /// <param name="fails">Whether a case fails; the last one that does is the smallest.</param>
    public static T? Find<T>(
        ConformanceOptions options, Func<SimulationRandom, int, T> make, Func<T, IEnumerable<T>> smaller, Predicate<T> fails)
        where T : class
    {
        for (int number = 1; number <= options.Scenarios; number++)
        {
            // Short ones first: what they find is read most easily.
            SimulationRandom random = SimulationRandom.Stream((ulong)options.Seed, (ulong)number);
            T found = make(random, (int)((long)options.Steps * number / options.Scenarios));
            if (!fails(found))
                continue;
            while (smaller(found).FirstOrDefault(candidate => fails(candidate)) is { } better)
                found = better;
            return found;
        }

        return null;
    }

    /// <summary>A list of up to so many random items.</summary>
    public static T[] Items<T>(SimulationRandom random, int most, Func<SimulationRandom, T> make) =>
        [.. Enumerable.Range(0, (int)random.Below(most + 1L)).Select(_ => make(random))];

    /// <summary>A list without a half, a quarter, … one of its items.</summary>
    public static IEnumerable<T[]> Fewer<T>(IReadOnlyList<T> items)
    {
        for (int length = (items.Count + 1) / 2; length >= 1; length = length == 1 ? 0 : (length + 1) / 2)
        {
            for (int from = 0; from < items.Count; from += length)
                yield return [.. items.Take(from), .. items.Skip(from + length)];
        }
    }
}
