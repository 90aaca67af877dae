using Microsoft.Extensions.DependencyInjection;
using Tessera.Cli.Control;
using Tessera.Cli.Terminal;
using Tessera.Cli.Tests.Support;
using Tessera.Experiments.Configuration;
using Tessera.Experiments.Hosts;
using Tessera.Experiments.Machines;
using Tessera.Experiments.Planning;
using Tessera.Experiments.Runs;
using Tessera.Hosting;
using Tessera.Sdk;
using Tessera.Sdk.Plugins;
using Tessera.Sdk.Scheduling;

namespace Tessera.Cli.Tests.Control;

/// <summary>A swap at an instant of virtual time: what the second after it gives to whom.</summary>
internal sealed class VirtualSwapTests
{
    [Test]
    public void The_second_after_a_swap_is_shared_as_the_new_policy_shares()
    {
        using CliHost host = new() { Out = TextWriter.Null, Error = TextWriter.Null, RawOut = Stream.Null, Input = new NoInput(), Environment = name => name == "TESSERA_PLUGINS" ? Repository.Plugins : null };
        using ServiceProvider services = new ServiceCollection().AddCli(host).BuildServiceProvider();
        Experiment experiment = ConfigurationLoader.Load(Repository.Sample("quickstart.json"), [], new HostResources([0], new ByteSize(4L << 30)), "round-robin");
        using PreparedExperiment prepared = services.GetRequiredService<ExperimentPlanner>().Prepare(experiment);
        using IRunMachine machine = services.GetRequiredService<SimulatedMachineFactory>().Create(prepared, new SimulationSettings());
        SwapAtFive control = new(prepared, services);
        RunRecord record = new RunSession(machine, prepared.Plan, (IRunPacer)machine, Nanoseconds.FromSeconds(5), null, control).Run();
        Assert.Multiple(() =>
        {
            Assert.That(control.SharesFrom(0, 1), Is.EqualTo(new[] { 1 / 3.0, 1 / 3.0, 1 / 3.0 }).Within(0.02));
            Assert.That(control.SharesFrom(1, 2), Is.EqualTo(new[] { 1 / 7.0, 2 / 7.0, 4 / 7.0 }).Within(0.02));
            Assert.That(record.Changes.Single(), Is.EqualTo(new RunChange(Nanoseconds.FromSeconds(5), "ctl", "swap-scheduler", "scheduler round-robin 1.0.0 → bvt 1.0.0")));
        });
    }

    /// <summary>Swaps at five seconds and reads at four, five and six.</summary>
    private sealed class SwapAtFive(PreparedExperiment prepared, IServiceProvider services) : IRunControl
    {
        private readonly List<MachineReading> _readings = [];
        private ControlledRun? _run;

        public IReadOnlyList<RunChange> Changes => _run!.Changes;

        public void Offer(IReadOnlyList<ConsoleFan> consoles)
        {
        }

        public void Serve(IRunMachine machine, IReadOnlyList<IRunDomain> domains, Action before)
        {
            _run ??= new ControlledRun(prepared, machine, domains, []);
            if (_readings.Count >= 3 || machine.Now < Nanoseconds.FromSeconds(4 + _readings.Count))
                return;
            _readings.Add(machine.Read());
            if (_readings.Count != 2)
                return;
            before();
            ChosenPlugin bvt = new(services.GetRequiredService<PluginCatalog>().Load("bvt", PluginKind.Scheduler), null);
            Assert.That(_run.Swap(bvt, bvt.Create<IScheduler>(services), new object?[domains.Count]), Is.Null);
        }

        public void End()
        {
        }

        public double[] SharesFrom(int first, int last) =>
        [
            .. _readings[first].Domains.Zip(_readings[last].Domains, (before, after) =>
                (after.Running - before.Running).TotalSeconds / (_readings[last].At - _readings[first].At).TotalSeconds),
        ];
    }

    private sealed class NoInput : IInputSource
    {
        public int Read(Span<byte> buffer, TimeSpan wait) => 0;
    }
}
