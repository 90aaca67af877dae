using Tessera.Sdk.Plugins;

namespace Tessera.Hosting;

/// <summary>Sizes as configurations write them: "256 MiB", "1GiB", "1.5 GiB", "4096 B". <see cref="ByteSize.ToString"/> writes them back exactly.</summary>
public static class ByteSizeText
{
    internal const string Units = "B, KiB, MiB, GiB, TiB";

    /// <summary>Reads a size; exact.</summary>
    /// <returns>False when it is none, has no unit, is negative or does not fit.</returns>
    public static bool TryParse(string? text, out ByteSize value) => TryParse(text, out value, out _);

    /// <summary>Reads a size and says what is wrong with it.</summary>
    /// <param name="text">The text.</param>
    /// <param name="value">The size.</param>
    /// <param name="problem">What is wrong and what would be right; empty when nothing is.</param>
    public static bool TryParse(string? text, out ByteSize value, out string problem)
    {
        value = default;
        ReadOnlySpan<(string, long)> units = [("B", 1), ("KiB", 1L << 10), ("MiB", 1L << 20), ("GiB", 1L << 30), ("TiB", 1L << 40)];
        if (!UnitText.TryParse(text ?? "", units, "256 MiB", out long bytes, out problem))
            return false;
        if (bytes < 0)
        {
            problem = $"\"{text}\" is negative";
            return false;
        }

        value = new ByteSize(bytes);
        return true;
    }
}
