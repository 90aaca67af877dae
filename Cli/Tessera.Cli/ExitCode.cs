namespace Tessera.Cli;

/// <summary>What the process answers with.</summary>
internal static class ExitCode
{
    /// <summary>Everything went well.</summary>
    public const int Good = 0;

    /// <summary>The run failed or was interrupted: a domain crashed, time ran out, a signal came.</summary>
    public const int Failed = 1;

    /// <summary>Bad usage or configuration.</summary>
    public const int Usage = 2;

    /// <summary>This host cannot: no /dev/kvm, no rights to it, a missing capability.</summary>
    public const int HostCannot = 3;
}

/// <summary>The command line asks for something that cannot be; ends with <see cref="ExitCode.Usage"/>.</summary>
internal sealed class UsageException(string message) : Exception(message);

/// <summary>The command was understood and went wrong; ends with <see cref="ExitCode.Failed"/>.</summary>
internal sealed class FailedException(string message) : Exception(message);
