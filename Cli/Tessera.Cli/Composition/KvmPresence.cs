namespace Tessera.Cli.Composition;

/// <summary>Whether this host has the device that the default engine needs.</summary>
internal static class KvmPresence
{
    /// <summary>The engine that needs it.</summary>
    public const string Engine = "kvm";

    /// <summary>The device's path.</summary>
    public static string Device(CliHost host) => host.Environment("TESSERA_KVM_DEVICE") is { Length: > 0 } path ? path : "/dev/kvm";

    /// <summary>Whether it is there.</summary>
    public static bool Exists(CliHost host) => File.Exists(Device(host));
}
