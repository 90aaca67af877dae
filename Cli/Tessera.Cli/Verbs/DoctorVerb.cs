using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using System.Text.Json.Serialization;
using Spectre.Console;
using Tessera.Cli.Native;
using Tessera.Cli.Terminal;
using Tessera.Experiments.Configuration;
using Tessera.Experiments.Hosts;
using Tessera.Experiments.Planning;
using Tessera.Experiments.Results;
using Tessera.Hosting;
using Tessera.Kernel.FastPath;
using Tessera.Lab;
using Tessera.Lab.Results;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Plugins;

namespace Tessera.Cli.Verbs;

/// <summary>`tessera doctor`: what this host can do, what was probed, which strategy was chosen, and what each kind of trap costs.</summary>
internal sealed class DoctorVerb(CliHost host, PluginCatalog catalog, EngineChoice engines, IServiceProvider services) : IVerb
{
    /// <inheritdoc/>
    public Command Build()
    {
        Option<bool> json = CommonOptions.Json("the findings");
        Option<string?> engine = CommonOptions.Engine();
        Command doctor = new("doctor", "Show what this host can do, what was probed, the strategy chosen, and the cost of each kind of trap.") { json, engine };
        doctor.SetAction(parsed => Examine(engines.Resolve(parsed.GetValue(engine) ?? MachineSettings.Auto), parsed.GetValue(json)));
        return doctor;
    }

    private int Examine(string name, bool json)
    {
        using LoadedPlugin plugin = catalog.Load(name, PluginKind.CpuEngine);
        KvmReport kvm = KvmReport.Of(host);
        ICpuEngine created;
        try
        {
            created = plugin.Create<ICpuEngine>(null, services);
        }
        catch (EngineException cannot) when (json || (engines.IsKvm && KvmPresence.Of(host) is not KvmState.Usable))
        {
            return ExplainWithoutEngine(cannot, kvm, json);
        }

        using ICpuEngine engine = created;
        IReadOnlyList<TrapCost> costs = engine is ITrapCostMeter meter ? meter.MeasureTrapCosts() : [];
        DoctorReport report = new(
            DoctorReport.Format,
            HostFactsReader.Read(),
            kvm,
            null,
            ResultBuilder.Engine(engine.Facts),
            FastPathReport.Of(FastPathSupport.Of(engine.Facts)),
            [.. costs.Select(cost => new TrapCostReport(cost.Trap, cost.MedianNs, cost.MinNs, cost.Samples))],
            ProcessHardening.Describe(host.Environment(ProcessHardening.Variable)));
        if (json)
            host.Out.WriteLine(JsonSerializer.Serialize(report, DoctorJson.Context.DoctorReport));
        else
            Show(report);
        return ExitCode.Good;
    }

    /// <summary>What there is to say where the engine cannot be: which kind of machine this is, what helps, and what works all the same.</summary>
    private int ExplainWithoutEngine(EngineException cannot, KvmReport kvm, bool json)
    {
        DoctorReport report = new(DoctorReport.Format, HostFactsReader.Read(), kvm, cannot.Message, null, null, [], ProcessHardening.Describe(host.Environment(ProcessHardening.Variable)));
        if (json)
        {
            host.Out.WriteLine(JsonSerializer.Serialize(report, DoctorJson.Context.DoctorReport));
            return ExitCode.HostCannot;
        }

        host.OutConsole.WriteLine(Line(report.Host));
        host.OutConsole.WriteLine($"KVM: {kvm.Summary}.", new Style(decoration: Decoration.Bold));
        host.Error.WriteLine($"tessera: {cannot.Message}");
        if (kvm.Cure.Length > 0)
            host.Error.WriteLine($"tessera: {kvm.Cure}");
        foreach (string line in kvm.Without)
            host.OutConsole.WriteLine(line);
        return ExitCode.HostCannot;
    }

    private static string Line(HostFacts facts) => $"{facts.Cpu}, {facts.Cpus} {(facts.Cpus == 1 ? "CPU" : "CPUs")}, {facts.MemoryBytes >> 20} MiB, Linux {facts.Kernel}, {facts.Runtime}";

