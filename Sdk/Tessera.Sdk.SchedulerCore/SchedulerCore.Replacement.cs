namespace Tessera.Sdk.Scheduling.Core;

/// <content>Which policy is in charge: live swap, ejection, and telling a new policy everything.</content>
public sealed partial class SchedulerCore
{
    private readonly List<Ejection> _ejections = [];
    private string _policyName = "";
    private bool _policyIsFallback;

    /// <summary>The name of the policy in charge.</summary>
    public string PolicyName => _policyName;

    /// <summary>The ejections so far, oldest first.</summary>
    public IReadOnlyList<Ejection> Ejections
    {
        get
        {
            Lock gate = Enter();
            try
            {
                return [.. _ejections];
            }
            finally
            {
                gate.Exit();
            }
        }
    }

    /// <summary>Replaces the policy while the guests go on. The core keeps no reference to the old one or its data.</summary>
    /// <param name="policy">The new policy.</param>
    /// <param name="name">Its name in reports.</param>
    /// <param name="domainOptions">Each domain's options record under the new policy; null gives everyone the policy's defaults.</param>
    /// <param name="now">The instant.</param>
    /// <returns>Null when the new policy is in charge; its ejection when it failed at once and the fallback is.</returns>
    public Ejection? SwapPolicy(IScheduler policy, string name, Func<SchedulableDomain, object?>? domainOptions, Nanoseconds now)
    {
        Lock gate = Enter();
        try
        {
            now = Advance(now);
            SetOptions(domainOptions);
            return Install(policy, name, isFallback: false, now) switch
            {
                CallOutcome.Done => null,
                CallOutcome.Replaced => _ejections[^1],
                _ => new(name, EjectionReason.Hung, "it did not come back while it took over", now),
            };
        }
        finally
        {
            gate.Exit();
        }
    }

    /// <summary>Records <see cref="_failure"/> and puts the fallback in charge.</summary>
    private CallOutcome Eject(Nanoseconds now)
    {
        RecordEjection(now);
        SetOptions(null);
        CallOutcome outcome = Install(_fallback(), _options.FallbackName, isFallback: true, now);
        return outcome == CallOutcome.Done ? CallOutcome.Replaced : outcome;
    }

    private void SetOptions(Func<SchedulableDomain, object?>? domainOptions)
    {
        foreach (VcpuRecord record in _vcpus)
        {
            SchedulableDomain domain = record.Vcpu.Domain;
            if (domain.Vcpus[0] == record.Vcpu)
                domain.Options = domainOptions?.Invoke(domain);
        }
    }

    private void RecordEjection(Nanoseconds now)
    {
        Ejection ejection = new(_policyName, _failure.Reason, _failure.Evidence, now);
        _ejections.Add(ejection);
        _host.PolicyEjected(ejection);
    }

    /// <summary>Puts a policy in charge and tells it everything. Done, Replaced (it failed, the fallback is in charge) or Lost.</summary>
    private CallOutcome Install(IScheduler policy, string name, bool isFallback, Nanoseconds now)
    {
        bool replaced = false;
        while (true)
        {
            _policy = policy;
            _policyName = name;
            TakeCharge(name);
            _policyIsFallback = isFallback;
            _port = new(this);
            _slowCalls = 0;
            _log?.Add(now, ScheduleEventKind.Policy, default);
            CallOutcome outcome = TellEverything(now);
            if (outcome == CallOutcome.Lost)
                return outcome;
            if (outcome == CallOutcome.Done)
            {
                foreach (PcpuRecord pcpu in _pcpus)
                    NoteReschedule(pcpu.Id);
                SendRequests();
                return replaced ? CallOutcome.Replaced : CallOutcome.Done;
            }

            RecordEjection(now);
            if (_policyIsFallback)
                throw new SchedulerFailedException($"the fallback scheduler failed while taking over: {_ejections[^1]}");
            policy = _fallback();
            name = _options.FallbackName;
            isFallback = true;
            replaced = true;
        }
    }

    private CallOutcome TellEverything(Nanoseconds now)
    {
        foreach (PcpuRecord pcpu in _pcpus)
        {
            pcpu.Known = null;
            pcpu.RescheduleAt = Nanoseconds.Never;
        }

        foreach (VcpuRecord record in _vcpus)
        {
            record.Told = false;
            record.Vcpu.PolicyData = null;
        }

        CallOutcome outcome = TryCall(PolicyCall.Attach, null, now);
        for (int index = 0; index < _vcpus.Count && outcome == CallOutcome.Done; index++)
            outcome = TryCall(PolicyCall.Add, _vcpus[index].Vcpu, now);
        for (int index = 0; index < _vcpus.Count && outcome == CallOutcome.Done; index++)
        {
            if (_vcpus[index].Vcpu.State != RunState.Runnable)
                continue;
            _vcpus[index].Told = true;
            outcome = TryCall(PolicyCall.Wake, _vcpus[index].Vcpu, now);
        }

        return outcome;
    }
}
