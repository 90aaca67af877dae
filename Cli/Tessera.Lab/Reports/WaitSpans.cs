using Tessera.Lab.Metrics;
using Tessera.Sdk;

namespace Tessera.Lab.Reports;

/// <summary>A time in which a vCPU could have run and no physical CPU ran it.</summary>
/// <param name="From">Its beginning, from the recording's start.</param>
/// <param name="To">Its end.</param>
/// <param name="Domain">The domain's index.</param>
/// <param name="Vcpu">The vCPU's index in the domain.</param>
/// <param name="AfterWake">Whether it began with the vCPU's becoming runnable; else with its being taken off a physical CPU.</param>
internal readonly record struct WaitSpan(Nanoseconds From, Nanoseconds To, int Domain, int Vcpu, bool AfterWake);

/// <summary>Finds waits: busy periods less the stints in them.</summary>
internal static class WaitSpans
{
    /// <summary>Every wait, in order of domain, vCPU and time.</summary>
    public static IReadOnlyList<WaitSpan> Of(ScheduleReplay replay)
    {
        ILookup<(int, int), RunSpan> runs = replay.Runs.ToLookup(run => (run.Domain, run.Vcpu));
        List<WaitSpan> waits = [];
        foreach (IGrouping<(int Domain, int Vcpu), BusyPeriod> vcpu in replay.BusyPeriods.GroupBy(period => (period.Domain, period.Vcpu)).OrderBy(group => group.Key))
        {
            RunSpan[] own = [.. runs[vcpu.Key]];
            int next = 0;
            foreach (BusyPeriod period in vcpu)
            {
                // A stint may reach over the end of one period into the next: start over from the last one seen.
                next = Math.Max(0, next - 1);
                Nanoseconds from = period.From;
                for (; next < own.Length && own[next].From < period.To; next++)
                {
                    if (own[next].From > from)
                        waits.Add(new WaitSpan(from, own[next].From, period.Domain, period.Vcpu, from == period.From));
                    if (own[next].To > from)
                        from = own[next].To;
                }

                if (from < period.To)
                    waits.Add(new WaitSpan(from, period.To, period.Domain, period.Vcpu, from == period.From));
            }
        }

        return waits;
    }
}
