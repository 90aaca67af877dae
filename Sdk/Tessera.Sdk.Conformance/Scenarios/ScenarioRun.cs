using Tessera.Sdk.Scheduling;
using Tessera.Sdk.Scheduling.Core;
using Tessera.Sdk.Simulation;

namespace Tessera.Sdk.Conformance.Scenarios;

/// <summary>What can be wrong in a scenario.</summary>
internal enum Concern
{
    /// <summary>A vCPU was chosen that is blocked, paused, removed or runs elsewhere.</summary>
    Choice,

    /// <summary>A vCPU was chosen for a physical CPU outside its affinity.</summary>
    Affinity,

    /// <summary>The policy threw, or asks for decisions without end.</summary>
    Failure,

    /// <summary>A physical CPU idles while a vCPU waits that may run there.</summary>
    Idle,

    /// <summary>A runnable vCPU never ran again.</summary>
    Lost,
}

/// <summary>Something wrong.</summary>
/// <param name="Concern">What.</param>
/// <param name="Message">A sentence with the step it happened in.</param>
internal sealed record Violation(Concern Concern, string Message);

/// <summary>Carries a scenario out on a machine moved by hand and looks at the machine after every step.</summary>
internal sealed class ScenarioRun
{
    /// <summary>A runnable vCPU must run within this many starvation bounds, whatever happened before.</summary>
    private const int BoundsToLive = 32;

    /// <summary>How finely the time after the last step is looked at.</summary>
    private const int LooksPerLife = 256;

    private static readonly Nanoseconds Year = Nanoseconds.FromSeconds(365 * 86_400.0);

    private readonly SchedulerDeclaration _declaration;
    private readonly Scenario _scenario;
    private readonly HandMachine _machine;
    private readonly SchedulableVcpu[] _vcpus;
    private readonly int[] _pauses;
    private readonly bool _lookForIdle;
    private int _domains;

    private ScenarioRun(IScheduler policy, SchedulerDeclaration declaration, Scenario scenario, bool lookForIdle, List<string>? trace)
    {
        (_declaration, _scenario, _lookForIdle) = (declaration, scenario, lookForIdle);
        _vcpus = new SchedulableVcpu[scenario.Vcpus];
        _pauses = new int[scenario.Vcpus];
        // Two threads of a core share a cache, for policies that look.
        MachineTopology topology = new([.. Enumerable.Range(0, scenario.Pcpus).Select(static pcpu => new PcpuPlace(pcpu / 2, pcpu / 2, 0))]);
        _machine = new(policy, scenario.Pcpus, options => options with { StarvationLimit = Nanoseconds.Zero, Topology = topology });
        if (trace is not null)
            _machine.Decided = (pcpu, dispatch) => trace.Add($"{_machine.Now.Value} {pcpu} {dispatch.Vcpu?.Id.ToString() ?? "idle"} {dispatch.Until.Value}");
    }

    /// <summary>Carries a scenario out.</summary>
    /// <param name="create">Makes the policy.</param>
    /// <param name="declaration">What it promises.</param>
    /// <param name="scenario">The scenario.</param>
    /// <param name="lookForIdle">Whether a CPU that idles needlessly is a violation.</param>
    /// <param name="trace">Gets a line for each decision.</param>
    /// <returns>The first thing wrong, or null.</returns>
    public static Violation? Execute(Func<IScheduler> create, SchedulerDeclaration declaration, Scenario scenario, bool lookForIdle = false, List<string>? trace = null)
    {
        ScenarioRun run = new(create(), declaration, scenario, lookForIdle, trace);
        string where = "at the start";
        try
        {
            for (int index = 0; index < run._vcpus.Length; index++)
                run.Join(index);
            if (run.Look(where) is { } early)
                return early;
            for (int index = 0; index < scenario.Steps.Count; index++)
            {
                where = $"step {index + 1}, {scenario.Steps[index]}";
                run.Do(scenario.Steps[index]);
                if (run.Look(where) is { } violation)
                    return violation;
            }

            where = "after the last step";
            return run.Live() ?? (scenario.Steps.Any(static step => step.Kind == StepKind.Jump) ? run.Age() : null);
        }
        catch (Exception failure) when (failure is InvalidOperationException or SchedulerFailedException)
        {
            return run.Judge(where) ?? new(Concern.Failure, $"{where}: {failure.Message}");
        }
    }

    private void Join(int index)
    {
        _vcpus[index] = new(new SchedulableDomain(new DomainId((ushort)++_domains)));
        _pauses[index] = 0;
        _machine.Core.Add(_vcpus[index], _machine.Now);
    }

