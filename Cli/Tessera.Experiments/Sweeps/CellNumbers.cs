using System.Globalization;

namespace Tessera.Experiments.Sweeps;

/// <summary>Numbers of cells as people write them: "1-20,35".</summary>
public static class CellNumbers
{
    /// <summary>Reads a list; ends beyond the last cell mean the last.</summary>
    /// <param name="text">The list.</param>
    /// <param name="count">How many cells there are.</param>
    /// <returns>The numbers, ascending, each once.</returns>
    /// <exception cref="UsageException">It is no such list.</exception>
    public static IReadOnlyList<int> Parse(string text, int count)
    {
        SortedSet<int> numbers = [];
        foreach (string part in text.Split(','))
        {
            string[] ends = part.Split('-');
            if (ends.Length > 2 || !TryNumber(ends[0], out int first) || !TryNumber(ends[^1], out int last) || first < 1 || last < first)
                throw new UsageException($"--cells {text}: write numbers and ranges of cells, such as 1-20,35; they begin with 1.");
            if (first > count)
                throw new UsageException($"--cells {text}: there is no cell {first}; the plan has {count}.");
            numbers.UnionWith(Enumerable.Range(first, Math.Min(last, count) - first + 1));
        }

        return [.. numbers];
    }

    /// <summary>Writes a list, as <see cref="Parse"/> reads it.</summary>
    /// <param name="numbers">Ascending numbers.</param>
    public static string Text(IReadOnlyList<int> numbers)
    {
        List<string> parts = [];
        for (int from = 0; from < numbers.Count;)
        {
            int to = from;
            while (to + 1 < numbers.Count && numbers[to + 1] == numbers[to] + 1)
                to++;
            parts.Add(from == to ? Number(numbers[from]) : $"{Number(numbers[from])}-{Number(numbers[to])}");
            from = to + 1;
        }

        return string.Join(',', parts);
    }

    private static bool TryNumber(string text, out int number) =>
        int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out number);

    private static string Number(int number) => number.ToString(CultureInfo.InvariantCulture);
}
