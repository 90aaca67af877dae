using System.ComponentModel;
using System.Net;
using System.Text.Json;
using Tessera.Kernel.FastPath;
using Tessera.Kernel.Time;
using Tessera.Sdk;
using Tessera.Sdk.Devices;
using Tessera.Sdk.Plugins;

namespace Tessera.Experiments.Configuration;

/// <summary>An object of a configuration, read.</summary>
public abstract record Section
{
    /// <summary>What it was read from; where nothing was written, an empty object of that path.</summary>
    public ConfigurationNode Node { get; internal set; } = new(JsonValueKind.Object, "", default);

    /// <summary>Its JSON path, "domains[0].disks[0]".</summary>
    public string Path => Node.Path;

    /// <summary>The JSON path of a property's key, whether written or not.</summary>
    internal string PathOf(string property) => Node.PathOf(ConfigurationKey.NameOf(GetType().GetProperty(property)!));

    /// <summary>Whether a property's key is written.</summary>
    internal bool Has(string property) => Node.Find(ConfigurationKey.NameOf(GetType().GetProperty(property)!)) is not null;

    /// <summary>Records that a property's value is wrong.</summary>
    internal void Fail(List<ConfigurationError> errors, string property, string message, string cure)
    {
        string path = PathOf(property);
        errors.Add(new(Node.Nearest(path).Position, path, message, cure));
    }

    /// <summary>The same where something is so.</summary>
    internal void FailIf(bool isWrong, List<ConfigurationError> errors, string property, string message, string cure)
    {
        if (isWrong)
            Fail(errors, property, message, cure);
    }

    /// <summary>A plugin and the properties that its name and its options were read into.</summary>
    private protected PluginChoice Plugin(string name, ConfigurationNode? options, string nameProperty, string optionsProperty) =>
        new(name, options, Node.Kind == JsonValueKind.String ? Path : PathOf(nameProperty), PathOf(optionsProperty));
}

/// <summary>A plugin by name or path, with its options as written.</summary>
/// <param name="Name">The name, or a path when it ends in .dll (made absolute).</param>
/// <param name="Options">The options object, or null when there is none.</param>
/// <param name="Path">The JSON path of the name.</param>
/// <param name="OptionsPath">The JSON path of the options, whether written or not.</param>
public sealed record PluginChoice(string Name, ConfigurationNode? Options, string Path, string OptionsPath);

/// <summary>
/// A configuration as read: every value of the right kind (its default where what was written is wrong), plugins and guests not yet
/// looked up. The properties with [Option] are the keys; the binder, the writer and the schema follow from them.
/// </summary>
[Description("An experiment of Tessera: a machine, its scheduler and its domains.")]
public sealed record Experiment : Section
{
    /// <summary>The most domains: domain numbers are 16 bits, the upper ones reserved by the ABI (DOMID_FIRST_RESERVED).</summary>
    public const int MaxDomains = 0x7fef;

    /// <summary>The document it was read from; positions for later errors.</summary>
    public ConfigurationNode Document => Node;

    /// <summary>What is wrong so far; looking plugins and guests up adds to it, and nothing runs unless it is empty.</summary>
    public IReadOnlyList<ConfigurationError> Errors { get; init; } = [];

    /// <summary>The folder that relative paths start from.</summary>
    public string BaseDirectory { get; init; } = "";

    [Option("Where this schema is, for editors; not read.")]
    [Key(Name = "$schema", IsIgnored = true, MayBeEmpty = true)]
    public string? Schema { get; init; }

    [Option("The machine that the domains share.")]
    public MachineSettings Machine { get; init; } = new();

    [Option("The CPU scheduler: its name, the path of its DLL, or an object with its options.")]
    public SchedulerSettings Scheduler { get; init; } = new();

    /// <summary>The domains as written, counts not yet expanded.</summary>
    [Option("The domains, created in this order.")]
    [Key(IsNotEmpty = true)]
    public required IReadOnlyList<DomainSettings> Domains { get; init; } = [];

