using System.Globalization;
using Tessera.Sdk;
using Tessera.Sdk.Scheduling;
using Tessera.Sdk.Scheduling.Core;

namespace Tessera.Lab.Recording;

/// <summary>
/// A recording as a file: lines of comments (<c># key value</c>) with its length, physical CPUs and domains (and what a domain was owed, unless it was by weight alone), a heading, and a line for each event,
/// <c>at_ns,event,pcpu,domain,vcpu,before,late_ns</c>. Domains are written by index; an empty field is one that does not apply. Files of earlier
/// versions have no <c>late_ns</c>.
/// </summary>
public static class ScheduleCsv
{
    private const string Format = "# tessera.schedule/1";
    private const string EarlierHeading = "at_ns,event,pcpu,domain,vcpu,before";
    private const string Heading = EarlierHeading + ",late_ns";

    /// <summary>More physical CPUs than any machine has: what is read keeps a list for each.</summary>
    private const int MostPcpus = 8192;

    private static readonly string[] KindWords = [.. Enum.GetNames<ScheduleEventKind>().Select(name => name.ToLowerInvariant())];
    private static readonly string[] EndWords = [.. Enum.GetNames<RunEnd>().Select(name => name.ToLowerInvariant())];

    /// <summary>Writes a recording.</summary>
    public static void Write(TextWriter writer, ScheduleRecording recording)
    {
        writer.WriteLine(Format);
        writer.WriteLine(Line($"# length_ns {recording.Length.Value}"));
        writer.WriteLine(Line($"# pcpus {recording.PcpuCount}"));
        if (recording.CutAt is { } cut)
            writer.WriteLine(Line($"# cut_at_ns {cut.Value}"));
        foreach (RecordedDomain domain in recording.Domains)
        {
            writer.WriteLine(Line($"# domain {domain.Weight} {domain.Name}"));
            if (domain.Owed != Entitlement.ByWeight(domain.Weight))
                writer.WriteLine(Line($"# owed {domain.Owed.Weight:R} {domain.Owed.Reserved:R} {domain.Owed.Limit:R} {domain.Owed.Period.Value}"));
        }

        writer.WriteLine(Heading);
        Span<char> line = stackalloc char[128];
        foreach (ScheduleEvent item in recording.Events)
        {
            line.TryWrite(
                CultureInfo.InvariantCulture,
                $"{item.At.Value},{KindWords[(int)item.Kind]},{Index(item.Pcpu)},{Index(item.Domain)},{Index(item.Vcpu)},{(item.Before == RunEnd.None ? "" : EndWords[(int)item.Before])},{Late(item.Late)}",
                out int length);
            writer.WriteLine(line[..length]);
        }
    }

