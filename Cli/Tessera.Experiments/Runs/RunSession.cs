using Tessera.Experiments.Hosts;
using Tessera.Experiments.Planning;
using Tessera.Lab.Recording;
using Tessera.Lab.Reports;
using Tessera.Lab.Results;
using Tessera.Sdk;
using Tessera.Sdk.Scheduling.Core;

namespace Tessera.Experiments.Runs;

/// <summary>
/// One run: builds the domains, starts each at its time, waits until measuring may begin, measures for the duration, and takes the
/// readings at both ends. The window begins at the moment of <see cref="RunPlan.MeasureAfter"/>, or when every domain is up; what
/// happened before does not count.
/// </summary>
public sealed class RunSession
{
    /// <summary>How often domains are looked at: for having come up or ended, and for the claims of expected shares.</summary>
    private static readonly Nanoseconds Poll = Nanoseconds.FromMilliseconds(50);

    private readonly IRunMachine _machine;
    private readonly RunPlan _plan;
    private readonly IRunPacer _pacer;
    private readonly Nanoseconds _progressEvery;
    private readonly Action<RunProgress>? _progress;
    private readonly IRunControl? _control;
    private readonly IHostDelay? _delay;
    private readonly ConsoleLog[] _consoles;
    private readonly IRunDomain[] _domains;
    private readonly Nanoseconds?[] _startedAt;
    private readonly List<string> _failures = [];
    private readonly CounterSamples _counters;
    private readonly (long Traps, long Hypercalls)[] _callsBefore;
    private ExpectedShareMeter _meter;

    /// <summary>Builds the domains on a machine.</summary>
    /// <param name="machine">The machine; not disposed here.</param>
    /// <param name="plan">What to do.</param>
    /// <param name="pacer">Time.</param>
    /// <param name="progressEvery">How often to report.</param>
    /// <param name="progress">Gets the reports, on the thread of <see cref="Run"/>.</param>
    /// <param name="control">Who may change the run meanwhile; null for nobody.</param>
    /// <param name="delay">Tells what the host takes from the window; null in virtual time, which nobody can take.</param>
    /// <exception cref="OperationCanceledException">The user wants to stop, and nothing has run yet.</exception>
    public RunSession(
        IRunMachine machine, RunPlan plan, IRunPacer pacer, Nanoseconds progressEvery, Action<RunProgress>? progress, IRunControl? control = null, IHostDelay? delay = null)
    {
        (_machine, _plan, _pacer, _progressEvery, _progress, _control, _delay) = (machine, plan, pacer, progressEvery, progress, control, delay);
        _consoles = [.. plan.Domains.Select(domain => new ConsoleLog(domain.Name, () => pacer.Now.Value))];
        ConsoleFan[] fans = control is null ? [] : [.. plan.Domains.Select(_ => new ConsoleFan())];
        control?.Offer(fans);
        _domains = [.. plan.Domains.Select((domain, index) => Build(domain, _consoles[index], control is null ? null : fans[index]))];
        _startedAt = new Nanoseconds?[_domains.Length];
        _counters = new CounterSamples(_domains.Length);
        _callsBefore = new (long, long)[_domains.Length];
        _meter = Meter();
    }

    /// <summary>The consoles, by domain.</summary>
    public IReadOnlyList<ConsoleLog> Consoles => _consoles;

    /// <summary>Builds one domain, unless the user wants to stop: a thousand of them take a while.</summary>
    private IRunDomain Build(DomainPlan domain, ConsoleLog console, ConsoleFan? fan) => _pacer.WaitUntil(_pacer.Now)
        ? throw new OperationCanceledException()
        : _machine.Create(domain, fan is null ? console.Append : output =>
        {
            console.Append(output);
            fan.Append(output);
        });

    /// <summary>Runs to the end of the window, of the last domain, or of the user's patience.</summary>
    public RunRecord Run()
    {
        Nanoseconds origin = _pacer.Now;
        MachineReading first = _machine.Read();
        MachineReading? baseline = null;
        Withheld? withheldBefore = null;
        Nanoseconds windowStart = Nanoseconds.Zero;
        Nanoseconds nextProgress = Nanoseconds.Zero;
        bool interrupted = false;
        while (true)
        {
            Nanoseconds now = _pacer.Now - origin;
            StartDue(now);
            _meter.Sample(_pacer.Now);
            _control?.Serve(_machine, _domains, () => _meter.Sample(_pacer.Now));
            if (baseline is null && MayMeasure(now))
            {
                (baseline, windowStart, _meter, withheldBefore) = (_machine.Read(), now, Meter(), _delay?.Read(_machine.HostCpus));
                _machine.BeginWindow();
                if (_plan.RecordedEvents > 0)
                    StartRecording();
            }

            if (baseline is not null && _plan.RecordedEvents > 0)
                _counters.Offer(now - windowStart, CallsOf);

            Nanoseconds end = baseline is null ? Nanoseconds.Never : windowStart + _plan.Duration;
            if (now >= end || AllEnded() || _machine.Failure is not null)
                break;
            if (baseline is null && _plan.MeasureAfter is null && now >= _plan.ReadyTimeout)
            {
                ReportNotReady();
                break;
            }

            if (now >= nextProgress)
            {
                ReportProgress(now, windowStart, baseline, first);
                nextProgress = now + _progressEvery;
            }

            if (_pacer.WaitUntil(origin + Nanoseconds.Min(Nanoseconds.Min(end, nextProgress), NextEvent(now))))
            {
                interrupted = true;
                break;
            }
        }

        return Finish(baseline ?? first, withheldBefore, interrupted);
    }

