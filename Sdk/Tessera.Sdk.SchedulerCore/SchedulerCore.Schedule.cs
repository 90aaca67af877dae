namespace Tessera.Sdk.Scheduling.Core;

/// <content>The decision: settle what ran, ask the policy, check the answer, commit it.</content>
public sealed partial class SchedulerCore
{
    /// <summary>Policies in a row that may fail in one decision before the machine gives up: the one in charge, the fallback, a fresh fallback.</summary>
    private const int AttemptsPerDecision = 3;

    /// <summary>What the decisions of each policy in the window cost; the one in charge is <see cref="_cost"/>.</summary>
    private readonly List<PolicyCost> _costs = [];
    private PolicyCost _cost = null!;

    /// <summary>
    /// What this physical CPU does next; called by its thread when the dispatch's time is over, it was kicked, or the vCPU it ran
    /// blocked, yielded or is gone. The context of the vCPU it ran must be saved before the call: another CPU may run it next.
    /// </summary>
    public Dispatch Schedule(PcpuId p, Nanoseconds now)
    {
        PcpuRecord pcpu = _pcpus[p.Index];
        Lock gate = Enter();
        try
        {
            now = Advance(now);
            _deciding = pcpu;
            VcpuRecord? previous = pcpu.Occupant;
            Nanoseconds ran = Account(pcpu, now);
            CallOutcome outcome = CheckStarvation(now);
            Nanoseconds slice = default;
            VcpuRecord? chosen = null;
            for (int attempt = 0; attempt < AttemptsPerDecision && outcome != CallOutcome.Lost; attempt++)
            {
                outcome = Settle(pcpu, now);
                if (outcome == CallOutcome.Done)
                    outcome = Decide(pcpu, attempt == 0 ? ran : Nanoseconds.Zero, now, out slice, out chosen);
                if (outcome == CallOutcome.Done)
                    break;
            }

            if (outcome == CallOutcome.Lost)
                return new(null, Nanoseconds.Never, Lost: true);
            _deciding = null;
            if (outcome != CallOutcome.Done)
                throw new SchedulerFailedException($"no scheduler could decide for {p}; the last one failed like this: {_ejections[^1]}");
            return Commit(pcpu, previous, chosen, slice, now);
        }
        finally
        {
            gate.Exit();
        }
    }

    private static Nanoseconds Account(PcpuRecord pcpu, Nanoseconds now)
    {
        Nanoseconds length = pcpu.Started ? now - pcpu.Since : Nanoseconds.Zero;
        pcpu.Since = now;
        pcpu.Started = true;
        pcpu.Kicked = false;
        if (pcpu.Occupant is not { } record)
        {
            pcpu.Idle += length;
            return Nanoseconds.Zero;
        }

        pcpu.Busy += length;
        record.CpuTime += length;
        return length;
    }

    /// <summary>
    /// Brings the vCPU that ran here and the policy's idea of it together. Afterwards <see cref="PcpuRecord.Known"/> is what the
    /// policy believes to run here, and a vCPU it does not know of is off this physical CPU.
    /// </summary>
    private CallOutcome Settle(PcpuRecord pcpu, Nanoseconds now)
    {
        if (pcpu.Occupant is not { } record)
            return CallOutcome.Done;
        if (record.Removed)
        {
            pcpu.Occupant = null;
            return CallOutcome.Done;
        }

        if (record.Told)
        {
            if (record.WantsRun)
                return CallOutcome.Done;
            record.Told = false;
            record.Vcpu.State = RunState.Blocked;
            return Tell(PolicyCall.Sleep, record.Vcpu, now);
        }

        // The policy took over while this vCPU ran, or was just told of its sleep by an attempt that failed.
        pcpu.Occupant = null;
        if (record.WantsRun)
            return MakeRunnable(record, now);
        record.Vcpu.State = RunState.Blocked;
        return CallOutcome.Done;
    }

