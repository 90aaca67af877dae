using Tessera.Cli.Tests.Support;
using Tessera.Experiments.Planning;
using Tessera.Experiments.Runs;
using Tessera.Guests;
using Tessera.Images;
using Tessera.Lab.Results;
using Tessera.Sdk;

namespace Tessera.Cli.Tests.Runs;

/// <summary>When a run starts domains, when it measures, and how it ends; in virtual time.</summary>
[FixtureLifeCycle(LifeCycle.InstancePerTestCase)]
internal sealed class RunSessionTests
{
    private static readonly KernelImage Image = KernelImage.Load(BuiltinGuests.Build("spin"), "spin");
    private readonly FakePacer _pacer = new();
    private readonly FakeMachine _machine;

    public RunSessionTests() => _machine = new FakeMachine(_pacer);

    [TearDown]
    public void TearDown() => _machine.Dispose();

    [Test]
    public void The_window_begins_when_every_kernel_has_reached_user_space()
    {
        _machine.Created = domain => domain.Started = () => _pacer.At(_pacer.Now + Nanoseconds.FromSeconds(domain.Id), () => domain.Say("tessera-guest: up\n"));
        RunRecord record = Run(Seconds(4), Domain("a", speaks: true), Domain("b", speaks: true));
        Assert.Multiple(() =>
        {
            Assert.That(record.Outcome, Is.EqualTo(RunOutcome.Completed));
            Assert.That(record.Baseline.At.TotalSeconds, Is.EqualTo(2).Within(0.06));
            Assert.That((record.Final.At - record.Baseline.At).TotalSeconds, Is.EqualTo(4).Within(1e-9));
            Assert.That(record.BootTimes.Select(time => time!.Value.TotalSeconds), Is.EqualTo(new[] { 1.0, 2.0 }).Within(1e-9));
        });
    }

    [Test]
    public void Built_in_guests_are_up_once_started_so_the_window_begins_with_the_last_start()
    {
        RunRecord record = Run(Seconds(4), Domain("a"), Domain("b") with { StartDelay = Seconds(1.5) });
        Assert.That(record.Baseline.At.TotalSeconds, Is.EqualTo(1.5).Within(1e-9));
    }

    [Test]
    public void A_time_for_the_window_is_kept_exactly()
    {
        RunPlan plan = Plan(Seconds(4), Domain("a", speaks: true)) with { MeasureAfter = Seconds(0.333) };
        RunRecord record = Run(plan);
        Assert.Multiple(() =>
        {
            Assert.That(record.Baseline.At, Is.EqualTo(Seconds(0.333)));
            Assert.That(record.Final.At, Is.EqualTo(Seconds(4.333)));
        });
    }

    [Test]
    public void A_kernel_that_does_not_come_up_fails_the_run_with_its_last_words()
    {
        _machine.Created = domain => domain.Started = () => domain.Say("[    0.1] stuck here\n");
        RunRecord record = Run(Seconds(4), Domain("a", speaks: true));
        Assert.Multiple(() =>
        {
            Assert.That(record.Outcome, Is.EqualTo(RunOutcome.Failed));
            Assert.That(record.Failures.Single(), Does.Contain("a was not up").And.Contain("stuck here"));
            Assert.That(_pacer.Now, Is.EqualTo(Seconds(120)));
        });
    }

    [Test]
    public void The_run_ends_early_when_every_domain_has_shut_down()
    {
        _machine.Created = domain => domain.Started = () => _pacer.At(Seconds(domain.Id), () => domain.End(DomainPhase.Shutdown, "poweroff"));
        RunRecord record = Run(Nanoseconds.Never, Domain("a"), Domain("b"));
        Assert.Multiple(() =>
        {
            Assert.That(record.Outcome, Is.EqualTo(RunOutcome.Completed));
            Assert.That(record.Final.At.TotalSeconds, Is.EqualTo(2).Within(0.06));
            Assert.That(record.ExitReasons, Is.EqualTo(new[] { "poweroff", "poweroff" }));
        });
    }

    [Test]
    public void A_crash_fails_the_run_but_the_others_go_on_to_the_end()
    {
        _machine.Created = domain => domain.Started = domain.Id == 1 ? () => _pacer.At(Seconds(1), () => domain.End(DomainPhase.Crashed, "crash: #GP")) : null;
        RunRecord record = Run(Seconds(4), Domain("a"), Domain("b"));
        Assert.Multiple(() =>
        {
            Assert.That(record.Outcome, Is.EqualTo(RunOutcome.Failed));
            Assert.That(record.Failures.Single(), Does.Contain("a crashed").And.Contain("#GP"));
            Assert.That(record.Final.At, Is.EqualTo(Seconds(4)));
            Assert.That(record.CrashRegisters[0]!["rip"], Is.EqualTo("deadbeef"));
            Assert.That(record.Final.Domains[1].Running.TotalSeconds, Is.EqualTo(3.5).Within(0.06));
        });
    }

