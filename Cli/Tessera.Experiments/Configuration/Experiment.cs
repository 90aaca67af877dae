using System.Net;
using Tessera.Kernel.FastPath;
using Tessera.Kernel.Machines;
using Tessera.Kernel.Time;
using Tessera.Sdk;
using Tessera.Sdk.Devices;
using Tessera.Sdk.Plugins;

namespace Tessera.Experiments.Configuration;

/// <summary>
/// A configuration as read: every value of the right kind (its default where what was written is wrong), plugins and guests not yet
/// looked up.
/// </summary>
public sealed record Experiment
{
    /// <summary>The document it was read from; positions for later errors.</summary>
    public required ConfigurationNode Document { get; init; }

    /// <summary>What is wrong so far; looking plugins and guests up adds to it, and nothing runs unless it is empty.</summary>
    public required IReadOnlyList<ConfigurationError> Errors { get; init; }

    /// <summary>The folder that relative paths start from.</summary>
    public required string BaseDirectory { get; init; }

    /// <summary>The machine.</summary>
    public required MachineSettings Machine { get; init; }

    /// <summary>The scheduler.</summary>
    public required PluginChoice Scheduler { get; init; }

    /// <summary>The domains as written, counts not yet expanded.</summary>
    public required IReadOnlyList<DomainSettings> Domains { get; init; }

    /// <summary>How long shares are measured; <see cref="Nanoseconds.Never"/> means until every domain has ended.</summary>
    public required Nanoseconds Duration { get; init; }

    /// <summary>When measuring begins, counted from the machine's start; null means when every domain is up.</summary>
    public required Nanoseconds? MeasureAfter { get; init; }

    /// <summary>How long to wait until every domain is up.</summary>
    public required Nanoseconds ReadyTimeout { get; init; }
}

/// <summary>A plugin by name or path, with its options as written.</summary>
/// <param name="Name">The name, or a path when it ends in .dll (made absolute).</param>
/// <param name="Options">The options object, or null when there is none.</param>
/// <param name="Path">The JSON path of the name.</param>
/// <param name="OptionsPath">The JSON path of the options, whether written or not.</param>
public sealed record PluginChoice(string Name, ConfigurationNode? Options, string Path, string OptionsPath);

/// <summary>`machine`.</summary>
public sealed record MachineSettings
{
    /// <summary>The CPU engine.</summary>
    public required PluginChoice Engine { get; init; }

    /// <summary>The engine was left to this host, and <see cref="Engine"/> is what it came to.</summary>
    public bool IsEngineChosen { get; init; }

    /// <summary>The MMU virtualization.</summary>
    public required PluginChoice Mmu { get; init; }

    /// <summary>The memory policy.</summary>
    public required PluginChoice MemoryPolicy { get; init; }

    /// <summary>Whether leaf hypercalls may be answered inside guests.</summary>
    public required FastPathMode FastPaths { get; init; }

    /// <summary>The host's CPUs to use, by number; their order gives the machine's indexes.</summary>
    public required IReadOnlyList<int> HostCpus { get; init; }

    /// <summary>The most memory of all domains together.</summary>
    public required ByteSize MemoryLimit { get; init; }

    /// <summary>Whether that is what the host has.</summary>
    public bool IsMemoryLimitAuto { get; init; }

    /// <summary>How time follows from work; null for the host's time.</summary>
    public VirtualTimeOptions? VirtualTime { get; init; }

    /// <summary>The most that the file of a domain's console keeps.</summary>
    public required ByteSize ConsoleLimit { get; init; }
}

/// <summary>One item of `domains`.</summary>
public sealed record DomainSettings
{
    /// <summary>Its JSON path, "domains[0]".</summary>
    public required string Path { get; init; }

    /// <summary>The name.</summary>
    public required string Name { get; init; }

    /// <summary>How many equal ones.</summary>
    public required int Count { get; init; }

    /// <summary>A guest's name; null when <see cref="Kernel"/> is given.</summary>
    public string? Guest { get; init; }

    /// <summary>A built-in guest's options as written.</summary>
    public ConfigurationNode? GuestOptions { get; init; }

    /// <summary>A kernel image's full path; null when <see cref="Guest"/> is given.</summary>
    public string? Kernel { get; init; }

    /// <summary>An initial RAM disk's full path.</summary>
    public string? Initrd { get; init; }

    /// <summary>The command line, or what is added to the guest's own.</summary>
    public string? Cmdline { get; init; }

    /// <summary>Lines of a shell script that a fetched guest runs; none when there is no script.</summary>
    public IReadOnlyList<string> Script { get; init; } = [];

    /// <summary>Memory; null for the guest's default.</summary>
    public ByteSize? Memory { get; init; }

    /// <summary>The share weight.</summary>
    public required int Weight { get; init; }

    /// <summary>The scheduler's per-domain options as written.</summary>
    public ConfigurationNode? SchedulerOptions { get; init; }

    /// <summary>The machine's CPUs it may run on; null for all.</summary>
    public IReadOnlyList<int>? Affinity { get; init; }

    /// <summary>When it begins to run, after the machine's start.</summary>
    public required Nanoseconds StartDelay { get; init; }

    /// <summary>Virtual CPUs.</summary>
    public required int Vcpus { get; init; }

    /// <summary>Its disks.</summary>
    public IReadOnlyList<DiskSettings> Disks { get; init; } = [];

    /// <summary>Its network interfaces.</summary>
    public IReadOnlyList<NicSettings> Nics { get; init; } = [];

    /// <summary>The names of its domains: itself, or name-1 to name-count.</summary>
    public IEnumerable<string> Names => Count == 1 ? [Name] : Enumerable.Range(1, Count).Select(number => $"{Name}-{number}");
}

/// <summary>One item of a domain's `disks`.</summary>
public sealed record DiskSettings
{
    /// <summary>Its JSON path, "domains[0].disks[0]".</summary>
    public required string Path { get; init; }

    /// <summary>Its name in the guest.</summary>
    public required string Name { get; init; }

    /// <summary>The backend.</summary>
    public required PluginChoice Backend { get; init; }

    /// <summary>Whether the guest may only read it.</summary>
    public required bool IsReadOnly { get; init; }

    /// <summary>Whether frontends may keep their grants.</summary>
    public required bool PersistentGrants { get; init; }

    /// <summary>Decorating backends, the lowest first.</summary>
    public required IReadOnlyList<PluginChoice> Layers { get; init; }
}

/// <summary>One item of a domain's `nics`.</summary>
public sealed record NicSettings
{
    /// <summary>Its JSON path, "domains[0].nics[0]".</summary>
    public required string Path { get; init; }

    /// <summary>The backend.</summary>
    public required PluginChoice Backend { get; init; }

    /// <summary>Its address; null for one made of the domain's name.</summary>
    public required MacAddress? Address { get; init; }

    /// <summary>The most it may send; 0 for no bound.</summary>
    public required long BytesPerSecond { get; init; }

    /// <summary>Whether it may send in its own name only.</summary>
    public required bool AntiSpoofing { get; init; }

    /// <summary>The domain's IP addresses; none when any may be used.</summary>
    public required IReadOnlyList<IPAddress> Addresses { get; init; }

    /// <summary>Decorating backends, the lowest first.</summary>
    public required IReadOnlyList<PluginChoice> Layers { get; init; }
}
