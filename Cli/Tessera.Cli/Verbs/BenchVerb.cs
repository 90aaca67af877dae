using System.CommandLine;
using System.Globalization;
using System.Text;
using System.Text.Json;
using Spectre.Console;
using Tessera.Cli.Bench;
using Tessera.Cli.Terminal;
using Tessera.Experiments.Configuration;
using Tessera.Experiments.Hosts;
using Tessera.Experiments.Machines;
using Tessera.Experiments.Planning;
using Tessera.Kernel.Domains;
using Tessera.Kernel.Machines;
using Tessera.Sdk;
using Tessera.Sdk.Cpu;

namespace Tessera.Cli.Verbs;

/// <summary>`tessera bench density`: what a hundred domains at once cost on this host.</summary>
internal sealed class BenchVerb(CliHost host, ExperimentPlanner planner, KernelMachineFactory machines, HostResources resources) : IVerb
{
    private const int DefaultDomains = 100;
    private const int DefaultPairs = 20;
    private const double DefaultWindowSeconds = 1;
    private const double DefaultLatencySeconds = 10;
    private const int DefaultAllowanceMilliseconds = 5;

    /// <inheritdoc/>
    public Command Build()
    {
        Option<bool> json = CommonOptions.Json("the result");
        Option<int> domains = new("--domains") { Description = "Domains in the crowd.", HelpName = "N", DefaultValueFactory = _ => DefaultDomains };
        Option<int> pairs = new("--pairs") { Description = "Pairs of windows.", HelpName = "N", DefaultValueFactory = _ => DefaultPairs };
        Option<double?> window = CommonOptions.Seconds("Length of one window; 1 s by default.");
        Option<string?> engine = CommonOptions.Engine();
        Option<Nanoseconds> allowance = CommonOptions.Time("--allowance", "BVT's context-switch allowance; 5 ms by default.");
        foreach (Option<int> count in new[] { domains, pairs })
        {
            count.Validators.Add(result =>
            {
                if (result.GetValueOrDefault<int>() < 1)
                    result.AddError($"{count.Name}: at least 1.");
            });
        }

        Command density = new("density", "The work of many CPU-bound domains against one alone, by alternating windows; time lost; wake latency beside them.") { json, domains, pairs, window, allowance, engine };
        density.SetAction(parsed => Density(
            new DensityPlan(
                parsed.GetValue(domains),
                parsed.GetValue(pairs),
                Nanoseconds.FromSeconds(parsed.GetValue(window) ?? DefaultWindowSeconds),
                Nanoseconds.FromSeconds(DefaultLatencySeconds),
                parsed.GetResult(allowance) is null ? Nanoseconds.FromMilliseconds(DefaultAllowanceMilliseconds) : parsed.GetValue(allowance)),
            parsed.GetValue(json),
            parsed.GetValue(engine)));
        Option<bool> cpuJson = CommonOptions.Json("the result");
        Option<int> cpuPairs = new("--pairs") { Description = "Pairs of windows.", HelpName = "N", DefaultValueFactory = _ => DefaultPairs };
        Option<double?> cpuWindow = CommonOptions.Seconds("Length of one window; 1 s by default.");
        Option<string?> cpuEngine = CommonOptions.Engine();
        Command cpu = new("cpu", "CPU-bound guest code against the same code on the host, by alternating windows on one host CPU.") { cpuJson, cpuPairs, cpuWindow, cpuEngine };
        cpu.SetAction(parsed => Cpu(
            Math.Max(1, parsed.GetValue(cpuPairs)), Nanoseconds.FromSeconds(parsed.GetValue(cpuWindow) ?? DefaultWindowSeconds), parsed.GetValue(cpuJson), parsed.GetValue(cpuEngine)));
        return new Command("bench", "Measure this host.") { density, cpu };
    }

