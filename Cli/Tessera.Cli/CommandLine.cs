using System.CommandLine;
using System.CommandLine.Completions;
using System.CommandLine.Help;
using System.CommandLine.Parsing;
using Microsoft.Extensions.DependencyInjection;
using Tessera.Cli.Native;
using Tessera.Cli.Terminal;
using Tessera.Cli.Verbs;
using Tessera.Experiments;
using Tessera.Experiments.Configuration;
using Tessera.Experiments.Hosts;
using Tessera.Experiments.Planning;
using Tessera.GuestLibrary;
using Tessera.Hosting;
using Tessera.Images;
using Tessera.Kernel.Domains;
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
        try
        {
            RootCommand root = new("Tessera: unmodified Xen PV guests, on KVM or without it, every policy a plugin.");
            foreach (IVerb verb in services.GetServices<IVerb>())
                root.Subcommands.Add(verb.Build());
            ParseResult parsed = root.Parse(arguments, new ParserConfiguration { ResponseFileTokenReplacer = null });
            bool asksForWords = root.Directives.OfType<SuggestDirective>().Any(directive => parsed.GetResult(directive) is not null);
            if (!asksForWords && parsed.Action is not HelpAction && Misunderstood(parsed, host.Error))
                return ExitCode.Usage;
            int code = parsed.Invoke(new InvocationConfiguration
            {
                Output = host.Out,
                Error = host.Error,
                EnableDefaultExceptionHandler = false,
                ProcessTerminationTimeout = null,
            });
            if (code != ExitCode.Good || !host.OutIsGone())
                return code;
            host.Error.WriteLine("tessera: standard output was closed by its reader; the rest is not shown.");
            return ExitCode.Failed;
        }
        catch (Exception e)
        {
            return ExplainWhateverHappens(e, host, services);
        }
    }

    /// <summary>Says what is wrong with a command line, and what was probably meant.</summary>
    /// <returns>Whether anything is.</returns>
    private static bool Misunderstood(ParseResult parsed, TextWriter error)
    {
        // An unknown option is taken for an argument where one is wanted: that is never what was meant.
        string? option = parsed.CommandResult.Children.OfType<ArgumentResult>().SelectMany(argument => argument.Tokens).FirstOrDefault(token => token.Value.Length > 2 && token.Value.StartsWith("--", StringComparison.Ordinal))?.Value;
        if (parsed.Errors.Count == 0 && option is null)
            return false;
        string[] unknown = option is not null ? [option] : [.. parsed.UnmatchedTokens.Take(1)];
        foreach (string word in unknown)
        {
            string what = word.StartsWith('-') ? "option" : parsed.CommandResult.Command.Subcommands.Count > 0 ? "verb" : "argument";
            string[] known = [.. Words(parsed.CommandResult, word.StartsWith('-'))];
            string nearest = (Suggestion.Nearest(word, known) ?? Array.Find(known, name => name.StartsWith(word, StringComparison.Ordinal))) is { } near ? $" Did you mean {near}?" : "";
            error.WriteLine($"tessera: there is no {what} {word} {(parsed.CommandResult.Command is RootCommand ? "" : $"of {parsed.CommandResult.Command.Name} ")}here.{nearest}");
        }

        // What follows from an unknown word is not said beside it.
        foreach (ParseError problem in unknown.Length > 0 ? [] : parsed.Errors)
            error.WriteLine($"tessera: {problem.Message}");
        error.WriteLine(HelpHint);
        return true;
    }

    private static IEnumerable<string> Words(CommandResult result, bool options)
    {
        if (!options)
            return result.Command.Subcommands.Select(command => command.Name);
        IEnumerable<Option> inherited = result.Command.Parents.OfType<Command>().SelectMany(parent => parent.Options.Where(option => option.Recursive));
        return result.Command.Options.Concat(inherited).SelectMany(option => option.Aliases.Prepend(option.Name)).Where(name => name.StartsWith("--", StringComparison.Ordinal));
    }

    /// <summary>Explaining needs memory, files and descriptors too, and may fail for want of what failed before: the first cause is said in any case.</summary>
    private static int ExplainWhateverHappens(Exception exception, CliHost host, IServiceProvider services)
    {
        try
        {
            return Explain(exception, host, services);
        }
        catch (Exception)
        {
            host.Error.WriteLine("tessera: " + exception.Message);
            return ExitCode.Failed;
        }
    }

    private static int Explain(Exception exception, CliHost host, IServiceProvider services)
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
                if (services.GetRequiredService<EngineChoice>().IsKvm)
                    SayWhatWorks(host);
                return ExitCode.HostCannot;
            case GuestException { IsMisuse: true }:
                host.Error.WriteLine($"tessera: {exception.Message}");
                return ExitCode.Usage;
            case FailedException or GuestException:
                host.Error.WriteLine($"tessera: {exception.Message}");
                return ExitCode.Failed;
            case OutputException output:
                host.Error.WriteLine($"tessera: {output.Message}");
                return ExitCode.Failed;
            case IOException io when OpenFiles.AreExhausted(io):
                host.Error.WriteLine($"tessera: {OpenFiles.Exhausted}");
                return ExitCode.HostCannot;
            case IOException or UnauthorizedAccessException:
                // A full disk, a closed pipe, a file without rights: the message says which.
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

    /// <summary>Where KVM was wanted and cannot be used: what helps, and what can be done without it.</summary>
    private static void SayWhatWorks(CliHost host)
    {
        KvmState state = KvmPresence.Of(host);
        if (state is KvmState.Forbidden)
            host.Error.WriteLine($"tessera: {KvmPresence.Cure(state, KvmPresence.Device(host))}");
        foreach (string line in state is KvmState.Usable ? [KvmPresence.Instead] : KvmPresence.Without)
            host.Error.WriteLine($"tessera: {line}");
    }
}