    [Test]
    public void A_wish_to_stop_ends_the_run_with_what_was_measured()
    {
        _pacer.At(Seconds(2), () => _pacer.IsStopped = true);
        RunRecord record = Run(Seconds(10), Domain("a"));
        Assert.Multiple(() =>
        {
            Assert.That(record.Outcome, Is.EqualTo(RunOutcome.Interrupted));
            Assert.That(record.Final.At, Is.EqualTo(Seconds(2)));
            Assert.That(_machine.Domains.Select(domain => domain.Phase), Is.All.EqualTo(DomainPhase.Destroyed));
        });
    }

    [Test]
    public void A_machine_that_fails_ends_the_run_at_once()
    {
        _pacer.At(Seconds(1), () => _machine.Failure = "a thread died");
        RunRecord record = Run(Seconds(10), Domain("a"));
        Assert.Multiple(() =>
        {
            Assert.That(record.Failures.Single(), Does.Contain("a thread died"));
            Assert.That(record.Final.At.TotalSeconds, Is.EqualTo(1).Within(0.06));
        });
    }

    [Test]
    public void An_ejected_scheduler_fails_the_run_and_is_named()
    {
        _machine.SchedulerEjected = "it threw";
        Assert.That(Run(Seconds(1), Domain("a")).Failures.Single(), Does.Contain("it threw"));
    }

    [Test]
    public void A_memory_policy_that_failed_fails_the_run_and_is_named()
    {
        _machine.MemoryPolicyFailure = "The memory policy Mine failed in Grant";
        Assert.That(Run(Seconds(1), Domain("a")).Failures.Single(), Does.Contain("Mine failed"));
    }

    [Test]
    public void A_blocked_domain_is_not_counted_on()
    {
        _machine.Created = domain => domain.Started = domain.Id == 1 ? domain.Block : null;
        Assert.That(Run(Seconds(4), Domain("a"), Domain("b")).Expected, Is.EqualTo(new[] { 0.0, 1.0 }).Within(1e-9));
    }

    [Test]
    public void A_domain_that_works_half_of_the_time_has_a_claim_in_that_half_only()
    {
        _machine.Created = domain => domain.Started = domain.Id == 1 ? () => _pacer.At(Seconds(2), domain.Block) : null;
        Assert.That(Run(Seconds(4), Domain("a"), Domain("b")).Expected, Is.EqualTo(new[] { 0.25, 0.75 }).Within(1e-9));
    }

    [Test]
    public void Progress_comes_at_its_interval_and_says_which_phase_it_is()
    {
        _machine.Created = domain => domain.Started = () => _pacer.At(Seconds(2), () => domain.Say("up\n"));
        List<RunProgress> reports = [];
        _ = new RunSession(_machine, Plan(Seconds(4), Domain("a", speaks: true)), _pacer, Seconds(1), reports.Add).Run();
        Assert.Multiple(() =>
        {
            Assert.That(reports, Has.Count.InRange(6, 7));
            Assert.That(reports[0].IsMeasuring, Is.False);
            Assert.That(reports[^1].IsMeasuring, Is.True);
            Assert.That(_machine.Windows, Is.EqualTo(1));
            Assert.That(reports[^1].Total, Is.EqualTo(Seconds(4)));
        });
    }

    private static Nanoseconds Seconds(double seconds) => Nanoseconds.FromSeconds(seconds);

    private static DomainPlan Domain(string name, bool speaks = false) => new()
    {
        Name = name,
        Group = name[0],
        Guest = "spin",
        Image = Image,
        MemoryBytes = 1 << 20,
        Weight = 256,
        SpeaksWhenUp = speaks,
    };

    private static RunPlan Plan(Nanoseconds duration, params DomainPlan[] domains) => new()
    {
        Domains = domains,
        Duration = duration,
        MeasureAfter = null,
        ReadyTimeout = Seconds(120),
    };

    private RunRecord Run(Nanoseconds duration, params DomainPlan[] domains) => Run(Plan(duration, domains));

    private RunRecord Run(RunPlan plan) => new RunSession(_machine, plan, _pacer, Seconds(1), null).Run();
}
