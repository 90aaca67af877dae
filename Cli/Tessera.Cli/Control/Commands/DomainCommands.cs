using System.CommandLine;
using System.Text.Json;
using System.Text.Json.Nodes;
using Tessera.Experiments.Runs;

namespace Tessera.Cli.Control.Commands;

/// <summary>`ctl pause DOMAIN`: holds domains until they are resumed.</summary>
internal sealed class PauseCommand() : DomainCommand("pause", "Hold domains; their time stands still until they are resumed.", "paused")
{
    protected override bool Suits(DomainPhase phase) => phase is DomainPhase.Running or DomainPhase.Blocked;

    protected override string Needed => "only a running domain can be paused";

    protected override void Do(IRunDomain domain) => domain.Pause();
}

/// <summary>`ctl resume DOMAIN`: lets paused domains go on.</summary>
internal sealed class ResumeCommand() : DomainCommand("resume", "Let paused domains go on.", "resumed")
{
    protected override bool Suits(DomainPhase phase) => phase is DomainPhase.Paused;

    protected override string Needed => "only a paused domain can be resumed";

    protected override void Do(IRunDomain domain) => domain.Resume();
}

/// <summary>`ctl destroy DOMAIN`: ends domains for good.</summary>
internal sealed class DestroyCommand() : DomainCommand("destroy", "End domains for good and free their memory.", "destroyed")
{
    protected override ControlEffect Effect => ControlEffect.Ends;

    protected override bool Suits(DomainPhase phase) => phase is not DomainPhase.Destroyed;

    protected override string Needed => "it is gone already";

    protected override void Do(IRunDomain domain) => domain.Destroy();
}

/// <summary>What is done to whole domains, one or more by name.</summary>
internal abstract class DomainCommand(string name, string description, string done) : IControlCommand
{
    private const string Domains = "domains";

    /// <inheritdoc/>
    public string Name => name;

    /// <summary>What a domain in another state is told.</summary>
    protected abstract string Needed { get; }

    /// <summary>Whether it can be undone.</summary>
    protected virtual ControlEffect Effect => ControlEffect.Changes;

    /// <inheritdoc/>
    public Command Build(ControlClient client)
    {
        Argument<string[]> names = new("domain") { Description = "Names of domains, or \"*\" for all that can be.", Arity = ArgumentArity.OneOrMore };
        Command command = new(name, description) { names };
        if (Effect is ControlEffect.Ends)
            command.Options.Add(ControlClient.Yes());
        command.SetAction(parsed => client.Ask(
            parsed, name, new JsonObject { [Domains] = new JsonArray([.. parsed.GetRequiredValue(names).Select(value => JsonValue.Create(value))]) }, effect: Effect));
        return command;
    }

    /// <inheritdoc/>
    public ControlAnswer Run(ControlDesk desk, JsonElement arguments)
    {
        IReadOnlyList<string> names = ControlArguments.Texts(arguments, Domains);
        if (names.Count == 0)
            throw new ControlException(ControlCode.BadRequest, $"The argument \"{Domains}\" names no domain.");
        return desk.Do(run => Run(run, names));
    }

    /// <summary>Whether it can be done to a domain in this state.</summary>
    protected abstract bool Suits(DomainPhase phase);

    /// <summary>Does it.</summary>
    protected abstract void Do(IRunDomain domain);

    private ControlAnswer Run(ControlledRun run, IReadOnlyList<string> names)
    {
        List<int> chosen = [];
        foreach (string named in names)
        {
            foreach (int index in run.Find(named))
            {
                if (Suits(run.Domains[index].Phase))
                    chosen.Add(index);
                else if (named != "*")
                    throw new ControlException(ControlCode.WrongState, $"Domain {named} is {run.Domains[index].Phase.Word()}: {Needed}.");
            }
        }

        foreach (int index in chosen.Distinct())
        {
            Do(run.Domains[index]);
            run.Note(name, $"domain {run.Plans[index].Name}: {done}");
        }

        string[] all = [.. chosen.Distinct().Select(index => run.Plans[index].Name)];
        return new ControlAnswer(all.Length == 0 ? $"No domain was {done}: {Needed}." : $"{string.Join(", ", all)}: {done}.", new JsonObject { [Domains] = new JsonArray([.. all.Select(value => JsonValue.Create(value))]) });
    }
}