    /// <summary>Reads a recording.</summary>
    /// <param name="reader">The text.</param>
    /// <param name="file">Its name, for errors.</param>
    /// <exception cref="FormatException">It is not a recording; names the file, the line and what would be right.</exception>
    public static ScheduleRecording Read(TextReader reader, string file)
    {
        if (reader.ReadLine() != Format)
            throw new FormatException($"{file}:1: not a recording: the first line must be \"{Format}\".");
        Nanoseconds? length = null;
        Nanoseconds? cut = null;
        int? pcpus = null;
        List<RecordedDomain> domains = [];
        int number = 2;
        string? line = reader.ReadLine();
        for (; line is ['#', ..]; line = reader.ReadLine(), number++)
        {
            string[] words = line.Split(' ', 4);
            switch (words)
            {
                case [_, "length_ns", var text] when long.TryParse(text, CultureInfo.InvariantCulture, out long value) && value >= 0:
                    length = new(value);
                    break;
                case [_, "cut_at_ns", var text] when long.TryParse(text, CultureInfo.InvariantCulture, out long value) && value >= 0:
                    cut = new(value);
                    break;
                case [_, "pcpus", var text] when int.TryParse(text, CultureInfo.InvariantCulture, out int value) && value is > 0 and <= MostPcpus:
                    pcpus = value;
                    break;
                case [_, "domain", var text, var name] when int.TryParse(text, CultureInfo.InvariantCulture, out int weight) && weight > 0:
                    domains.Add(new(name, weight));
                    break;
                case [_, "owed", ..] when domains.Count > 0 && Owed(line) is { } owed:
                    domains[^1] = domains[^1] with { Owed = owed };
                    break;
                default:
                    throw new FormatException(
                        $"{file}:{number}: \"{line}\" is none of # length_ns N, # cut_at_ns N, # pcpus N (at most {MostPcpus}), # domain WEIGHT NAME, and after a domain # owed WEIGHT RESERVED LIMIT PERIOD_NS.");
            }
        }

        if (length is null || pcpus is null)
            throw new FormatException($"{file}:{number}: the lines # length_ns and # pcpus must come before the events.");
        if (line is not (Heading or EarlierHeading))
            throw new FormatException($"{file}:{number}: expected the heading \"{Heading}\".");
        List<ScheduleEvent> events = [];
        while (reader.ReadLine() is { } text)
        {
            number++;
            ScheduleEvent item = Parse(text) ?? throw new FormatException($"{file}:{number}: \"{text}\" is not an event of the form {Heading}.");
            bool inOrder = events.Count == 0 || events[^1].At <= item.At;
            if (!inOrder || item.Pcpu >= pcpus || item.Domain >= domains.Count)
                throw new FormatException($"{file}:{number}: \"{text}\" is out of order, or names a pCPU or domain that the lines above do not.");
            events.Add(item);
        }

        return new() { Length = length.Value, PcpuCount = pcpus.Value, Domains = domains, Events = events, CutAt = cut };
    }

    private static string Line(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);

    private static string Late(Nanoseconds value) => value == Nanoseconds.Zero ? "" : value.Value.ToString(CultureInfo.InvariantCulture);

    private static string Index(int value) => value < 0 ? "" : value.ToString(CultureInfo.InvariantCulture);

    private static ScheduleEvent? Parse(string text)
    {
        Span<Range> fields = stackalloc Range[8];
        ReadOnlySpan<char> line = text;
        long late = 0;
        int count = line.Split(fields, ',');
        if (count is not (6 or 7) || (count == 7 && !line[fields[6]].IsEmpty && (!long.TryParse(line[fields[6]], CultureInfo.InvariantCulture, out late) || late < 0)))
            return null;
        if (!long.TryParse(line[fields[0]], CultureInfo.InvariantCulture, out long at) || at < 0)
            return null;
        int kind = Word(KindWords, line[fields[1]]);
        int before = line[fields[5]].IsEmpty ? 0 : Word(EndWords, line[fields[5]]);
        if (kind < 0 || before < 0 || !TryIndex(line[fields[2]], out int pcpu) || !TryIndex(line[fields[3]], out int domain) || !TryIndex(line[fields[4]], out int vcpu))
            return null;
        return new(new(at), (ScheduleEventKind)kind, pcpu, domain, vcpu, (RunEnd)before, new(late));
    }

    private static Entitlement? Owed(string line)
    {
        string[] words = line.Split(' ');
        if (words.Length != 6
            || !double.TryParse(words[2], CultureInfo.InvariantCulture, out double weight)
            || !double.TryParse(words[3], CultureInfo.InvariantCulture, out double reserved)
            || !double.TryParse(words[4], CultureInfo.InvariantCulture, out double limit)
            || !long.TryParse(words[5], CultureInfo.InvariantCulture, out long period))
            return null;
        Entitlement owed = new(weight, reserved, limit, new(period));
        return owed.Objection() is null ? owed : null;
    }

    private static int Word(string[] words, ReadOnlySpan<char> text)
    {
        for (int index = 0; index < words.Length; index++)
        {
            if (text.SequenceEqual(words[index]))
                return index;
        }

        return -1;
    }

    private static bool TryIndex(ReadOnlySpan<char> text, out int value)
    {
        value = -1;
        return text.IsEmpty || (int.TryParse(text, CultureInfo.InvariantCulture, out value) && value >= 0);
    }
}
