namespace Tessera.Kernel.Tests.Oracle;

/// <summary>Answers to the probe's questions, a line each: `case: answer`. A word `*` of a kept answer stands for whatever the host makes
/// of it.</summary>
internal static class AnswerSheet
{
    private const char Comment = '#';

    /// <summary>The answers by case, in their order.</summary>
    /// <exception cref="FormatException">A line that is none, or a case that comes twice.</exception>
    public static IReadOnlyDictionary<string, string> Parse(IEnumerable<string> lines)
    {
        OrderedDictionary<string, string> answers = [];
        foreach (string line in lines)
        {
            if (line.Length == 0 || line[0] == Comment)
                continue;
            int colon = line.IndexOf(": ", StringComparison.Ordinal);
            if (colon < 0 || !answers.TryAdd(line[..colon], line[(colon + 2)..]))
                throw new FormatException($"\"{line}\" is no answer, or the second one to its question.");
        }

        return answers;
    }

    /// <summary>Whether an answer is the kept one, word by word.</summary>
    public static bool Matches(string kept, string answer)
    {
        string[] expected = kept.Split(' '), words = answer.Split(' ');
        return expected.Length == words.Length && expected.Zip(words).All(static pair => pair.First == "*" || pair.First == pair.Second);
    }
}
