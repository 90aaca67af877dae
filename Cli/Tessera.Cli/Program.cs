using Tessera.Cli;

using CliHost host = CliHost.OfProcess();
return CommandLine.Run(args, host);
