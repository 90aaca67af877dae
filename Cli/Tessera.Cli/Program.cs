using Tessera.Cli;
using Tessera.Cli.Native;
using Tessera.Cli.Terminal;
using CliHost host = CliHost.OfProcess();
// Said first of all: later there might not even be a file left to say it with.
return OpenFiles.AreEnough(host.Error) ? CommandLine.Run(args, host) : ExitCode.HostCannot;