    private void Do(ScenarioStep step)
    {
        SchedulerCore core = _machine.Core;
        SchedulableVcpu vcpu = _vcpus[step.Vcpu];
        Nanoseconds now = _machine.Now;
        switch (step.Kind)
        {
            case StepKind.Wake:
                core.Wake(vcpu, now);
                break;
            case StepKind.Sleep or StepKind.Nap:
                Sleep(vcpu, wakes: step.Kind == StepKind.Nap);
                break;
            case StepKind.Pause:
                core.Pause(vcpu, now);
                _pauses[step.Vcpu]++;
                break;
            case StepKind.Resume when _pauses[step.Vcpu] > 0:
                core.Resume(vcpu, now);
                _pauses[step.Vcpu]--;
                break;
            case StepKind.Yield when vcpu.State == RunState.Running:
                core.Yield(vcpu, now);
                _machine.Decide(vcpu.Pcpu.Index);
                break;
            case StepKind.Replace:
                core.Remove(vcpu, now);
                Join(step.Vcpu);
                break;
            case StepKind.Weight:
                core.Adjust(vcpu.Domain, (int)Math.Clamp(step.Argument, 1, int.MaxValue), null, null, now);
                break;
            case StepKind.Affinity:
                core.Adjust(vcpu, AffinityOf(step.Argument), now);
                break;
            case StepKind.Options when _declaration.DefaultOptions is { } options:
                core.Adjust(vcpu.Domain, null, options(), null, now);
                break;
            case StepKind.Decide:
                _machine.Decide((int)(step.Argument % _scenario.Pcpus));
                break;
            case StepKind.Advance:
                _machine.Advance(new Nanoseconds(step.Argument));
                break;
            case StepKind.Overrun:
                _machine.Jump(new Nanoseconds(step.Argument));
                break;
            case StepKind.Jump:
                Suspend(new Nanoseconds(step.Argument));
                break;
        }
    }

    private void Sleep(SchedulableVcpu vcpu, bool wakes)
    {
        int pcpu = vcpu.State == RunState.Running ? vcpu.Pcpu.Index : -1;
        _machine.Core.PrepareToSleep(vcpu);
        _machine.Core.Sleep(vcpu, _machine.Now);
        if (wakes)
            _machine.Core.Wake(vcpu, _machine.Now);
        if (pcpu >= 0)
            _machine.Decide(pcpu);
    }

    private void Suspend(Nanoseconds length)
    {
        foreach (SchedulableVcpu vcpu in _vcpus)
            _machine.Core.Pause(vcpu, _machine.Now);
        _machine.Settle();
        _machine.Jump(length);
        foreach (SchedulableVcpu vcpu in _vcpus)
            _machine.Core.Resume(vcpu, _machine.Now);
    }

    private CpuSet AffinityOf(long bits)
    {
        int[] members = [.. Enumerable.Range(0, _scenario.Pcpus).Where(pcpu => ((bits >> pcpu) & 1) != 0)];
        return members.Length == 0 ? CpuSet.All : CpuSet.Of(members);
    }

    private Violation? Look(string where)
    {
        _machine.Settle();
        if (Judge(where) is { } violation)
            return violation;
        for (int pcpu = 0; pcpu < _scenario.Pcpus && _lookForIdle; pcpu++)
        {
            if (_machine.Runs[pcpu] is null && Array.Find(_vcpus, vcpu => vcpu.State == RunState.Runnable && vcpu.Affinity.Contains(new PcpuId(pcpu))) is { } waits)
                return new(Concern.Idle, $"{where}: p{pcpu} idles while {waits} waits; the policy's own view: {_machine.Core.Describe(waits)}");
        }

        return null;
    }

    /// <summary>What the core ejected the policy for, as a violation.</summary>
    private Violation? Judge(string where)
    {
        if (_machine.Ejected.Count == 0)
            return null;
        Ejection ejection = _machine.Ejected[0];
        Concern concern = ejection.Reason != EjectionReason.Nonsense ? Concern.Failure
            : ejection.Evidence.Contains("outside its affinity", StringComparison.Ordinal) ? Concern.Affinity : Concern.Choice;
        return new(concern, $"{where}: {ejection.Evidence}");
    }

    /// <summary>Everybody who is runnable must run some time: nothing that happened may lose a vCPU.</summary>
    private Violation? Live()
    {
        if (_declaration.StarvationBound is not { } bound)
            return null;
        HashSet<SchedulableVcpu> waiting = [.. _vcpus.Where(static vcpu => vcpu.State == RunState.Runnable)];
        Action<PcpuId, Dispatch>? traced = _machine.Decided;
        _machine.Decided = (pcpu, dispatch) =>
        {
            if (dispatch.Vcpu is { } vcpu)
                waiting.Remove(vcpu);
            traced?.Invoke(pcpu, dispatch);
        };
        Nanoseconds life = new(bound.Value * BoundsToLive * _scenario.Pcpus);
        for (int look = 0; look < LooksPerLife && waiting.Count > 0; look++)
        {
            _machine.Advance(new Nanoseconds((life.Value / LooksPerLife) + 1));
            if (Judge("after the last step") is { } violation)
                return violation;
        }

        _machine.Decided = traced;
        SchedulableVcpu? lost = _vcpus.FirstOrDefault(waiting.Contains);
        return lost is null ? null : new(Concern.Lost, $"after the last step {lost} did not run for {life}; the policy's own view: {_machine.Core.Describe(lost)}");
    }

    /// <summary>Decisions that come years late: nothing may overflow.</summary>
    private Violation? Age()
    {
        foreach (SchedulableVcpu vcpu in _vcpus)
            _machine.Core.Wake(vcpu, _machine.Now);
        for (int year = 1; year <= 8; year++)
        {
            _machine.Settle();
            _machine.Jump(Year);
            for (int pcpu = 0; pcpu < _scenario.Pcpus; pcpu++)
                _machine.Decide(pcpu);
            if (Look($"year {year} after the last step") is { } violation)
                return violation;
        }

        return null;
    }
}
