namespace Tessera.Hosting;

/// <summary>"Did you mean…": the known word nearest to a mistyped one.</summary>
public static class Suggestion
{
    /// <summary>The candidate at the least edit distance (a transposition counts once, case counts nothing), if it is near enough to be a typing error.</summary>
    /// <returns>The candidate, or null when none is near.</returns>
    public static string? Nearest(string word, IEnumerable<string> candidates)
    {
        string? nearest = null;
        int least = Math.Max(2, word.Length / 3) + 1;
        foreach (string candidate in candidates)
        {
            int distance = Distance(word.ToLowerInvariant(), candidate.ToLowerInvariant());
            if (distance < least && distance < Math.Max(word.Length, candidate.Length))
                (nearest, least) = (candidate, distance);
        }

        return nearest;
    }

    /// <summary>Optimal string alignment distance, row by row.</summary>
    private static int Distance(string left, string right)
    {
        int[] before = new int[right.Length + 1];
        int[] above = [.. Enumerable.Range(0, right.Length + 1)];
        for (int i = 1; i <= left.Length; i++)
        {
            int[] row = new int[right.Length + 1];
            row[0] = i;
            for (int j = 1; j <= right.Length; j++)
            {
                int substitute = above[j - 1] + (left[i - 1] == right[j - 1] ? 0 : 1);
                row[j] = Math.Min(substitute, Math.Min(above[j], row[j - 1]) + 1);
                if (i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1])
                    row[j] = Math.Min(row[j], before[j - 2] + 1);
            }

            (before, above) = (above, row);
        }

        return above[right.Length];
    }
}
