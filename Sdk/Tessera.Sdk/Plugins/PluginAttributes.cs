namespace Tessera.Sdk.Plugins;

/// <summary>The kinds of plugin, each with the contract its class implements.</summary>
public enum PluginKind
{
    /// <summary><see cref="Scheduling.IScheduler"/>.</summary>
    Scheduler,

    /// <summary><see cref="Cpu.ICpuEngine"/>.</summary>
    CpuEngine,

    /// <summary><see cref="Memory.IMmuVirtualization"/>.</summary>
    Mmu,

    /// <summary><see cref="Memory.IMemoryPolicy"/>.</summary>
    MemoryPolicy,

    /// <summary><see cref="Devices.IBlockBackend"/>.</summary>
    BlockBackend,

    /// <summary><see cref="Devices.INetworkBackend"/>.</summary>
    NetworkBackend,
}

/// <summary>
/// Marks the one class of an assembly that is a plugin. Its constructor takes its options record and whatever services it
/// needs; dependency injection calls it.
/// </summary>
/// <param name="name">The name configurations use: lower case, digits and dashes.</param>
/// <param name="kind">What it is.</param>
/// <param name="version">Its own version, SemVer.</param>
[AttributeUsage(AttributeTargets.Class)]
public sealed class PluginAttribute(string name, PluginKind kind, string version) : Attribute
{
    /// <summary>The name configurations use.</summary>
    public string Name { get; } = name;

    /// <summary>What it is.</summary>
    public PluginKind Kind { get; } = kind;

    /// <summary>Its own version, SemVer.</summary>
    public string Version { get; } = version;

    /// <summary>One sentence for `tessera plugins list`.</summary>
    public string Summary { get; set; } = "";

    /// <summary>A device backend whose far end is not part of the machine: a network of the host, a server. What comes from there cannot be repeated in virtual time.</summary>
    public bool ReachesOutside { get; set; }

    /// <summary>The options record the constructor takes: init properties, each with an <see cref="OptionAttribute"/>; null when there are none.</summary>
    public Type? Options { get; set; }

    /// <summary>The record of per-domain options (schedulers), built the same way; null when there are none.</summary>
    public Type? DomainOptions { get; set; }
}

/// <summary>
/// Describes one option: an init property of type bool, int, long, ulong, double, string, an enum, <see cref="Nanoseconds"/> (written
/// "5 ms", "250us", "1.5 s"), <see cref="ByteSize"/> ("256 MiB"), <see cref="Devices.MacAddress"/> ("00:16:3e:00:00:01"),
/// <see cref="System.Net.IPAddress"/> or <see cref="DateTimeOffset"/>. The property's initial value is the default.
/// </summary>
/// <param name="summary">What it does, one sentence.</param>
[AttributeUsage(AttributeTargets.Property)]
public sealed class OptionAttribute(string summary) : Attribute
{
    /// <summary>What it does.</summary>
    public string Summary { get; } = summary;

    /// <summary>A string is a file's path: a relative one counts from the folder of the configuration that it stands in.</summary>
    public bool IsPath { get; set; }

    /// <summary>The least value allowed, written as in a configuration; null for no bound.</summary>
    public string? Min { get; set; }

    /// <summary>The greatest value allowed, written as in a configuration; null for no bound.</summary>
    public string? Max { get; set; }
}

/// <summary>A size in bytes, written "256 MiB" in configurations.</summary>
/// <param name="Bytes">The bytes.</param>
public readonly record struct ByteSize(long Bytes)
{
    /// <summary>The size in the largest binary unit that divides it.</summary>
    public override string ToString() => Bytes switch
    {
        >= 1L << 30 when Bytes % (1L << 30) == 0 => $"{Bytes >> 30} GiB",
        >= 1L << 20 when Bytes % (1L << 20) == 0 => $"{Bytes >> 20} MiB",
        >= 1L << 10 when Bytes % (1L << 10) == 0 => $"{Bytes >> 10} KiB",
        _ => $"{Bytes} B",
    };
}

/// <summary>Stamped on the SDK assembly and compared at load: a plugin built against another major version is refused.</summary>
public static class SdkVersion
{
    /// <summary>Grows with every breaking change of a contract.</summary>
    public const int Major = 2;

    /// <summary>Grows with every addition.</summary>
    public const int Minor = 0;
}
