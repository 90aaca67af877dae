using System.CommandLine;
using System.Globalization;
using System.Text.Json.Nodes;
using Tessera.Cli.Composition;
using Tessera.Cli.Configuration;
using Tessera.Cli.Runs;
using Tessera.Hosting;
using Tessera.Sdk;
using Tessera.Sdk.Plugins;

namespace Tessera.Cli.Verbs;

/// <summary>`tessera boot`: one domain, its console on the terminal both ways.</summary>
internal sealed class BootVerb(CliHost host, ExperimentPlanner planner, IMachineFactory machines, HostResources resources) : IVerb
{
    /// <inheritdoc/>
    public Command Build()
    {
        Argument<string> target = new("kernel-or-guest") { Description = "A guest's name (`tessera guest list`), a bzImage, or an ELF file." };
        Option<string?> initrd = new("--initrd") { Description = "The initial RAM disk; for a guest, in place of its own.", HelpName = "FILE" };
        Option<string?> cmdline = new("--cmdline") { Description = "The kernel's command line; for a guest, added to its own.", HelpName = "TEXT" };
        Option<string?> memory = CommonOptions.Memory();
        Option<double?> seconds = CommonOptions.Seconds("End the domain after this long, with exit code 1.");
        Option<string?> scheduler = CommonOptions.Scheduler();
        Command boot = new("boot", "Boot one domain with its console on this terminal. Ctrl-] leaves.") { target, initrd, cmdline, memory, seconds, scheduler };
        boot.SetAction(parsed => Boot(
            Configuration(parsed.GetRequiredValue(target), parsed.GetValue(initrd), parsed.GetValue(cmdline), parsed.GetValue(memory), parsed.GetValue(scheduler)),
            parsed.GetValue(seconds) is { } limit ? Nanoseconds.FromSeconds(limit) : Nanoseconds.Never));
        return boot;
    }

    private int Boot(Experiment experiment, Nanoseconds limit)
    {
        using PreparedExperiment prepared = planner.Prepare(experiment, machines.Begin);
        using IRunMachine machine = machines.Create(prepared);
        using BootSession session = new(host, machine, prepared.Plan.Domains[0]);
        BootEnd end = session.Run(limit);
        session.Dispose();
        switch (end)
        {
            case BootEnd.Shutdown:
                host.Error.WriteLine($"tessera: the domain ended: {session.Domain.ExitReason}");
                return ExitCode.Good;
            case BootEnd.Left:
                host.Error.WriteLine("tessera: left; the domain is destroyed.");
                return ExitCode.Good;
            case BootEnd.TimeOut:
                host.Error.WriteLine($"tessera: the domain was still running after {limit.TotalSeconds.ToString(CultureInfo.InvariantCulture)} s.");
                return ExitCode.Failed;
            case BootEnd.Interrupted:
                host.Error.WriteLine("tessera: interrupted; the domain is destroyed.");
                return ExitCode.Failed;
            case BootEnd.MachineFailed:
                host.Error.WriteLine($"tessera: the machine failed: {machine.Failure}");
                return ExitCode.Failed;
            default:
                ReportCrash(session.Domain);
                return ExitCode.Failed;
        }
    }

    private void ReportCrash(IRunDomain domain)
    {
        host.Error.WriteLine($"tessera: the domain crashed. {domain.ExitReason}");
        foreach (KeyValuePair<string, string>[] line in (domain.CrashRegisters ?? new Dictionary<string, string>()).Chunk(4))
            host.Error.WriteLine("  " + string.Join("  ", line.Select(register => $"{register.Key,-7} {register.Value}")));
    }

    /// <summary>The command line as a configuration with one domain, so that both go through the same checks.</summary>
    private Experiment Configuration(string target, string? initrd, string? cmdline, string? memory, string? scheduler)
    {
        bool isFile = File.Exists(target) || target.Contains(Path.DirectorySeparatorChar, StringComparison.Ordinal);
        JsonObject domain = new()
        {
            [ConfigurationKeys.Name] = "guest",
            [isFile ? ConfigurationKeys.Kernel : ConfigurationKeys.Guest] = target,
        };
        if (initrd is not null)
            domain[ConfigurationKeys.Initrd] = initrd;
        if (cmdline is not null)
            domain[ConfigurationKeys.Cmdline] = cmdline;
        if (memory is not null && ByteSizeText.TryParse(memory, out ByteSize size))
            domain[ConfigurationKeys.Memory] = size.ToString();
        JsonObject document = new()
        {
            [ConfigurationKeys.Machine] = new JsonObject { [ConfigurationKeys.Pcpus] = 1 },
            [ConfigurationKeys.Domains] = new JsonArray(domain),
        };
        byte[] text = System.Text.Encoding.UTF8.GetBytes(document.ToJsonString());
        return ConfigurationLoader.ParseCommandLine(text, Environment.CurrentDirectory, resources, scheduler);
    }
}
