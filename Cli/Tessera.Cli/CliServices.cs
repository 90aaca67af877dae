using Microsoft.Extensions.DependencyInjection;
using Tessera.Cli.Control;
using Tessera.Cli.Control.Commands;
using Tessera.Cli.Terminal;
using Tessera.Cli.Verbs;
using Tessera.Experiments.Comparisons;
using Tessera.Experiments.Hosts;
using Tessera.Experiments.Machines;
using Tessera.Experiments.Planning;
using Tessera.Experiments.Sweeps;
using Tessera.GuestLibrary;
using Tessera.Hosting;

namespace Tessera.Cli;

/// <summary>The composition root: what there is, and who gets it. Tests replace parts by registering after these.</summary>
internal static class CliServices
{
    /// <summary>Registers everything.</summary>
    public static IServiceCollection AddCli(this IServiceCollection services, CliHost host) => services
        .AddSingleton(host)
        .AddSingleton<IExperimentHost>(host)
        .AddSingleton(TimeProvider.System)
        .AddSingleton(_ => new PluginCatalog(PluginFolders.Default(environment: host.Environment)))
        .AddSingleton(_ => HostResources.Read())
        .AddSingleton(_ => new Library(Library.DefaultFolder(host.Environment)))
        .AddSingleton<GuestSources>()
        .AddSingleton<EngineChoice>()
        .AddSingleton<ExperimentPlanner>()
        .AddSingleton<KernelMachineFactory>()
        .AddSingleton<IMachineFactory>(provider => provider.GetRequiredService<KernelMachineFactory>())
        .AddSingleton<SimulatedMachineFactory>()
        .AddSingleton<IHostDelay, HostDelay>()
        .AddSingleton<RunControlFactory>()
        .AddSingleton<ControlClient>()
        .AddSingleton<IControlCommand, ListCommand>()
        .AddSingleton<IControlCommand, AboutCommand>()
        .AddSingleton<IControlCommand, ConsoleCommand>()
        .AddSingleton<IControlCommand, SwapSchedulerCommand>()
        .AddSingleton<IControlCommand, SetCommand>()
        .AddSingleton<IControlCommand, PauseCommand>()
        .AddSingleton<IControlCommand, ResumeCommand>()
        .AddSingleton<IControlCommand, DestroyCommand>()
        .AddSingleton<IControlCommand, AttachDiskCommand>()
        .AddSingleton<IControlCommand, GrowDiskCommand>()
        .AddSingleton<IControlCommand, DetachDiskCommand>()
        .AddSingleton<IControlCommand, AttachNicCommand>()
        .AddSingleton<IControlCommand, DetachNicCommand>()
        .AddSingleton<RunCommand>()
        .AddSingleton<ComparisonRunner>()
        .AddSingleton<ComparisonDesigner>()
        .AddSingleton<Calibration>()
        .AddSingleton<SimulatorCosts>()
        .AddSingleton<ComparisonOutput>()
        .AddSingleton<CompareCommand>()
        .AddSingleton<SweepPlanner>()
        .AddSingleton<CellMaker>()
        .AddSingleton<SweepCommand>()
        .AddSingleton<SweepRunCommand>()
        .AddSingleton<SweepSubmitCommand>()
        .AddSingleton<PluginCheckCommand>()
        .AddSingleton<IVerb, DoctorVerb>()
        .AddSingleton<IVerb, GuestVerb>()
        .AddSingleton<IVerb, BootVerb>()
        .AddSingleton<IVerb, RunVerb>()
        .AddSingleton<IVerb, SimulateVerb>()
        .AddSingleton<IVerb, CompareVerb>()
        .AddSingleton<IVerb, SweepVerb>()
        .AddSingleton<IVerb, ReportVerb>()
        .AddSingleton<IVerb, ExportVerb>()
        .AddSingleton<IVerb, CtlVerb>()
        .AddSingleton<IVerb, PluginsVerb>()
        .AddSingleton<IVerb, BenchVerb>()
        .AddSingleton<IVerb, HelpVerb>();
}
