using System.CommandLine;
using Tessera.Cli.Terminal;
using Tessera.Experiments;
using Tessera.Hosting;

namespace Tessera.Cli.Verbs;

/// <summary>`tessera help [VERB…]`: what `tessera VERB --help` shows.</summary>
internal sealed class HelpVerb(CliHost host) : IVerb
{
    /// <inheritdoc/>
    public Command Build()
    {
        Argument<string[]> words = new("verb") { Description = "The verb, and the one below it.", Arity = ArgumentArity.ZeroOrMore };
        Command help = new("help", "Show what there is, or how a verb is used.") { words };
        help.SetAction(parsed =>
        {
            Command command = parsed.RootCommandResult.Command;
            List<string> path = [];
            foreach (string word in parsed.GetValue(words) ?? [])
            {
                command = command.Subcommands.FirstOrDefault(each => each.Name == word)
                    ?? throw new UsageException($"There is no verb {string.Join(' ', [.. path, word])}.{(Suggestion.Nearest(word, command.Subcommands.Select(each => each.Name)) is { } near ? $" Did you mean {near}?" : "")} `tessera help` shows those there are.");
                path.Add(word);
            }

            return parsed.RootCommandResult.Command.Parse([.. path, "--help"]).Invoke(new InvocationConfiguration { Output = host.Out, Error = host.Error, EnableDefaultExceptionHandler = false });
        });
        return help;
    }
}
