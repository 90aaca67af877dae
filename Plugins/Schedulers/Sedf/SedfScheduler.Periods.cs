using Tessera.Sdk;

namespace Tessera.Plugins.Schedulers.Sedf;

/// <content>Periods, slices and the two kinds of extra time.</content>
public sealed partial class SedfScheduler
{
    /// <summary>How long one turn of extra time is; Xen's EXTRA_QUANTUM.</summary>
    private const long ExtraQuantum = 500_000;

    /// <summary>Fraction bits of a virtual time in extra time. 2^63 ns and 2^20 stay below 2^127.</summary>
    private const int PassBits = 20;

    /// <summary>The greatest virtual time each CPU has served in extra time.</summary>
    private Int128[] _extraServed = [];

    /// <summary>Charges what a vCPU ran to what it ran as.</summary>
    private static void Charge(SedfVcpu record, long ran)
    {
        if (record.RunsAs == TimeKind.Reserved && record.Slice > 0)
        {
            record.Used += ran;
            record.TurnLeft -= ran;
            if (record.Used >= record.Slice)
                FinishSlice(record);
            return;
        }

        if (record.RunsAs == TimeKind.Penalty)
            record.Lost = Math.Max(0, record.Lost - ran);
        else
            record.ExtraPass += ((Int128)ran << PassBits) / record.Weight;
    }

    /// <summary>The slice is used up: what is beyond it counts in the next period, and a shortened period grows.</summary>
    private static void FinishSlice(SedfVcpu record)
    {
        record.Used -= record.Slice;
        if (record.Period < record.FullPeriod)
        {
            record.Period *= 2;
            record.Slice *= 2;
            if (record.Period > record.FullPeriod || record.Slice > record.FullSlice)
                RestorePeriod(record);
        }

        record.Deadline += new Nanoseconds(record.Period);
    }

    private static void RestorePeriod(SedfVcpu record) => (record.Period, record.Slice) = (record.FullPeriod, record.FullSlice);

    /// <summary>When it is due after a sleep, and what it makes up for.</summary>
    private static void Unblock(SedfVcpu record, Nanoseconds now)
    {
        // Its next slice is still to come: due later, or from this very instant on.
        if (record.HasDeadline && now <= record.PeriodBegin)
            return;
        if (record.HasDeadline && now < record.Deadline)
        {
            // A short sleep ends this period's slice, or it would take what others have counted on; extra time makes up for it.
            record.Lost = Math.Max(0, record.Slice - record.Used);
            record.Deadline += new Nanoseconds(record.Period);
            record.Used = 0;
            return;
        }

        // A long one begins a new period; with a latency hint a short one of the same utilisation.
        RestorePeriod(record);
        if (record.Latency > Nanoseconds.Zero && record.Latency.Value < record.FullPeriod)
        {
            record.Slice = Math.Max(1, (long)((Int128)record.FullSlice * record.Latency.Value / record.FullPeriod));
            record.Period = record.Latency.Value;
        }

        record.HasDeadline = true;
        record.Deadline = now + new Nanoseconds(record.Period);
        record.Used = 0;
    }

    /// <summary>Puts a vCPU that is ready and not running into the queues where it belongs, and says as what it is ready.</summary>
    private TimeKind? File(SedfVcpu record, Nanoseconds now, bool ahead = false)
    {
        if (record.Slice > 0)
        {
            if (record.Deadline <= now || record.Used >= record.Slice)
                CatchUp(record, now);
            if (record.PeriodBegin <= now)
            {
                // Of equal deadlines who ran longest ago goes first; the running one when its turn is over.
                bool inTurn = ahead && record.TurnLeft > 0;
                Int128 key = ((Int128)record.Deadline.Value << 64) | (inTurn ? 0 : (ulong)record.LastRan.Value);
                _queues.Enqueue(record, (int)TimeKind.Reserved, key, inTurn);
                return TimeKind.Reserved;
            }

            _waiting.Add(record, record.PeriodBegin.Value);
            if (record.Lost > 0)
                _queues.Enqueue(record, (int)TimeKind.Penalty, ((Int128)record.Period << PassBits) / record.Lost);
        }

        if (record.ExtraTime)
        {
            _queues.Enqueue(record, (int)TimeKind.Extra, record.ExtraPass);
        }

        return record.Lost > 0 && record.Slice > 0 ? TimeKind.Penalty : record.ExtraTime ? TimeKind.Extra : null;
    }

    /// <summary>A missed deadline, or an overrun of more than a slice, is forgotten: the next period that is not over, and a fresh slice.</summary>
    private static void CatchUp(SedfVcpu record, Nanoseconds now)
    {
        record.Used = 0;
        if (record.Deadline <= now)
            record.SkipPast(now);
    }

    /// <summary>Sleep saves no extra time up: who joins starts at most a quantum before what its CPUs serve.</summary>
    private void JoinExtraTime(SedfVcpu record)
    {
        Int128 quantum = ((Int128)ExtraQuantum << PassBits) / record.Weight;
        foreach (int pcpu in record.Group.Pcpus)
            record.ExtraPass = Int128.Max(record.ExtraPass, _extraServed[pcpu] - quantum);
    }

    private void Withdraw(SedfVcpu record)
    {
        _queues.Dequeue(record, (int)TimeKind.Reserved);
        _queues.Dequeue(record, (int)TimeKind.Penalty);
        _queues.Dequeue(record, (int)TimeKind.Extra);
        _waiting.Remove(record);
    }

    /// <summary>Makes those ready whose period has begun.</summary>
    private void BeginPeriods(Nanoseconds now)
    {
        while (_waiting.Top is { } record && _waiting.TopKey <= now.Value)
        {
            Withdraw(record);
            if (record.Pcpu >= 0)
            {
                // It runs in extra time: its CPU decides anew whether it goes on in its slice.
                _pcpus.Request(record.Pcpu);
                continue;
            }

            if (File(record, now) is { } kind)
                Place(record, kind);
        }
    }
}