    private int Density(DensityPlan plan, bool json, string? engineName)
    {
        byte[] text = Encoding.UTF8.GetBytes(DensityBench.Configuration(plan).ToJsonString());
        Experiment experiment = ConfigurationLoader.ParseCommandLine(text, Environment.CurrentDirectory, resources, scheduler: null, engineName);
        using PreparedExperiment prepared = planner.Prepare(experiment);
        (Machine machine, ICpuEngine engine) = machines.Assemble(prepared);
        using (engine)
        using (machine)
        {
            Domain[] domains = [.. prepared.Plan.Domains.Select(domain => machine.CreateDomain(KernelMachineFactory.ConfigurationOf(domain)))];
            DensityResult? result = DensityBench.Run(domains, machine, plan, length => host.Pacer.WaitUntil(host.Pacer.Now + length), Progress);
            if (result is null)
            {
                host.Error.WriteLine("tessera: interrupted; nothing to report.");
                return ExitCode.Failed;
            }

            if (json)
                host.Out.WriteLine(JsonSerializer.Serialize(result, DensityJson.Context.DensityResult));
            else
                Show(result);
            return ExitCode.Good;
        }
    }

    private int Cpu(int pairs, Nanoseconds window, bool json, string? engineName)
    {
        byte[] text = Encoding.UTF8.GetBytes(CpuBench.Configuration().ToJsonString());
        Experiment experiment = ConfigurationLoader.ParseCommandLine(text, Environment.CurrentDirectory, resources, scheduler: null, engineName);
        using PreparedExperiment prepared = planner.Prepare(experiment);
        (Machine machine, ICpuEngine engine) = machines.Assemble(prepared);
        using (engine)
        using (machine)
        {
            Domain domain = machine.CreateDomain(KernelMachineFactory.ConfigurationOf(prepared.Plan.Domains[0]));
            using CpuBench bench = new(machine, domain, engine, experiment.Machine.HostCpus[0]);
            CpuResult? result = bench.Run(pairs, window, length => host.Pacer.WaitUntil(host.Pacer.Now + length), Progress);
            if (result is null)
            {
                host.Error.WriteLine("tessera: interrupted; nothing to report.");
                return ExitCode.Failed;
            }

            if (json)
            {
                host.Out.WriteLine(JsonSerializer.Serialize(result, DensityJson.Context.CpuResult));
            }
            else
            {
                Progress("done");
                host.Error.WriteLine();
                host.OutConsole.WriteLine(
                    $"guest over host: {Ratio(result.WorkRatio.Median)}, 95 % interval {Ratio(result.WorkRatio.Low)} to {Ratio(result.WorkRatio.High)}, {pairs} pairs of {window}");
            }

            return ExitCode.Good;
        }
    }

    private void Progress(string step)
    {
        if (host.ErrorIsTerminal)
            host.Error.Write($"\r\u001b[Ktessera: {step}");
    }

    private void Show(DensityResult result)
    {
        if (host.ErrorIsTerminal)
            host.Error.Write("\r\u001b[K");
        IAnsiConsole console = host.OutConsole;
        Table table = new Table().Border(TableBorder.Simple).AddColumns($"{result.Domains} domains of spin on one pCPU", "", "");
        table.AddRow("work over one alone", Ratio(result.WorkRatio.Median), $"95 % interval {Ratio(result.WorkRatio.Low)} to {Ratio(result.WorkRatio.High)}, {result.WorkRatio.Ratios.Count} pairs of {result.WindowSeconds:0.##} s");
        table.AddRow("pCPU time not in guests", Percent(result.TimeNotInGuests.CrowdMean), $"worst window {Percent(result.TimeNotInGuests.CrowdMax)}; one alone {Percent(result.TimeNotInGuests.AloneMean)}");
        table.AddRow("beat, p99 late", Milliseconds(result.BeatWithoutWarp.P99), $"without warp; median {Milliseconds(result.BeatWithoutWarp.P50)}, {result.BeatWithoutWarp.Count} wakes");
        table.AddRow("beat, p99 late", Milliseconds(result.BeatWithWarp.P99), $"with warp; median {Milliseconds(result.BeatWithWarp.P50)}, {result.BeatWithWarp.Count} wakes");
        console.Write(table);
    }

    private static string Ratio(double value) => value.ToString("0.0000", CultureInfo.InvariantCulture);

    private static string Percent(double value) => (value * 100).ToString("0.00", CultureInfo.InvariantCulture) + " %";

    private static string Milliseconds(long nanoseconds) => (nanoseconds / 1e6).ToString("0.000", CultureInfo.InvariantCulture) + " ms";
}