    private CallOutcome Decide(PcpuRecord pcpu, Nanoseconds ran, Nanoseconds now, out Nanoseconds slice, out VcpuRecord? chosen)
    {
        pcpu.RescheduleAt = Nanoseconds.Never;
        pcpu.Again = false;
        _cost.Decisions++;
        SchedulableVcpu? current = pcpu.Known;
        SchedulingPoint point = new(pcpu.Id, now, current, current is null ? Nanoseconds.Zero : ran, current is not null && current.State == RunState.Running);
        slice = default;
        chosen = null;
        CallStart start = BeginCall(PolicyCall.Schedule, current);
        Exception? thrown = null;
        Decision answer = default;
        try
        {
            answer = _policy.Schedule(in point);
        }
        catch (Exception exception)
        {
            thrown = exception;
        }

        CallOutcome outcome = EndCall(start, thrown, _cost.Histogram);
        if (outcome == CallOutcome.Lost)
            return outcome;
        if (outcome == CallOutcome.Done && answer.Vcpu is { } vcpu)
        {
            chosen = Find(vcpu);
            if (Objection(vcpu, chosen, pcpu) is { } objection)
            {
                chosen = null;
                _failure = new(EjectionReason.Nonsense, objection);
                outcome = CallOutcome.Failed;
            }
        }

        if (outcome == CallOutcome.Failed)
            return Eject(now);
        slice = answer.Slice;
        return CallOutcome.Done;
    }

    /// <summary>Why a vCPU cannot run here, or null when it can.</summary>
    private static string? Objection(SchedulableVcpu vcpu, VcpuRecord? record, PcpuRecord pcpu)
    {
        if (record is null)
            return $"it chose {vcpu.Id} for {pcpu.Id}, which was removed or never added";
        if (vcpu.State == RunState.Running && pcpu.Occupant != record)
            return $"it chose {vcpu.Id} for {pcpu.Id} while it runs on {vcpu.Pcpu}";
        if (vcpu.State is not (RunState.Runnable or RunState.Running) || !record.Told)
            return $"it chose {vcpu.Id} for {pcpu.Id} though it is {vcpu.State}";
        return vcpu.Affinity.Contains(pcpu.Id) ? null : $"it chose {vcpu.Id} for {pcpu.Id}, outside its affinity {vcpu.Affinity}";
    }

    private Dispatch Commit(PcpuRecord pcpu, VcpuRecord? previous, VcpuRecord? chosen, Nanoseconds slice, Nanoseconds now)
    {
        if (pcpu.Occupant is { Removed: false } outgoing && outgoing != chosen && outgoing.Vcpu.State == RunState.Running)
        {
            outgoing.Vcpu.State = RunState.Runnable;
            outgoing.Preemptions++;
            BeginWait(outgoing, now);
        }

        if (previous is not null && previous != chosen)
            previous.LastStint = now - previous.DispatchedAt;
        LogDecision(pcpu, previous, chosen, now);
        pcpu.Occupant = chosen;
        pcpu.Known = chosen?.Vcpu;
        pcpu.DecidedWatched = _watched;
        if (chosen is not null)
        {
            if (chosen.Vcpu.State == RunState.Runnable)
            {
                EndWait(chosen, now);
                chosen.Vcpu.State = RunState.Running;
                chosen.Vcpu.Pcpu = pcpu.Id;
                chosen.Dispatches++;
                if (chosen != previous)
                    chosen.DispatchedAt = now;
            }

            if (chosen != previous)
                pcpu.Switches++;
            if (chosen.LatencyOpen)
            {
                chosen.LatencyOpen = false;
                RecordWake(chosen, now - chosen.WokenAt);
            }
        }

        Nanoseconds until = chosen is null ? Nanoseconds.Never : now + Nanoseconds.Min(Nanoseconds.Max(slice, LeastSlice), LongestSlice);
        until = Nanoseconds.Min(until, pcpu.RescheduleAt);

        // A policy that idles while somebody waits is looked at again, or the watchdog would never see it.
        if (chosen is null && _waiting > 0 && _watchStep > 0)
            until = Nanoseconds.Min(until, now + new Nanoseconds(_watchStep));
        pcpu.Until = pcpu.Again ? now : Nanoseconds.Max(until, now);
        return new(chosen?.Vcpu, pcpu.Until);
    }
}
