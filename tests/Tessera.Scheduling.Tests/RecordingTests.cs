using Tessera.Sdk;
using Tessera.Sdk.Scheduling;
using Tessera.Sdk.Scheduling.Core;
using Tessera.Sdk.Simulation;

namespace Tessera.Scheduling.Tests;

public sealed class RecordingTests
{
    private static readonly Nanoseconds Ms = Nanoseconds.FromMilliseconds(1);

    [Test]
    public void A_recording_says_who_ran_when_and_agrees_with_the_accounts()
    {
        VirtualMachine machine = new(Policies.Named("bvt"), pcpus: 2);
        SchedulableVcpu[] vcpus =
        [
            machine.Start(1, new CpuBoundWorkload()),
            machine.Start(2, new CpuBoundWorkload(), weight: 512),
            machine.Start(3, new CpuBoundWorkload()),
            machine.Start(4, new PeriodicWorkload(Ms, Nanoseconds.FromMilliseconds(7))),
        ];
        machine.RunUntil(Nanoseconds.FromSeconds(1));
        Nanoseconds[] before = [.. vcpus.Select(vcpu => machine.Core.AccountOf(vcpu, machine.Now).CpuTime)];
        machine.Core.StartRecording(100_000, machine.Now);
        machine.RunUntil(Nanoseconds.FromSeconds(3));
        ScheduleLog log = machine.Core.StopRecording(machine.Now)!;
        Assert.That(log.CutAt, Is.Null);
        Assert.That(log.End - log.Start, Is.EqualTo(Nanoseconds.FromSeconds(2)));
        Dictionary<VcpuId, Nanoseconds> ran = RunTimes(log, pcpus: 2);
        for (int index = 0; index < vcpus.Length; index++)
            Assert.That(ran[vcpus[index].Id], Is.EqualTo(machine.Core.AccountOf(vcpus[index], machine.Now).CpuTime - before[index]), vcpus[index].ToString());
        Assert.That(log.Entries.ToArray().Count(entry => entry.Kind == ScheduleEventKind.Wake && entry.At > log.Start), Is.EqualTo(286).Within(1));
    }

    [Test]
    public void Every_kind_of_event_is_told_with_its_reason()
    {
        VirtualMachine machine = new(Policies.RoundRobin());
        SchedulerCore core = machine.Core;
        PcpuId p0 = new(0);
        SchedulableVcpu one = machine.Start(1, new CpuBoundWorkload());
        SchedulableVcpu two = machine.Start(2, new CpuBoundWorkload());
        core.StartRecording(100, Ms);
        SchedulableVcpu first = core.Schedule(p0, Ms).Vcpu!;
        SchedulableVcpu second = first == one ? two : one;
        core.Schedule(p0, At(50));
        core.Sleep(second, At(51));
        core.Schedule(p0, At(51));
        core.Pause(first, At(52));
        core.Schedule(p0, At(52));
        core.Wake(second, At(53));
        core.Resume(first, At(53));
        core.Schedule(p0, At(54));
        core.SwapPolicy(Policies.RoundRobin(), "again", null, At(55));
        core.Remove(first, At(56));
        ScheduleLog log = core.StopRecording(At(57))!;
        Assert.That(
            log.Entries.ToArray().Where(entry => entry.At > Ms).Select(entry => $"{entry.At.Value / 1_000_000} {entry.Kind} {entry.Before}"),
            Is.EqualTo(new[] { "50 Run Preempted", "51 Sleep None", "51 Run Slept", "52 Pause None", "52 Idle Paused", "53 Wake None", "53 Resume None", "54 Run None", "55 Policy None", "56 Remove None" }));
        Assert.That(core.StopRecording(At(58)), Is.Null);

        static Nanoseconds At(long ms) => Nanoseconds.FromMilliseconds(ms);
    }

    [Test]
    public void A_full_recording_says_where_it_was_cut_and_keeps_what_came_before()
    {
        VirtualMachine machine = new(Policies.RoundRobin());
        machine.Start(1, new CpuBoundWorkload());
        machine.Start(2, new CpuBoundWorkload());
        machine.Core.StartRecording(10, machine.Now);
        machine.RunUntil(Nanoseconds.FromSeconds(1));
        ScheduleLog log = machine.Core.StopRecording(machine.Now)!;
        Assert.That(log.Entries.Length, Is.EqualTo(10));
        Assert.That(log.CutAt, Is.GreaterThan(log.Entries[^1].At).And.LessThan(machine.Now));
    }

    [Test]
    public void Recording_allocates_nothing_once_it_runs()
    {
        SchedulerCore core = new(Policies.RoundRobin(), "round-robin", Policies.RoundRobin, new() { PcpuCount = 1 }, new Deaf());
        SchedulableVcpu vcpu = new(new SchedulableDomain(new DomainId(1)));
        core.Add(vcpu, Nanoseconds.Zero);
        core.StartRecording(200_000, Nanoseconds.Zero);
        long now = 0;
        Work();
        Assert.That(Allocations.LeastOf(Work), Is.Zero);
        Assert.That(core.StopRecording(new(now))!.Entries.Length, Is.EqualTo(120_001));

        void Work()
        {
            for (int round = 0; round < 5_000; round++)
            {
                core.Wake(vcpu, new(++now));
                core.Schedule(new PcpuId(0), new(++now));
                core.Sleep(vcpu, new(++now));
                core.Schedule(new PcpuId(0), new(++now));
            }
        }
    }

