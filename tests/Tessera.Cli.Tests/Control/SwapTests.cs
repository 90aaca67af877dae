using System.Runtime.Loader;
using System.Text.Json;
using Tessera.Cli.Terminal;
using Tessera.Cli.Tests.Support;
using Tessera.Hosting.Tests;
using Tessera.Lab.Statistics;

namespace Tessera.Cli.Tests.Control;

/// <summary>Swaps of a running machine's scheduler: the old plugin leaves memory, a rebuilt DLL is the one that runs, and shares follow.</summary>
[NonParallelizable]
internal sealed class SwapTests
{
    private const int Swaps = 100;

    /// <summary>A whole scheduler: the runnable vCPU that ran least in relation to its weight; QUANTUM is what it lets one run.</summary>
    private const string Fair = """
        [Plugin("fair", PluginKind.Scheduler, "VERSION", DomainOptions = typeof(FairDomain))]
        public sealed class Fair : IScheduler
        {
            private readonly System.Collections.Generic.List<SchedulableVcpu> _ready = new();
            private readonly System.Collections.Generic.Dictionary<SchedulableVcpu, double> _spent = new();
            private ISchedulerMachine _machine = null!;
            public void Attach(ISchedulerMachine machine) => _machine = machine;
            public void Add(SchedulableVcpu vcpu, Nanoseconds now) { _spent[vcpu] = 0; vcpu.PolicyData = this; }
            public void Remove(SchedulableVcpu vcpu, Nanoseconds now) { _spent.Remove(vcpu); _ready.Remove(vcpu); }
            public void Wake(SchedulableVcpu vcpu, Nanoseconds now)
            {
                _ready.Add(vcpu);
                for (int pcpu = 0; pcpu < _machine.PcpuCount; pcpu++) _machine.RequestReschedule(new PcpuId(pcpu));
            }
            public void Sleep(SchedulableVcpu vcpu, Nanoseconds now) => _ready.Remove(vcpu);
            public void Yield(SchedulableVcpu vcpu, Nanoseconds now) { }
            public void Adjust(SchedulableVcpu vcpu, Nanoseconds now) { }
            public string Describe(SchedulableVcpu vcpu) => "VERSION";
            public Decision Schedule(in SchedulingPoint point)
            {
                if (point.Current is { } ran) _spent[ran] += (double)point.Ran.Value / ran.Domain.Weight;
                SchedulableVcpu? least = null;
                foreach (SchedulableVcpu vcpu in _ready)
                {
                    if (vcpu.State == RunState.Running && vcpu != point.Current) continue;
                    if (least is null || _spent[vcpu] < _spent[least]) least = vcpu;
                }
                return new Decision(least, Nanoseconds.FromMilliseconds(1));
            }
        }

        public sealed record FairDomain
        {
            [Option("Nothing.")] public bool Nothing { get; init; }
        }

        """;

    [Test]
    public void A_hundred_swaps_in_virtual_time_leave_no_old_plugin_in_memory()
    {
        using ControlledMachine machine = ControlledMachine.Simulate();
        HundredSwaps(machine);
        machine.End();
    }

    [Test]
    public void A_hundred_swaps_on_the_machine_leave_no_old_plugin_in_memory_and_the_guests_go_on()
    {
        using ControlledMachine machine = ControlledMachine.Run(Engines.FirstUsable);
        HundredSwaps(machine);
        JsonElement result = machine.End();
        Assert.That(result.GetProperty("domains").EnumerateArray().Select(domain => domain.GetProperty("state").GetString()), Is.All.EqualTo("destroyed"));
    }

    [TestCaseSource(typeof(Engines), nameof(Engines.Cases))]
    public void Shares_on_the_machine_follow_the_new_policy(string engine)
    {
        using ControlledMachine machine = ControlledMachine.Run(engine, "--scheduler", "round-robin");
        ExpectShares(machine, 1 / 3.0, 1 / 3.0, 1 / 3.0);
        machine.Do("swap-scheduler", "bvt");
        ExpectShares(machine, 1 / 7.0, 2 / 7.0, 4 / 7.0);
        machine.Do("set", "domain.one.weight=1024", "domain.two.weight=1024");
        ExpectShares(machine, 1 / 3.0, 1 / 3.0, 1 / 3.0);
        machine.End();
    }

    [Test]
    public void A_dll_that_is_built_anew_is_the_one_that_runs_after_the_next_swap()
    {
        using PluginForge forge = new();
        using ControlledMachine machine = ControlledMachine.Simulate();
        string path = Build(forge, "1.0.0");
        machine.Do("swap-scheduler", path);
        Build(forge, "1.1.0");
        machine.Do("swap-scheduler", path);
        Assert.That(machine.List().GetProperty("scheduler").GetString(), Is.EqualTo("fair 1.1.0"));
        forge.Plugin("Fair", Fair.Replace("VERSION", "1.2.0", StringComparison.Ordinal).Replace("_ready.Add(vcpu);", "throw new System.InvalidOperationException(\"edited\");", StringComparison.Ordinal));
        (int code, string _, string error) = machine.Ctl("swap-scheduler", path);
        Assert.That(code, Is.EqualTo(ExitCode.Failed));
        Assert.That(error, Does.Contain("fair 1.2.0").And.Contain("edited"));
        machine.End(ExitCode.Failed);
    }

