using Microsoft.Extensions.DependencyInjection;
using Tessera.Cli.Configuration;
using Tessera.Cli.Control;
using Tessera.Cli.Control.Commands;
using Tessera.Cli.Guests;
using Tessera.Cli.Verbs;
using Tessera.Hosting;

namespace Tessera.Cli.Composition;

/// <summary>The composition root: what there is, and who gets it. Tests replace parts by registering after these.</summary>
internal static class CliServices
{
    /// <summary>Registers everything.</summary>
    public static IServiceCollection AddCli(this IServiceCollection services, CliHost host) => services
        .AddSingleton(host)
        .AddSingleton(TimeProvider.System)
        .AddSingleton(_ => new PluginCatalog(PluginFolders.Default(environment: host.Environment)))
        .AddSingleton(_ => HostResources.Read())
        .AddSingleton(_ => new GuestLibrary(GuestLibrary.DefaultFolder(host.Environment)))
        .AddSingleton<GuestSources>()
        .AddSingleton<EngineChoice>()
        .AddSingleton<ExperimentPlanner>()
        .AddSingleton<KernelMachineFactory>()
        .AddSingleton<IMachineFactory>(provider => provider.GetRequiredService<KernelMachineFactory>())
        .AddSingleton<SimulatedMachineFactory>()
        .AddSingleton<Runs.IHostDelay, Runs.HostDelay>()
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
        .AddSingleton<Comparisons.ComparisonRunner>()
        .AddSingleton<CompareCommand>()
        .AddSingleton<PluginCheckCommand>()
        .AddSingleton<IVerb, DoctorVerb>()
        .AddSingleton<IVerb, GuestVerb>()
        .AddSingleton<IVerb, BootVerb>()
        .AddSingleton<IVerb, RunVerb>()
        .AddSingleton<IVerb, SimulateVerb>()
        .AddSingleton<IVerb, CompareVerb>()
        .AddSingleton<IVerb, ReportVerb>()
        .AddSingleton<IVerb, CtlVerb>()
        .AddSingleton<IVerb, PluginsVerb>()
        .AddSingleton<IVerb, BenchVerb>()
        .AddSingleton<IVerb, HelpVerb>();
}
