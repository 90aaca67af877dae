using Tessera.Lab.Recording;
using Tessera.Lab.Results;
using Tessera.Sdk;
using Tessera.Sdk.Scheduling.Core;

namespace Tessera.Lab.Reports;

/// <summary>Something that happened to the whole machine.</summary>
/// <param name="At">When, from the window's beginning.</param>
/// <param name="What">What, in words.</param>
internal readonly record struct RunMark(Nanoseconds At, string What);

/// <summary>What was changed during a run: by somebody, as the result tells, or by the scheduler core, which puts another policy in charge.</summary>
internal static class RunMarks
{
    /// <summary>A change that is said and the policy's event that it caused are within this of each other.</summary>
    private static readonly Nanoseconds Together = Nanoseconds.FromMilliseconds(100);

    /// <summary>Those in the recorded part of the window, in order.</summary>
    public static IReadOnlyList<RunMark> Of(RunFolder run)
    {
        if (run.Recording is not { } recording)
            return [];
        List<RunMark> marks = [];
        foreach (ChangeResult change in run.Result.Changes)
        {
            Nanoseconds at = Nanoseconds.FromSeconds(change.AtSeconds - run.Result.MeasuredFromSeconds);
            if (at >= Nanoseconds.Zero && at <= recording.Covered)
                marks.Add(new RunMark(at, change.What));
        }

        foreach (ScheduleEvent item in recording.Events)
        {
            if (item.Kind == ScheduleEventKind.Policy && !marks.Exists(mark => Math.Abs((mark.At - item.At).Value) < Together.Value))
                marks.Add(new RunMark(item.At, "another policy took over"));
        }

        return [.. marks.OrderBy(mark => mark.At)];
    }
}
