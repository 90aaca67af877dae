using System.Globalization;
using Tessera.Sdk;

namespace Tessera.Lab.Reports;

/// <summary>One domain's counters at an instant, counted from the window's beginning.</summary>
/// <param name="At">When, from the window's beginning.</param>
/// <param name="Domain">The domain's index in the configuration's order.</param>
/// <param name="Traps">Traps so far.</param>
/// <param name="Hypercalls">Hypercalls so far.</param>
public readonly record struct CounterSample(Nanoseconds At, int Domain, long Traps, long Hypercalls);

/// <summary>
/// Counters sampled through a run, kept to a bounded number: when it is full every other instant is dropped and from then on only every other
/// one is kept, so that a long run is sampled evenly and more coarsely.
/// </summary>
/// <param name="domains">How many domains there are, at least 1.</param>
public sealed class CounterSamples(int domains)
{
    private const string Heading = "at_ns,domain,traps,hypercalls";

    /// <summary>Instants kept: fifty seconds at 50 ms each.</summary>
    private const int MostInstants = 1000;

    private readonly List<CounterSample[]> _instants = [];
    private int _stride = 1;
    private long _offered;

    /// <summary>Every sample, in order of time and then of domain.</summary>
    public IEnumerable<CounterSample> All => _instants.SelectMany(instant => instant);

    /// <summary>Offers an instant; it is taken when its turn has come.</summary>
    /// <param name="at">When, from the window's beginning.</param>
    /// <param name="read">Gives one domain's traps and hypercalls from the window's beginning.</param>
    public void Offer(Nanoseconds at, Func<int, (long Traps, long Hypercalls)> read)
    {
        if (_offered++ % _stride != 0)
            return;
        if (_instants.Count == MostInstants)
        {
            for (int index = _instants.Count - 1; index > 0; index -= 2)
                _instants.RemoveAt(index);
            _stride *= 2;
        }

        CounterSample[] instant = new CounterSample[domains];
        for (int domain = 0; domain < domains; domain++)
        {
            (long traps, long hypercalls) = read(domain);
            instant[domain] = new CounterSample(at, domain, traps, hypercalls);
        }

        _instants.Add(instant);
    }

    /// <summary>Writes samples as CSV.</summary>
    public static void Write(TextWriter writer, IEnumerable<CounterSample> samples)
    {
        writer.WriteLine(Heading);
        foreach (CounterSample sample in samples)
            writer.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{sample.At.Value},{sample.Domain},{sample.Traps},{sample.Hypercalls}"));
    }

    /// <summary>Reads them back.</summary>
    /// <param name="reader">The text.</param>
    /// <param name="file">Its name, for errors.</param>
    /// <exception cref="FormatException">They are not samples; names the file, the line and what would be right.</exception>
    public static IReadOnlyList<CounterSample> Read(TextReader reader, string file)
    {
        if (reader.ReadLine() != Heading)
            throw new FormatException($"{file}:1: the first line must be \"{Heading}\".");
        List<CounterSample> samples = [];
        for (int number = 2; reader.ReadLine() is { } line; number++)
        {
            string[] fields = line.Split(',');
            if (fields.Length != 4
                || !long.TryParse(fields[0], NumberStyles.None, CultureInfo.InvariantCulture, out long at)
                || !int.TryParse(fields[1], NumberStyles.None, CultureInfo.InvariantCulture, out int domain)
                || !long.TryParse(fields[2], NumberStyles.None, CultureInfo.InvariantCulture, out long traps)
                || !long.TryParse(fields[3], NumberStyles.None, CultureInfo.InvariantCulture, out long hypercalls))
                throw new FormatException($"{file}:{number}: \"{line}\" is not a sample of the form {Heading}.");
            samples.Add(new CounterSample(new Nanoseconds(at), domain, traps, hypercalls));
        }

        return samples;
    }
}