    /// <summary>How long shares are measured; <see cref="Nanoseconds.Never"/> means until every domain has ended.</summary>
    [Option(
        "How long shares are measured; the run ends then, or earlier when every domain has ended. \"never\" waits for that alone.",
        Min = "1 ns",
        Max = "never")]
    public Nanoseconds Duration { get; init; } = Nanoseconds.FromSeconds(10);

    /// <summary>When measuring begins, counted from the machine's start; null means when every domain is up.</summary>
    [Option("When measuring begins: \"ready\" (every domain started, Linux ones at their first user-space line) "
        + "or a time after the machine's start.")]
    [Key(Word = "ready")]
    public Nanoseconds? MeasureAfter { get; init; }

    [Option("How long to wait for \"ready\" before the run fails.", Min = "1 ns")]
    public Nanoseconds ReadyTimeout { get; init; } = Nanoseconds.FromSeconds(120);
}

/// <summary>Whose time a machine goes by.</summary>
public enum MachineTime
{
    /// <summary>The host's.</summary>
    Real,

    /// <summary>The work that its guests do.</summary>
    Virtual,
}

/// <summary>`machine`.</summary>
[Description("The machine that the domains share.")]
public sealed record MachineSettings : Section
{
    /// <summary>The word for what suits the host.</summary>
    public const string Auto = "auto";

    /// <summary>The engine was left to this host, and <see cref="Engine"/> is what it came to.</summary>
    public bool IsEngineChosen { get; init; }

    /// <summary>The host's CPUs to use, by number; their order gives the machine's indexes.</summary>
    public IReadOnlyList<int> HostCpus { get; init; } = [];

    /// <summary>The most memory of all domains together: <see cref="MemoryLimit"/>, or what the host has.</summary>
    public ByteSize MostMemory { get; init; }

    [Option("The CPU engine plugin: \"auto\" (kvm where this user can use it and time is real, else software), "
        + "a name, or the path of its DLL.")]
    [Key(IsPlugin = true)]
    public string Engine { get; init; } = Auto;

    [Option("Options of the engine plugin.")]
    public ConfigurationNode? EngineOptions { get; init; }

    [Option("Physical CPUs: \"auto\" (every host CPU this process may use), how many of those, or a list of host CPU numbers.")]
    [Key(Word = Auto, IsCountable = true)]
    public CpuChoice? Pcpus { get; init; }

    [Option("The most memory all domains may have together; \"auto\" is what the host has available at the start.", Min = "1 B")]
    [Key(Word = Auto, IsOfFrames = true)]
    public ByteSize? MemoryLimit { get; init; }

    /// <summary>Enough for days of a kernel's messages.</summary>
    [Option(
        "The most that the file of each domain's console keeps, when there is one; what comes after it is counted and lost.", Min = "1 B")]
    public ByteSize ConsoleLimit { get; init; } = new(64L << 20);

    [Option("The MMU virtualization plugin: name or path of its DLL.")]
    [Key(IsPlugin = true)]
    public string Mmu { get; init; } = "direct-paging";

    [Option("Options of the MMU plugin.")]
    public ConfigurationNode? MmuOptions { get; init; }

    [Option("The memory policy plugin: name or path of its DLL.")]
    [Key(IsPlugin = true)]
    public string MemoryPolicy { get; init; } = "static-partition";

    [Option("Options of the memory policy plugin.")]
    public ConfigurationNode? MemoryPolicyOptions { get; init; }

    [Option("Whose time the machine goes by: \"real\" (the host's) or \"virtual\" "
        + "(the work its guests do; needs an engine that counts it, such as software).")]
    [Key(Refusal = "is not a kind of time")]
    public MachineTime Time { get; init; }

    /// <summary>How time follows from work; null for the host's time.</summary>
    [Option("How virtual time follows from work.")]
    public VirtualTimeOptions? VirtualTime { get; init; }

