using System.CommandLine;
using System.CommandLine.Help;
using System.CommandLine.Parsing;
using Microsoft.Extensions.DependencyInjection;
using Tessera.Cli.Composition;
using Tessera.Cli.Configuration;
using Tessera.Cli.Guests;
using Tessera.Cli.Verbs;
using Tessera.Hosting;
using Tessera.Images;
using Tessera.Kernel.Building;
using Tessera.Lab.Folders;
using Tessera.Lab.Reports;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Devices;

namespace Tessera.Cli;

/// <summary>The command line from its arguments to its exit code: every failure ends as a sentence on standard error.</summary>
internal static class CommandLine
{
    private const string HelpHint = "`tessera --help` and `tessera VERB --help` show what there is.";

    /// <summary>Runs one command.</summary>
    /// <param name="arguments">The arguments.</param>
    /// <param name="host">The process, or a test's.</param>
    /// <param name="replace">Registers a test's parts over the real ones.</param>
    public static int Run(string[] arguments, CliHost host, Action<IServiceCollection>? replace = null)
    {
        ServiceCollection collection = new();
        collection.AddCli(host);
        replace?.Invoke(collection);
        using ServiceProvider services = collection.BuildServiceProvider();
        RootCommand root = new("Tessera: unmodified Xen PV guests over KVM, every policy a plugin.");
        foreach (IVerb verb in services.GetServices<IVerb>())
            root.Subcommands.Add(verb.Build());
        ParseResult parsed = root.Parse(arguments, new ParserConfiguration { ResponseFileTokenReplacer = null });
        if (parsed.Errors.Count > 0 && parsed.Action is not HelpAction)
        {
            foreach (ParseError error in parsed.Errors)
                host.Error.WriteLine($"tessera: {error.Message}");
            host.Error.WriteLine(HelpHint);
            return ExitCode.Usage;
        }

        try
        {
            return parsed.Invoke(new InvocationConfiguration
            {
                Output = host.Out,
                Error = host.Error,
                EnableDefaultExceptionHandler = false,
                ProcessTerminationTimeout = null,
            });
        }
        catch (Exception e)
        {
            return Explain(e, host);
        }
    }

    private static int Explain(Exception exception, CliHost host)
    {
        switch (exception)
        {
            case ConfigurationException configuration:
                foreach (ConfigurationError error in configuration.Errors)
                    host.Error.WriteLine(error);
                host.Error.WriteLine($"tessera: {configuration.Errors.Count} {(configuration.Errors.Count == 1 ? "thing is" : "things are")} wrong with the configuration; nothing was started.");
                return ExitCode.Usage;
            case UsageException or PluginException or ImageException or DomainBuildException or BackendException or FolderException:
                host.Error.WriteLine($"tessera: {exception.Message}");
                return ExitCode.Usage;
            case ReportException report:
                host.Error.WriteLine($"tessera: {report.Message}");
                return report.IsHostsFault ? ExitCode.HostCannot : ExitCode.Usage;
            case EngineException:
                host.Error.WriteLine($"tessera: {exception.Message}");
                return ExitCode.HostCannot;
            case FailedException or GuestException:
                host.Error.WriteLine($"tessera: {exception.Message}");
                return ExitCode.Failed;
            case OperationCanceledException:
                host.Error.WriteLine("tessera: interrupted.");
                return ExitCode.Failed;
            default:
                host.Error.WriteLine($"tessera: this should not have happened; please report it with the lines below.{Environment.NewLine}{exception}");
                return ExitCode.Failed;
        }
    }
}