    [Test]
    public void Decisions_are_counted_anew_when_a_window_begins()
    {
        VirtualMachine machine = new(Policies.RoundRobin());
        machine.Start(1, new CpuBoundWorkload());
        machine.Start(2, new CpuBoundWorkload());
        machine.RunUntil(Nanoseconds.FromSeconds(1));
        Assert.That(machine.Core.Decisions.Decisions, Is.GreaterThan(50));
        machine.Core.BeginWindow();
        Assert.That(machine.Core.Decisions, Is.EqualTo(new DecisionAccount(0, default)));
        machine.RunUntil(Nanoseconds.FromMilliseconds(1_100));
        Assert.That(machine.Core.Decisions.Decisions, Is.InRange(5, 20));
    }

    [Test]
    public void Each_policy_has_its_own_decisions_and_one_that_comes_back_goes_on()
    {
        VirtualMachine machine = new(Policies.RoundRobin(), new VirtualMachineOptions { PolicyName = "first" });
        machine.Start(1, new CpuBoundWorkload());
        machine.Start(2, new CpuBoundWorkload());
        machine.RunUntil(Nanoseconds.FromMilliseconds(95));
        machine.Core.SwapPolicy(Policies.Stride(), "second", null, machine.Now);
        machine.RunUntil(Nanoseconds.FromMilliseconds(200));
        machine.Core.SwapPolicy(Policies.RoundRobin(), "first", null, machine.Now);
        machine.RunUntil(Nanoseconds.FromMilliseconds(300));
        IReadOnlyList<PolicyDecisions> rows = machine.Core.DecisionsByPolicy;
        Assert.That(rows.Select(static row => row.Policy), Is.EqualTo(new[] { "second", "first" }));
        Assert.That(rows[1].Account.Decisions, Is.InRange(18, 24));
        Assert.That(rows[0].Account.Decisions, Is.InRange(9, 13));
        Assert.That(machine.Core.Decisions.Decisions, Is.EqualTo(rows.Sum(static row => row.Account.Decisions)));
        machine.Core.BeginWindow();
        Assert.That(machine.Core.DecisionsByPolicy.Single(), Is.EqualTo(new PolicyDecisions("first", new(0, default))));
    }

    [Test]
    public void A_wake_that_was_noticed_late_counts_from_its_deadline_and_not_from_before_its_sleep()
    {
        HandMachine machine = new(Policies.RoundRobin(), 1);
        SchedulableVcpu vcpu = machine.Start(1);
        machine.Settle();
        machine.Core.StartRecording(100, machine.Now);
        Sleep(at: 10);
        machine.Jump(Nanoseconds.FromMilliseconds(10));
        machine.Core.Wake(vcpu, machine.Now, due: Nanoseconds.FromMilliseconds(17));
        machine.Settle();
        Assert.That(machine.Core.AccountOf(vcpu).WakeLatency.Max, Is.EqualTo(Nanoseconds.FromMilliseconds(3)));
        Sleep(at: 30);
        machine.Core.Wake(vcpu, machine.Now, due: Nanoseconds.FromMilliseconds(5));
        machine.Settle();
        LatencySummary latency = machine.Core.AccountOf(vcpu).WakeLatency;
        Assert.That((latency.Count, latency.Max), Is.EqualTo((3L, Nanoseconds.FromMilliseconds(3))), "its start is the third");
        ScheduleLog log = machine.Core.StopRecording(machine.Now)!;
        Assert.That(log.Entries.ToArray().Where(static entry => entry.Kind == ScheduleEventKind.Wake).Skip(1).Select(static entry => entry.LateNs), Is.EqualTo(new[] { 3_000_000, 0 }));
        machine.Core.BeginWindow();
        Assert.That(machine.Core.AccountOf(vcpu).WakeLatency, Is.EqualTo(default(LatencySummary)), "what came before the window");

        void Sleep(int at)
        {
            machine.Jump(Nanoseconds.FromMilliseconds(at) - machine.Now);
            machine.Core.Sleep(vcpu, machine.Now);
            machine.Decide(0);
        }
    }

    private static Dictionary<VcpuId, Nanoseconds> RunTimes(ScheduleLog log, int pcpus)
    {
        Dictionary<VcpuId, Nanoseconds> ran = [];
        (VcpuId Vcpu, Nanoseconds Since, bool Busy)[] on = new (VcpuId, Nanoseconds, bool)[pcpus];
        foreach (ScheduleEntry entry in log.Entries)
        {
            if (entry.Kind is not (ScheduleEventKind.Run or ScheduleEventKind.Idle))
                continue;
            Close(entry.Pcpu, entry.At);
            on[entry.Pcpu] = (entry.Vcpu, entry.At, entry.Kind == ScheduleEventKind.Run);
        }

        for (int pcpu = 0; pcpu < pcpus; pcpu++)
            Close(pcpu, log.End);
        return ran;

        void Close(int pcpu, Nanoseconds at)
        {
            if (on[pcpu].Busy)
                ran[on[pcpu].Vcpu] = ran.GetValueOrDefault(on[pcpu].Vcpu) + (at - on[pcpu].Since);
        }
    }

    private sealed class Deaf : ISchedulerHost
    {
        public void Kick(PcpuId pcpu)
        {
        }

        public void Shorten(PcpuId pcpu, Nanoseconds until)
        {
        }

        public void PolicyEjected(Ejection ejection)
        {
        }
    }
}