    [Option("Leaf hypercalls answered inside the guest: \"auto\" (where the host makes exits dear) or \"off\".")]
    [Key(Refusal = "is not a mode of fast paths")]
    public FastPathMode FastPaths { get; init; }

    internal PluginChoice EnginePlugin => Plugin(Engine, EngineOptions, nameof(Engine), nameof(EngineOptions));

    internal PluginChoice MmuPlugin => Plugin(Mmu, MmuOptions, nameof(Mmu), nameof(MmuOptions));

    internal PluginChoice MemoryPolicyPlugin =>
        Plugin(MemoryPolicy, MemoryPolicyOptions, nameof(MemoryPolicy), nameof(MemoryPolicyOptions));
}

/// <summary>`scheduler`.</summary>
[Description("The CPU scheduler and its options.")]
public sealed record SchedulerSettings : Section
{
    [Option("The scheduler plugin: name, or path of its DLL relative to this file.")]
    [Key(IsPlugin = true, StandsForAll = true)]
    public string Name { get; init; } = "bvt";

    [Option("The plugin's options; `tessera plugins list` shows them.")]
    public ConfigurationNode? Options { get; init; }

    internal PluginChoice Choice => Plugin(Name, Options, nameof(Name), nameof(Options));
}

/// <summary>One item of `domains`.</summary>
[Description("One domain, or several equal ones.")]
public sealed record DomainSettings : Section
{
    /// <summary>The least weight: what schedulers accept.</summary>
    public const int MinWeight = 1;

    /// <summary>The greatest weight: Xen's own bound, and far from any overflow of virtual time.</summary>
    public const int MaxWeight = 65_535;

    /// <summary>The word for every physical CPU.</summary>
    public const string All = "all";

    /// <summary>The most characters of a command line: what the ABI's start_info has room for.</summary>
    public const int MaxCmdline = 1023;

    [Option("The domain's name: letters, digits, dot, dash, underscore. With count, each gets -1, -2, … after it.")]
    [Key(
        Pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$",
        Refusal = "cannot name a domain",
        Cure = "A name begins with a letter or digit and has only letters, digits, dots, dashes and underscores, at most 63.")]
    public required string Name { get; init; } = "";

    [Option("How many equal domains.", Min = "1", Max = "32751")]
    public int Count { get; init; } = 1;

    [Option("A built-in guest (spin, beat, burst, paging) or a guest of the library (`tessera guest list`).")]
    public string? Guest { get; init; }

    [Option("Options of a built-in guest.")]
    public ConfigurationNode? GuestOptions { get; init; }

    [Option("A kernel image (bzImage or ELF) instead of a guest; relative to this file.", IsPath = true)]
    public string? Kernel { get; init; }

    [Option("An initial RAM disk, in place of the library guest's own; relative to this file.", IsPath = true)]
    public string? Initrd { get; init; }

    [Option("The kernel's command line; for a guest it is added to the guest's own.")]
    [Key(MayBeEmpty = true, MaxLength = MaxCmdline)]
    public string? Cmdline { get; init; }

    [Option("A shell script, line by line, that a fetched guest runs when it is up.")]
    [Key(MayBeEmpty = true, Cure = "Each line must be a string.")]
    public IReadOnlyList<string> Script { get; init; } = [];

    [Option("The domain's memory; by default what the guest needs, 256 MiB for kernels.", Min = "1 B")]
    [Key(IsOfFrames = true)]
    public ByteSize? Memory { get; init; }

    [Option("The most memory it may ever have, if the memory policy gives it more; by default what it starts with.", Min = "1 B")]
    [Key(IsOfFrames = true)]
    public ByteSize? MaxMemory { get; init; }

    [Option("Its share of CPU time relative to the others'.", Min = "1", Max = "65535")]
    public int Weight { get; init; } = 256;

    [Option("Per-domain options of the scheduler plugin, such as BVT's warp.")]
    [Key(Name = "scheduler")]
    public ConfigurationNode? SchedulerOptions { get; init; }

