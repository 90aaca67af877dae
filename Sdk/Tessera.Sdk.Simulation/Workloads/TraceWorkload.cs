using System.Globalization;

namespace Tessera.Sdk.Simulation;

/// <summary>
/// Repeats what was recorded: bursts of CPU time, each followed by a pause. A trace file has a line for each pair, "run_ns,pause_ns";
/// empty lines, lines that begin with # and a heading line are skipped.
/// </summary>
/// <param name="steps">The pairs, at least one.</param>
/// <param name="repeat">Whether it begins anew after the last pair; otherwise the vCPU then sleeps for good.</param>
public sealed class TraceWorkload(IReadOnlyList<(Nanoseconds Run, Nanoseconds Pause)> steps, bool repeat = false) : Workload
{
    private int _index;
    private bool _running;

    /// <inheritdoc/>
    public override WorkloadStep Next(Nanoseconds now)
    {
        if (_running)
        {
            _running = false;
            Completed++;
            Nanoseconds pause = steps[_index++].Pause;
            if (pause > Nanoseconds.Zero)
                return WorkloadStep.SleepUntil(now + pause);
        }

        if (_index == steps.Count && repeat)
            _index = 0;
        if (_index == steps.Count)
            return WorkloadStep.SleepUntil(Nanoseconds.Never);
        _running = true;
        return WorkloadStep.Run(steps[_index].Run);
    }

    /// <summary>Reads a trace file.</summary>
    /// <param name="path">The file.</param>
    /// <param name="repeat">Whether it begins anew after the last pair.</param>
    /// <exception cref="FormatException">A line is no pair; the message names file and line.</exception>
    public static TraceWorkload Read(string path, bool repeat = false)
    {
        List<(Nanoseconds Run, Nanoseconds Pause)> steps = [];
        int number = 0;
        foreach (string line in File.ReadLines(path))
        {
            number++;
            string text = line.Trim();
            if (text.Length == 0 || text[0] == '#' || (steps.Count == 0 && char.IsLetter(text[0])))
                continue;
            string[] fields = text.Split(',', StringSplitOptions.TrimEntries);
            if (fields.Length != 2 || !Parse(fields[0], out long run) || run == 0 || !Parse(fields[1], out long pause))
                throw new FormatException($"{path}({number}): \"{text}\" is no pair of a burst and a pause in ns, such as 5000000,20000000 (the burst more than 0).");
            steps.Add((new(run), new(pause)));
        }

        return steps.Count > 0 ? new(steps, repeat) : throw new FormatException($"{path}: no line with a burst and a pause in ns, such as 5000000,20000000.");
    }

    private static bool Parse(string text, out long value) => long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out value);
}
