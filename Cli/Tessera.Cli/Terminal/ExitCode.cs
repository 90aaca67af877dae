namespace Tessera.Cli.Terminal;

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