    [Test]
    public void A_build_that_goes_wrong_later_on_the_machine_is_ejected_by_name_version_and_source_line_and_the_guests_go_on()
    {
        using PluginForge forge = new();
        string path = forge.Plugin("Fair", Fair.Replace("VERSION", "1.3.0", StringComparison.Ordinal).Replace(
            "SchedulableVcpu? least = null;", "SchedulableVcpu? least = null; if (++_decisions > 50) throw new System.InvalidOperationException(\"fifty are enough\");", StringComparison.Ordinal)
            .Replace("_machine = null!;", "_machine = null!; private int _decisions;", StringComparison.Ordinal));
        using ControlledMachine machine = ControlledMachine.Run(Engines.FirstUsable);
        machine.Do("swap-scheduler", path);
        Assert.That(SpinWait.SpinUntil(() => machine.List().GetProperty("ejected").ValueKind == JsonValueKind.String, Hang.Limit), "no ejection");
        Assert.That(SharesOfASecond(machine), Is.All.Positive);
        JsonElement result = machine.End(ExitCode.Failed);
        Assert.That(result.GetProperty("scheduler").GetProperty("ejected").GetString(), Does.Contain("fair 1.3.0").And.Contain("fifty are enough").And.Contain("Fair.cs:line"));
    }

    /// <summary>
    /// The shares of some second are these. A busy host takes time from whoever runs, which a policy that deals out turns cannot make good, so one second may
    /// be off; under the wrong policy or weights all are.
    /// </summary>
    private static void ExpectShares(ControlledMachine machine, params double[] expected)
    {
        double[] shares = [];
        for (int attempt = 0; attempt < 30; attempt++)
        {
            shares = SharesOfASecond(machine);
            if (shares.Zip(expected, (share, wanted) => Math.Abs(share - wanted)).All(error => error < 0.05))
                return;
        }

        Assert.That(shares, Is.EqualTo(expected).Within(0.05));
    }

    private static string Build(PluginForge forge, string version) => forge.Plugin("Fair", Fair.Replace("VERSION", version, StringComparison.Ordinal));

    private static void HundredSwaps(ControlledMachine machine)
    {
        using PluginForge forge = new();
        string path = Build(forge, "1.0.0");
        machine.Do("set", "domain.one.scheduler.warp=true");
        for (int warm = 0; warm < 10; warm++)
            machine.Do("swap-scheduler", path);
        machine.Do("set", "domain.*.scheduler.nothing=true");
        long before = Memory();
        double[] cpu = Cpu(machine);
        for (int swap = 0; swap < Swaps; swap++)
            machine.Do("swap-scheduler", path);

        // One is in charge; the others, and the configured one, are gone.
        for (int attempt = 0; attempt < 30 && (Loaded("Fair") > 1 || Loaded("Tessera.Plugins.Schedulers.Bvt") > 0); attempt++)
            Collect();
        Assert.Multiple(() =>
        {
            Assert.That(Loaded("Fair"), Is.EqualTo(1));
            Assert.That(Loaded("Tessera.Plugins.Schedulers.Bvt"), Is.Zero);
            Assert.That(Memory() - before, Is.LessThan(4 << 20), "bytes that a hundred swaps keep");
            Assert.That(Cpu(machine).Zip(cpu, (now, then) => now - then), Is.All.Positive, "CPU time of each domain meanwhile");
            Assert.That(machine.List().GetProperty("scheduler").GetString(), Is.EqualTo("fair 1.0.0"));
        });
    }

    private static int Loaded(string plugin) => AssemblyLoadContext.All.Count(context => context.Name == plugin);

    private static long Memory()
    {
        Collect();
        return GC.GetTotalMemory(forceFullCollection: true);
    }

    private static void Collect()
    {
        GC.Collect();
        GC.WaitForPendingFinalizers();
    }

    private static double[] Cpu(ControlledMachine machine) =>
        [.. machine.List().GetProperty("domains").EnumerateArray().Select(domain => domain.GetProperty("cpuSeconds").GetDouble())];

    /// <summary>The parts that the domains had of the next second of CPU time, by the machine's own accounts.</summary>
    private static double[] SharesOfASecond(ControlledMachine machine)
    {
        double[] from = Cpu(machine);
        double[] to = from;
        Assert.That(SpinWait.SpinUntil(() => (to = Cpu(machine)).Sum() - from.Sum() >= 1, Hang.Limit), "the domains get no CPU time");
        return [.. to.Zip(from, (late, early) => (late - early) / (to.Sum() - from.Sum()))];
    }
}
