using System.CommandLine;

namespace Tessera.Cli.Verbs;

/// <summary>One verb of the command line. Each is one file; <see cref="CliServices"/> lists them.</summary>
internal interface IVerb
{
    /// <summary>The verb with its arguments, options and action.</summary>
    Command Build();
}