    private void Show(DoctorReport report)
    {
        IAnsiConsole console = host.OutConsole;
        console.WriteLine(Line(report.Host));
        console.WriteLine($"KVM: {report.Kvm.Summary}.", new Style(decoration: Decoration.Bold));
        if (report.Kvm.Cure.Length > 0)
            console.WriteLine(report.Kvm.Cure);
        console.WriteLine($"Engine: {report.Engine!.Name}", new Style(decoration: Decoration.Bold));
        console.WriteLine($"Strategy: {report.Engine.Strategy}");
        console.WriteLine($"Fast paths: {report.FastPaths!.State}: {report.FastPaths.Reason}.");
        console.WriteLine($"Hardening: {report.Hardening}.");
        Table findings = new Table().Border(TableBorder.Simple);
        findings.AddColumns("probed", "found", "so");
        foreach (EngineFindingReport finding in report.Engine.Findings)
            findings.AddRow(new Text(finding.Probe), new Text(finding.Finding), new Text(finding.Consequence));
        console.Write(findings);
        if (report.TrapCosts.Count == 0)
            return;
        Table costs = new Table().Border(TableBorder.Simple);
        costs.AddColumns(new TableColumn("trap"), new TableColumn("median").RightAligned(), new TableColumn("least").RightAligned(), new TableColumn("samples").RightAligned());
        foreach (TrapCostReport cost in report.TrapCosts)
            costs.AddRow(new Text(cost.Trap), new Text(Microseconds(cost.MedianNs)), new Text(Microseconds(cost.MinNs)), new Text(cost.Samples.ToString(CultureInfo.InvariantCulture)));
        console.Write(costs);
    }

    private static string Microseconds(double nanoseconds) => (nanoseconds / 1e3).ToString("0.00", CultureInfo.InvariantCulture) + " µs";
}

/// <summary>What `doctor --json` writes.</summary>
/// <param name="Schema">Always <see cref="Format"/>.</param>
/// <param name="Host">The host.</param>
/// <param name="Kvm">Which kind of machine this is.</param>
/// <param name="Problem">Why the engine cannot be used; null where it can.</param>
/// <param name="Engine">The engine and its probes; null where it cannot be used.</param>
/// <param name="FastPaths">Whether hypercalls are answered inside the guest here; null where the engine cannot be used.</param>
/// <param name="TrapCosts">What each kind of trap costs here and now; empty for engines that cannot measure it.</param>
/// <param name="Hardening">What a run gives up here (docs/security.md).</param>
internal sealed record DoctorReport(
    string Schema, HostFacts Host, KvmReport Kvm, string? Problem, EngineReport? Engine, FastPathReport? FastPaths, IReadOnlyList<TrapCostReport> TrapCosts, string Hardening)
{
    /// <summary>The format's name and number.</summary>
    public const string Format = "tessera.doctor/1";
}

/// <summary>Whether fast paths are on here.</summary>
/// <param name="State">"on" or "off", for domains with one vCPU and a configuration that does not forbid them.</param>
/// <param name="Reason">Why.</param>
internal sealed record FastPathReport(string State, string Reason)
{
    /// <summary>The report of a host.</summary>
    public static FastPathReport Of(FastPathSupport support) => new(support.Exists ? "on" : "off", support.Reason);
}

/// <summary>Whether KVM can be used here.</summary>
/// <param name="Device">The device's path.</param>
/// <param name="State">"usable", "forbidden" (there, and not for this user) or "missing".</param>
/// <param name="Cure">What helps; empty where it can be used.</param>
/// <param name="Without">What works all the same; empty where it can be used.</param>
internal sealed record KvmReport(string Device, string State, string Cure, IReadOnlyList<string> Without)
{
    /// <summary>In words.</summary>
    [JsonIgnore]
    public string Summary => State switch
    {
        "usable" => $"{Device} can be used",
        "forbidden" => $"{Device} is there, and this user may not use it",
        _ => $"there is no {Device} that answers",
    };

    /// <summary>The report of this process's host.</summary>
    public static KvmReport Of(CliHost host)
    {
        KvmState state = KvmPresence.Of(host);
        string device = KvmPresence.Device(host);
        return new KvmReport(device, state.ToString().ToLowerInvariant(), KvmPresence.Cure(state, device), state is KvmState.Usable ? [] : KvmPresence.Without);
    }
}

/// <summary>The cost of one kind of trap.</summary>
/// <param name="Trap">Which.</param>
/// <param name="MedianNs">Median, ns.</param>
/// <param name="MinNs">The cheapest, ns.</param>
/// <param name="Samples">How many were measured.</param>
internal sealed record TrapCostReport(string Trap, double MedianNs, double MinNs, int Samples);

/// <summary>Serialisation of <see cref="DoctorReport"/>.</summary>
[JsonSourceGenerationOptions(WriteIndented = true, PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase)]
[JsonSerializable(typeof(DoctorReport))]
internal sealed partial class DoctorJson : JsonSerializerContext
{
    public static DoctorJson Context { get; } = new(JsonForm.Options());
}