    private static Nanoseconds Earliest(Nanoseconds soFar, Nanoseconds candidate, Nanoseconds now) =>
        candidate > now ? Nanoseconds.Min(soFar, candidate) : soFar;

    private ExpectedShareMeter Meter() => new(_domains, _machine.HostCpus.Count, _pacer.Now);

    private Nanoseconds NextEvent(Nanoseconds now)
    {
        Nanoseconds next = now + Poll;
        if (_plan.MeasureAfter is { } after)
            next = Earliest(next, after, now);
        for (int index = 0; index < _domains.Length; index++)
        {
            if (_startedAt[index] is null)
                next = Earliest(next, _plan.Domains[index].StartDelay, now);
        }

        return next;
    }

    private void StartDue(Nanoseconds now)
    {
        for (int index = 0; index < _domains.Length; index++)
        {
            if (_startedAt[index] is not null || _plan.Domains[index].StartDelay > now)
                continue;
            _startedAt[index] = _pacer.Now;

            // It may have been destroyed from outside before its time.
            if (!_domains[index].Phase.HasEnded())
                _domains[index].Start();
        }
    }

    private bool MayMeasure(Nanoseconds now)
    {
        if (_plan.MeasureAfter is { } after)
            return now >= after;
        for (int index = 0; index < _domains.Length; index++)
        {
            if (!IsUp(index))
                return false;
        }

        return true;
    }

    private bool IsUp(int index) =>
        _startedAt[index] is not null
        && (!_plan.Domains[index].SpeaksWhenUp || _consoles[index].FirstUserLine is not null || _domains[index].Phase.HasEnded());

    private bool AllEnded()
    {
        foreach (IRunDomain domain in _domains)
        {
            if (!domain.Phase.HasEnded())
                return false;
        }

        return true;
    }

    private void ReportNotReady()
    {
        for (int index = 0; index < _domains.Length; index++)
        {
            if (!IsUp(index))
                _failures.Add($"{_plan.Domains[index].Name} was not up after {_plan.ReadyTimeout}. Its last line: {_consoles[index].Tail().LastOrDefault("(none)")}");
        }
    }

    private void ReportProgress(Nanoseconds now, Nanoseconds windowStart, MachineReading? baseline, MachineReading first)
    {
        if (_progress is null)
            return;
        Nanoseconds total = baseline is not null ? _plan.Duration : _plan.MeasureAfter ?? _plan.ReadyTimeout;
        _progress(new RunProgress(baseline is not null, now - windowStart, total, baseline ?? first, _machine.Read(), _meter.Shares(), _consoles));
    }

    private RunRecord Finish(MachineReading baseline, Withheld? withheldBefore, bool interrupted)
    {
        _control?.End();
        MachineReading final = _machine.Read();
        Withheld? withheld = withheldBefore is { } before ? _delay?.Read(_machine.HostCpus)?.Since(before) : null;
        ScheduleLog? log = _machine.StopRecording();
        _meter.Sample(_pacer.Now);
        for (int index = 0; index < _domains.Length; index++)
        {
            if (_domains[index].Phase == DomainPhase.Crashed)
                _failures.Add($"{_plan.Domains[index].Name} crashed. {_domains[index].ExitReason}");
        }

        if (_machine.Failure is { } failure)
            _failures.Add($"The machine failed: {failure}");
        if (final.SchedulerEjected is { } evidence)
            _failures.Add($"The scheduler was ejected and the fallback took over: {evidence}");
        if (final.MemoryPolicyFailure is { } reason)
            _failures.Add(reason);
        RunRecord record = new()
        {
            Outcome = _failures.Count > 0 ? RunOutcome.Failed : interrupted ? RunOutcome.Interrupted : RunOutcome.Completed,
            Failures = _failures,
            Baseline = baseline,
            Final = final,
            Withheld = withheld,
            Expected = _meter.Shares(),
            Ids = [.. _domains.Select(domain => domain.Id)],
            Changes = _control?.Changes ?? [],
            ExitReasons = [.. _domains.Select(domain => domain.ExitReason)],
            CrashRegisters = [.. _domains.Select(domain => domain.CrashRegisters)],
            BootTimes = [.. _consoles.Select((console, index) => BootTime(console, _startedAt[index]))],
            Consoles = _consoles,
            Recording = log is null ? null : Recording(log),
            Counters = log is not null && _counters.All.Any(sample => sample.Traps > 0) ? [.. _counters.All] : [],
        };
        foreach (IRunDomain domain in _domains)
            domain.Destroy();
        return record;
    }

    private void StartRecording()
    {
        for (int index = 0; index < _domains.Length; index++)
            _callsBefore[index] = _domains[index].Calls;
        _machine.StartRecording(_plan.RecordedEvents);
    }

    private (long Traps, long Hypercalls) CallsOf(int index)
    {
        (long traps, long hypercalls) = _domains[index].Calls;
        return (traps - _callsBefore[index].Traps, hypercalls - _callsBefore[index].Hypercalls);
    }

    private ScheduleRecording Recording(ScheduleLog log) => ScheduleRecording.FromLog(
        log,
        _machine.HostCpus.Count,
        [.. _plan.Domains.Select((domain, index) => new RecordedDomain(domain.Name, domain.Weight, _domains[index].Owed))],
        [.. _domains.Select(domain => domain.Id)]);

    private static Nanoseconds? BootTime(ConsoleLog console, Nanoseconds? startedAt) =>
        console.FirstUserLine is { } line && startedAt is { } start ? new Nanoseconds(line) - start : null;
}
