using System.Diagnostics;
using Tessera.Plugins.Schedulers.RoundRobin;
using Tessera.Sdk;
using Tessera.Sdk.Scheduling;
using Tessera.Sdk.Scheduling.Core;

namespace Tessera.Kernel.Tests;

/// <summary>A scheduler that goes wrong on real guests: it is thrown out by name, the guests go on, and nothing of the machine stays behind.</summary>
[TestFixtureSource(typeof(Engines), nameof(Engines.Each))]
internal sealed class FailingSchedulers(string engine)
{
    private const int GoodDecisions = 50;

    [TestCase(Failure.Throws, EjectionReason.Threw)]
    [TestCase(Failure.Nonsense, EjectionReason.Nonsense)]
    [TestCase(Failure.Blocks, EjectionReason.Hung)]
    [TestCase(Failure.Dawdles, EjectionReason.TooSlow)]
    public void A_failing_scheduler_is_ejected_and_the_guests_go_on(Failure failure, EjectionReason expected)
    {
        FailingScheduler scheduler = new(failure);
        using TestMachine test = TestMachine.Start(engine, scheduler);
        Domain first = test.Run("spin");
        Domain second = test.Run("spin");
        Assert.That(test.WaitFor(() => test.Machine.Accounts.Snapshot().Ejections.Count > 0, Hang.Limit), "no ejection");
        Ejection ejection = test.Machine.Accounts.Snapshot().Ejections[0];
        Assert.Multiple(() =>
        {
            Assert.That(ejection.Reason, Is.EqualTo(expected));
            Assert.That(ejection.Policy, Is.EqualTo(nameof(FailingScheduler)));
            Assert.That(ejection.Evidence, Is.Not.Empty);
        });
        (ulong one, ulong two) before = (TestMachine.ReportOf(first).Units, TestMachine.ReportOf(second).Units);
        test.WaitForUnits(first, before.one + 1000);
        test.WaitForUnits(second, before.two + 1000);
        Assert.That(test.Machine.Accounts.Snapshot().SchedulerName, Is.EqualTo("round-robin"));
        scheduler.End();
    }

    [Test]
    public void A_starved_vcpu_gets_its_scheduler_ejected()
    {
        using TestMachine test = TestMachine.Start(engine, new FailingScheduler(Failure.Starves), starvationLimit: Nanoseconds.FromSeconds(1));
        Domain fed = test.Run("spin");
        Domain starved = test.Run("spin");
        test.WaitForUnits(fed, 1);
        test.WaitForUnits(starved, 1000);
        Assert.That(test.Machine.Accounts.Snapshot().Ejections.Select(ejection => ejection.Reason), Is.EqualTo(new[] { EjectionReason.Starved }));
    }

    [Test]
    public void A_disposed_machine_leaves_no_thread_and_no_virtual_machine()
    {
        using (TestMachine warmUp = TestMachine.Start(engine))
            warmUp.WaitForUnits(warmUp.Run("spin"), 1);
        int before = VirtualMachines();
        using (TestMachine test = TestMachine.Start(engine, new FailingScheduler(Failure.Throws)))
        {
            Domain domain = test.Run("spin");
            Assert.That(test.WaitFor(() => test.Machine.Accounts.Snapshot().Ejections.Count > 0, Hang.Limit));
            test.WaitForUnits(domain, 1);
            Assert.That(VirtualMachines(), Is.GreaterThan(before));
            Assert.That(PhysicalCpuThreads(), Is.GreaterThan(0));
        }

        Assert.That(VirtualMachines(), Is.EqualTo(before));
        // A joined thread stays in the kernel's list for a moment.
        Assert.That(SpinWait.SpinUntil(() => PhysicalCpuThreads() == 0, Hang.Limit), "a physical CPU's thread lives on");
    }

    /// <summary>What an engine keeps for machines: descriptors of KVM's, mappings of translated code.</summary>
    private int VirtualMachines() => engine == Engines.Kvm
        ? Directory.GetFiles("/proc/self/fd").Count(file => StillThere(() => File.ResolveLinkTarget(file, returnFinalTarget: false)?.FullName)?.Contains("kvm-v", StringComparison.Ordinal) == true)
        : File.ReadLines("/proc/self/maps").Count(line => line.Contains("memfd:tessera-code", StringComparison.Ordinal));

    private static int PhysicalCpuThreads() =>
        Directory.GetDirectories("/proc/self/task").Count(task => StillThere(() => File.ReadAllText(Path.Combine(task, "comm")))?.StartsWith("tessera p", StringComparison.Ordinal) == true);

    /// <summary>What a file of the process list says; null if it went after it was listed.</summary>
    private static string? StillThere(Func<string?> read)
    {
        try
        {
            return read();
        }
        catch (IOException)
        {
            return null;
        }
    }

    /// <summary>How it fails after some good decisions.</summary>
    public enum Failure
    {
        Throws,
        Nonsense,
        Blocks,
        Starves,
        Dawdles,
    }

    private sealed class FailingScheduler(Failure failure) : WrappedScheduler(new RoundRobinScheduler(new RoundRobinOptions()))
    {
        private readonly ManualResetEventSlim _released = new();
        private readonly List<SchedulableVcpu> _known = [];
        private ISchedulerMachine _machine = null!;
        private volatile Thread? _stuck;
        private int _decisions;

        /// <summary>Ends a blocked decision, if there is one, and waits for the end of its thread.</summary>
        public void End()
        {
            _released.Set();
            Assert.That(_stuck?.Join(Hang.Limit), Is.Not.False, "the thread that was given up does not end");
        }

        public override void Attach(ISchedulerMachine machine)
        {
            _machine = machine;
            base.Attach(machine);
        }

        public override void Wake(SchedulableVcpu vcpu, Nanoseconds now)
        {
            if (failure == Failure.Starves)
                _machine.RequestReschedule(new PcpuId(0));
            else
                base.Wake(vcpu, now);
        }

        public override Decision Schedule(in SchedulingPoint point)
        {
            if (failure == Failure.Starves)
                return _known.Count > 0 && _known[0].State == RunState.Runnable ? new Decision(_known[0], Nanoseconds.FromMilliseconds(10)) : Decision.Idle;
            if (_known.Count == 0 || ++_decisions < GoodDecisions)
                return base.Schedule(point);
            switch (failure)
            {
                case Failure.Throws:
                    throw new InvalidOperationException("a bug in the policy");
                case Failure.Nonsense:
                    return new Decision(new SchedulableVcpu(new SchedulableDomain(new DomainId(999))), Nanoseconds.FromMilliseconds(1));
                case Failure.Blocks:
                    _stuck = Thread.CurrentThread;
                    _released.Wait();
                    return Decision.Idle;
                case Failure.Dawdles:
                    // Over the budget of 100 ms, far from the second that counts as a hang.
                    long since = Stopwatch.GetTimestamp();
                    while (Stopwatch.GetElapsedTime(since) < TimeSpan.FromMilliseconds(150))
                        Thread.SpinWait(100);
                    return base.Schedule(point);
                default:
                    return base.Schedule(point);
            }
        }

        protected override void Before(SchedulerCall call, SchedulableVcpu? vcpu)
        {
            if (call == SchedulerCall.Add)
                _known.Add(vcpu!);
        }
    }
}