    /// <summary>The machine's CPUs it may run on; null for all.</summary>
    [Option("The machine's physical CPUs (indexes from 0) it may run on, or \"all\".")]
    [Key(Word = All)]
    public CpuChoice? Affinity { get; init; }

    [Option("How long after the machine's start the domain begins to run.")]
    public Nanoseconds StartDelay { get; init; }

    [Option("Virtual CPUs; one in this version.", Min = "1", Max = "1")]
    public int Vcpus { get; init; } = 1;

    [Option("Its disks.")]
    public IReadOnlyList<DiskSettings> Disks { get; init; } = [];

    [Option("Its network interfaces, eth0 first.")]
    public IReadOnlyList<NicSettings> Nics { get; init; } = [];

    /// <summary>The names of its domains: itself, or name-1 to name-count.</summary>
    public IEnumerable<string> Names => Count == 1 ? [Name] : Enumerable.Range(1, Count).Select(number => $"{Name}-{number}");
}

/// <summary>One item of a domain's `disks`.</summary>
[Description("One disk of a domain.")]
public sealed record DiskSettings : Section
{
    [Option("Its name in the guest.")]
    [Key(Pattern = "^xvd[a-z]$", Refusal = "cannot name a disk", Cure = "Disks are named xvda to xvdz.")]
    public required string Name { get; init; } = "";

    [Option("The block backend plugin: name or path of its DLL.")]
    [Key(IsPlugin = true)]
    public required string Backend { get; init; } = "";

    [Option("The plugin's options; in their strings {domain} stands for the domain's name, "
        + "and as a path guest:NAME for a library guest's root disk.")]
    public ConfigurationNode? Options { get; init; }

    [Option("Whether the guest may only read it.")]
    public bool ReadOnly { get; init; }

    [Option("Whether frontends may use the same granted pages for every request, and copy.")]
    public bool PersistentGrants { get; init; }

    [Option("Decorating backends over it, such as throttle; the first is the lowest.")]
    public IReadOnlyList<LayerSettings> Layers { get; init; } = [];

    internal PluginChoice Choice => Plugin(Backend, Options, nameof(Backend), nameof(Options));
}

/// <summary>One item of a domain's `nics`.</summary>
[Description("One network interface of a domain.")]
public sealed record NicSettings : Section
{
    [Option("The network backend plugin: name or path of its DLL.")]
    [Key(IsPlugin = true)]
    public required string Backend { get; init; } = "";

    [Option("The plugin's options; in their strings {domain} stands for the domain's name.")]
    public ConfigurationNode? Options { get; init; }

    [Option("Its address; by default made from the domain's name and the interface's place.")]
    public MacAddress? Mac { get; init; }

    [Option("Whether to refuse frames that the domain sends from an Ethernet address other than its own, "
        + "or from an IP address other than those given.")]
    public bool AntiSpoofing { get; init; } = true;

    [Option("The domain's IP addresses; by default any may be used.")]
    public IReadOnlyList<IPAddress> Addresses { get; init; } = [];

    [Option("The most bytes a second it may send; no bound by default.", Min = "1 B")]
    public ByteSize? Rate { get; init; }

    [Option("Decorating backends over it, such as filter and capture; the first is the farthest from the guest.")]
    public IReadOnlyList<LayerSettings> Layers { get; init; } = [];

    internal PluginChoice Choice => Plugin(Backend, Options, nameof(Backend), nameof(Options));
}

/// <summary>One item of a device's `layers`.</summary>
[Description("A backend over another.")]
public sealed record LayerSettings : Section
{
    [Option("The backend plugin: name or path of its DLL.")]
    [Key(IsPlugin = true)]
    public required string Backend { get; init; } = "";

    [Option("The plugin's options.")]
    public ConfigurationNode? Options { get; init; }

    internal PluginChoice Choice => Plugin(Backend, Options, nameof(Backend), nameof(Options));
}
