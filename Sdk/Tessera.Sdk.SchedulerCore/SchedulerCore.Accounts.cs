namespace Tessera.Sdk.Scheduling.Core;

/// <content>What the core tells about vCPUs, physical CPUs and decisions.</content>
public sealed partial class SchedulerCore
{
    private int _window;

    /// <summary>The decisions of all policies since the start, or since <see cref="BeginWindow"/>, and their cost.</summary>
    public DecisionAccount Decisions
    {
        get
        {
            Lock gate = Enter();
            try
            {
                LatencyHistogram all = new();
                foreach (PolicyCost cost in _costs)
                    all.Merge(cost.Histogram);
                return new(_costs.Sum(static cost => cost.Decisions), all.Summarize());
            }
            finally
            {
                gate.Exit();
            }
        }
    }

    /// <summary>The same of each policy that decided, in the order in which they first took over; the one in charge last.</summary>
    public IReadOnlyList<PolicyDecisions> DecisionsByPolicy
    {
        get
        {
            Lock gate = Enter();
            try
            {
                return [.. _costs.Where(cost => cost.Decisions > 0 && cost != _cost).Append(_cost).Select(static cost => new PolicyDecisions(cost.Policy, new(cost.Decisions, cost.Histogram.Summarize())))];
            }
            finally
            {
                gate.Exit();
            }
        }
    }

    /// <summary>
    /// A window begins: decisions with their cost and wake latencies count from now on. What came before was start-up, with code never run and caches
    /// never filled.
    /// </summary>
    public void BeginWindow()
    {
        Lock gate = Enter();
        try
        {
            _costs.Clear();
            TakeCharge(_policyName);
            _window++;
        }
        finally
        {
            gate.Exit();
        }
    }

    /// <summary>What a vCPU got, up to the last decision or, when an instant is given, up to that; a removed vCPU keeps its account.</summary>
    /// <exception cref="ArgumentException">It was never added to this core.</exception>
    public VcpuAccount AccountOf(SchedulableVcpu v, Nanoseconds? now = null)
    {
        Lock gate = Enter();
        try
        {
            VcpuRecord record = RecordOf(v);
            Nanoseconds cpu = record.CpuTime;
            Nanoseconds wait = record.WaitTime;
            if (now is { } instant)
            {
                instant = Nanoseconds.Max(instant, _now);
                if (v.State == RunState.Running)
                    cpu += instant - _pcpus[v.Pcpu.Index].Since;
                else if (v.State == RunState.Runnable)
                    wait += instant - record.WaitSince;
            }

            return new(cpu, wait, record.Wakes, record.Dispatches, record.Preemptions, record.Window == _window ? record.WakeLatency.Summarize() : default);
        }
        finally
        {
            gate.Exit();
        }
    }

    /// <summary>What the policy owes a vCPU while it is runnable; a share by its weight when it was never added to this core.</summary>
    public Entitlement EntitlementOf(SchedulableVcpu v)
    {
        Lock gate = Enter();
        try
        {
            return v.CoreData is VcpuRecord record && record.Core == this ? record.Owed : Entitlement.ByWeight(v.Domain.Weight);
        }
        finally
        {
            gate.Exit();
        }
    }

    /// <summary>What a physical CPU did, up to its last decision or, when an instant is given, up to that.</summary>
    public PcpuAccount AccountOf(PcpuId p, Nanoseconds? now = null)
    {
        Lock gate = Enter();
        try
        {
            PcpuRecord pcpu = _pcpus[p.Index];
            Nanoseconds open = now is { } instant && pcpu.Started ? Nanoseconds.Max(instant, _now) - pcpu.Since : Nanoseconds.Zero;
            bool busy = pcpu.Occupant is not null;
            return new(busy ? pcpu.Busy + open : pcpu.Busy, busy ? pcpu.Idle : pcpu.Idle + open, pcpu.Switches);
        }
        finally
        {
            gate.Exit();
        }
    }

    /// <summary>The policy's own line about a vCPU.</summary>
    public string Describe(SchedulableVcpu v)
    {
        Lock gate = Enter();
        try
        {
            return Find(v) is null ? $"{v.Id} is not scheduled" : TryDescribe(v, out string description) == CallOutcome.Lost ? "" : description;
        }
        finally
        {
            gate.Exit();
        }
    }

    /// <summary>A description that fails says so and does not eject: reports must not change what they report.</summary>
    private CallOutcome TryDescribe(SchedulableVcpu v, out string description)
    {
        CallStart start = BeginCall(PolicyCall.Describe, v);
        try
        {
            description = _policy.Describe(v);
        }
        catch (Exception exception)
        {
            description = $"(Describe threw {exception.GetType().Name}: {exception.Message})";
        }

        return EndCall(start, thrown: null) == CallOutcome.Lost ? CallOutcome.Lost : CallOutcome.Done;
    }

    private void RecordWake(VcpuRecord record, Nanoseconds latency)
    {
        if (record.Window != _window)
        {
            record.Window = _window;
            record.WakeLatency.Clear();
        }

        record.WakeLatency.Record(latency);
    }

    /// <summary>Decisions are this policy's from now on; one that comes back goes on where it was.</summary>
    private void TakeCharge(string policy)
    {
        PolicyCost? cost = _costs.Find(found => found.Policy == policy);
        if (cost is null)
            _costs.Add(cost = new(policy));
        _cost = cost;
    }

    private VcpuRecord RecordOf(SchedulableVcpu v) =>
        v.CoreData is VcpuRecord record && record.Core == this ? record : throw new ArgumentException($"vCPU {v.Id} was never added to this scheduler.", nameof(v));
}
