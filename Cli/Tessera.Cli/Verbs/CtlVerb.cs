using System.CommandLine;
using Tessera.Cli.Control;

namespace Tessera.Cli.Verbs;

/// <summary>`tessera ctl`: looks at a running machine and changes it. Its commands are the <see cref="IControlCommand"/>s.</summary>
internal sealed class CtlVerb(ControlClient client, IEnumerable<IControlCommand> commands) : IVerb
{
    /// <inheritdoc/>
    public Command Build()
    {
        Command ctl = new("ctl", "Look at a machine that runs with --control, and change it while its guests go on.") { client.Socket, client.Json };
        foreach (IControlCommand command in commands)
            ctl.Subcommands.Add(command.Build(client));
        return ctl;
    }
}
