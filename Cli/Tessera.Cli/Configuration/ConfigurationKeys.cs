using System.Collections.Immutable;
using Tessera.Sdk.Plugins;

namespace Tessera.Cli.Configuration;

/// <summary>One key of a configuration: the single place that names it, says what it is and how its value is shaped.</summary>
/// <param name="Name">The key.</param>
/// <param name="Summary">What it is, for the schema.</param>
/// <param name="Schema">The value's JSON Schema, without the description.</param>
/// <param name="Default">The default as JSON; null when there is none that a constant could say.</param>
internal sealed record ConfigurationKey(string Name, string Summary, string Schema, string? Default = null);

/// <summary>An object of a configuration: its keys and which of them must be there.</summary>
internal sealed record ConfigurationSection(string Name, string Summary, ImmutableArray<ConfigurationKey> Keys, ImmutableArray<string> Required)
{
    /// <summary>Whether this key belongs here.</summary>
    public bool Has(string key) => Keys.Any(known => known.Name == key);
}

/// <summary>Every key. The binder reads no other, the published schema has the same, and tests hold the three together.</summary>
internal static class ConfigurationKeys
{
    public const string SchemaReference = "$schema";
    public const string Machine = "machine";
    public const string Scheduler = "scheduler";
    public const string Domains = "domains";
    public const string Duration = "duration";
    public const string MeasureAfter = "measureAfter";
    public const string ReadyTimeout = "readyTimeout";
    public const string Engine = "engine";
    public const string EngineOptions = "engineOptions";
    public const string Pcpus = "pcpus";
    public const string MemoryLimit = "memoryLimit";
    public const string ConsoleLimit = "consoleLimit";

    /// <summary>Enough for days of a kernel's messages.</summary>
    public static readonly ByteSize DefaultConsoleLimit = new(64L << 20);

    public const string Mmu = "mmu";
    public const string MmuOptions = "mmuOptions";
    public const string MemoryPolicy = "memoryPolicy";
    public const string MemoryPolicyOptions = "memoryPolicyOptions";
    public const string FastPaths = "fastPaths";
    public const string Off = "off";
    public const string Time = "time";
    public const string Real = "real";
    public const string Virtual = "virtual";
    public const string VirtualTime = "virtualTime";
    public const string InstructionsPerMicrosecond = "instructionsPerMicrosecond";
    public const string TrapCost = "trapCost";
    public const string DeviceDelay = "deviceDelay";
    public const string Turn = "turn";
    public const string WallClock = "wallClock";
    public const string Seed = "seed";

    /// <summary>The most physical CPUs in virtual time, as in the simulator.</summary>
    public const int MaxVirtualPcpus = 256;

    /// <summary>Ten times as fast as any processor.</summary>
    public const int MaxInstructionsPerMicrosecond = 100_000;
    public const string Name = "name";
    public const string Options = "options";
    public const string Count = "count";
    public const string Guest = "guest";
    public const string GuestOptions = "guestOptions";
    public const string Kernel = "kernel";
    public const string Initrd = "initrd";
    public const string Cmdline = "cmdline";
    public const string Script = "script";
    public const string Memory = "memory";
    public const string Weight = "weight";
    public const string Affinity = "affinity";
    public const string StartDelay = "startDelay";
    public const string Vcpus = "vcpus";
    public const string Disks = "disks";
    public const string Backend = "backend";
    public const string ReadOnly = "readOnly";
    public const string PersistentGrants = "persistentGrants";
    public const string Layers = "layers";
    public const string Nics = "nics";
    public const string Mac = "mac";
    public const string Rate = "rate";
    public const string AntiSpoofing = "antiSpoofing";
    public const string Addresses = "addresses";

    /// <summary>The word for "as many as make sense here".</summary>
    public const string Auto = "auto";

    /// <summary>The word for "when every domain is up".</summary>
    public const string Ready = "ready";

    /// <summary>The word for every physical CPU.</summary>
    public const string All = "all";

    /// <summary>The least weight: what schedulers accept.</summary>
    public const int MinWeight = 1;

    /// <summary>The greatest weight: Xen's own bound, and far from any overflow of virtual time.</summary>
    public const int MaxWeight = 65_535;

    /// <summary>The most domains of one configuration: domain numbers are 16 bits, the upper ones reserved by the ABI (DOMID_FIRST_RESERVED).</summary>
    public const int MaxDomains = 0x7fef;

    /// <summary>vCPUs a domain may have in this version.</summary>
    public const int MaxVcpus = 1;

    private const string DurationPattern = """{"type":"string","pattern":"^\\s*(0|never|[0-9]+(\\.[0-9]+)?\\s*(ns|us|µs|μs|ms|s|min))\\s*$","examples":["10 s","5 ms","250 us"]}""";
    private const string SizePattern = """{"type":"string","pattern":"^\\s*[0-9]+(\\.[0-9]+)?\\s*(B|KiB|MiB|GiB|TiB)\\s*$","examples":["256 MiB","1 GiB"]}""";
    private const string Text = """{"type":"string","minLength":1}""";
    private const string OptionsObject = """{"type":"object"}""";

    /// <summary>The whole document.</summary>
    public static ConfigurationSection Document { get; } = new("document", "An experiment of Tessera: a machine, its scheduler and its domains.",
    [
        new(SchemaReference, "Where this schema is, for editors; not read.", """{"type":"string"}"""),
        new(Machine, "The machine that the domains share.", """{"$ref":"#/$defs/machine"}""", "{}"),
        new(Scheduler, "The CPU scheduler: its name, the path of its DLL, or an object with its options.",
            """{"anyOf":[{"type":"string","minLength":1},{"$ref":"#/$defs/scheduler"}]}""", "\"bvt\""),
        new(Domains, "The domains, created in this order.", """{"type":"array","minItems":1,"items":{"$ref":"#/$defs/domain"}}"""),
        new(Duration, "How long shares are measured; the run ends then, or earlier when every domain has ended. \"never\" waits for that alone.", DurationPattern, "\"10 s\""),
        new(MeasureAfter, "When measuring begins: \"ready\" (every domain started, Linux ones at their first user-space line) or a time after the machine's start.",
            $$"""{"anyOf":[{"const":"ready"},{{DurationPattern}}]}""", "\"ready\""),
        new(ReadyTimeout, "How long to wait for \"ready\" before the run fails.", DurationPattern, "\"120 s\""),
    ], [Domains]);

    /// <summary>`machine`.</summary>
    public static ConfigurationSection MachineSection { get; } = new(Machine, "The machine that the domains share.",
    [
        new(Engine, "The CPU engine plugin: \"auto\" (kvm where this user can use it and time is real, else software), a name, or the path of its DLL.", Text, "\"auto\""),
        new(EngineOptions, "Options of the engine plugin.", OptionsObject, "{}"),
        new(Pcpus, "Physical CPUs: \"auto\" (every host CPU this process may use), how many of those, or a list of host CPU numbers.",
            """{"anyOf":[{"const":"auto"},{"type":"integer","minimum":1},{"type":"array","minItems":1,"uniqueItems":true,"items":{"type":"integer","minimum":0}}]}""", "\"auto\""),
        new(MemoryLimit, "The most memory all domains may have together; \"auto\" is what the host has available at the start.",
            $$"""{"anyOf":[{"const":"auto"},{{SizePattern}}]}""", "\"auto\""),
        new(ConsoleLimit, "The most that the file of each domain's console keeps, when there is one; what comes after it is counted and lost.", SizePattern, "\"64 MiB\""),
        new(Mmu, "The MMU virtualization plugin: name or path of its DLL.", Text, "\"direct-paging\""),
        new(MmuOptions, "Options of the MMU plugin.", OptionsObject, "{}"),
        new(MemoryPolicy, "The memory policy plugin: name or path of its DLL.", Text, "\"static-partition\""),
        new(MemoryPolicyOptions, "Options of the memory policy plugin.", OptionsObject, "{}"),
        new(Time, "Whose time the machine goes by: \"real\" (the host's) or \"virtual\" (the work its guests do; needs an engine that counts it, such as software).",
            """{"anyOf":[{"const":"real"},{"const":"virtual"}]}""", "\"real\""),
        new(VirtualTime, "How virtual time follows from work.", """{"$ref":"#/$defs/virtualTime"}""", "{}"),
        new(FastPaths, "Leaf hypercalls answered inside the guest: \"auto\" (where the host makes exits dear) or \"off\".", """{"anyOf":[{"const":"auto"},{"const":"off"}]}""", "\"auto\""),
    ], []);

    /// <summary>`machine.virtualTime`.</summary>
    public static ConfigurationSection VirtualTimeSection { get; } = new(VirtualTime, "How virtual time follows from work.",
    [
        new(InstructionsPerMicrosecond, "Guest instructions that take a microsecond.", $$"""{"type":"integer","minimum":1,"maximum":{{MaxInstructionsPerMicrosecond}}}""", "1000"),
        new(TrapCost, "What a trap, hypercalls among them, costs.", DurationPattern, "\"300 ns\""),
        new(DeviceDelay, "How long a disk, a network interface or the store waits after a request before it does its work.", DurationPattern, "\"20 us\""),
        new(Turn, "How far a physical CPU goes before the others have their turn.", DurationPattern, "\"50 us\""),
        new(WallClock, "The date and time at the machine's start, ISO 8601.", """{"type":"string","format":"date-time"}""", "\"2026-01-01T00:00:00Z\""),
        new(Seed, "What the guests' random numbers follow from.", """{"type":"integer","minimum":0,"maximum":2147483647}""", "1"),
    ], []);

    /// <summary>`scheduler` as an object.</summary>
    public static ConfigurationSection SchedulerSection { get; } = new(Scheduler, "The CPU scheduler and its options.",
    [
        new(Name, "The scheduler plugin: name, or path of its DLL relative to this file.", Text, "\"bvt\""),
        new(Options, "The plugin's options; `tessera plugins list` shows them.", OptionsObject, "{}"),
    ], []);

    /// <summary>One item of `domains`.</summary>
    public static ConfigurationSection DomainSection { get; } = new("domain", "One domain, or several equal ones.",
    [
        new(Name, "The domain's name: letters, digits, dot, dash, underscore. With count, each gets -1, -2, … after it.",
            """{"type":"string","pattern":"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"}"""),
        new(Count, "How many equal domains.", $$"""{"type":"integer","minimum":1,"maximum":{{MaxDomains}}}""", "1"),
        new(Guest, "A built-in guest (spin, beat, burst, paging) or a guest of the library (`tessera guest list`).", Text),
        new(GuestOptions, "Options of a built-in guest.", OptionsObject, "{}"),
        new(Kernel, "A kernel image (bzImage or ELF) instead of a guest; relative to this file.", Text),
        new(Initrd, "An initial RAM disk, in place of the library guest's own; relative to this file.", Text),
        new(Cmdline, "The kernel's command line; for a guest it is added to the guest's own.", """{"type":"string","maxLength":1023}"""),
        new(Script, "A shell script, line by line, that a fetched guest runs when it is up.", """{"type":"array","items":{"type":"string"}}""", "[]"),
        new(Memory, "The domain's memory; by default what the guest needs, 256 MiB for kernels.", SizePattern),
        new(Weight, "Its share of CPU time relative to the others'.", $$"""{"type":"integer","minimum":{{MinWeight}},"maximum":{{MaxWeight}}}""", "256"),
        new(Scheduler, "Per-domain options of the scheduler plugin, such as BVT's warp.", OptionsObject, "{}"),
        new(Affinity, "The machine's physical CPUs (indexes from 0) it may run on, or \"all\".",
            """{"anyOf":[{"const":"all"},{"type":"array","minItems":1,"uniqueItems":true,"items":{"type":"integer","minimum":0}}]}""", "\"all\""),
        new(StartDelay, "How long after the machine's start the domain begins to run.", DurationPattern, "\"0 s\""),
        new(Vcpus, "Virtual CPUs; one in this version.", $$"""{"type":"integer","minimum":1,"maximum":{{MaxVcpus}}}""", "1"),
        new(Disks, "Its disks.", """{"type":"array","items":{"$ref":"#/$defs/disk"}}""", "[]"),
        new(Nics, "Its network interfaces, eth0 first.", """{"type":"array","items":{"$ref":"#/$defs/nic"}}""", "[]"),
    ], [Name]);

    /// <summary>One item of a domain's `disks`.</summary>
    public static ConfigurationSection DiskSection { get; } = new("disk", "One disk of a domain.",
    [
        new(Name, "Its name in the guest.", """{"type":"string","pattern":"^xvd[a-z]$"}"""),
        new(Backend, "The block backend plugin: name or path of its DLL.", Text),
        new(Options, "The plugin's options; in their strings {domain} stands for the domain's name, and as a path guest:NAME for a library guest's root disk.", OptionsObject, "{}"),
        new(ReadOnly, "Whether the guest may only read it.", """{"type":"boolean"}""", "false"),
        new(PersistentGrants, "Whether frontends may use the same granted pages for every request, and copy.", """{"type":"boolean"}""", "false"),
        new(Layers, "Decorating backends over it, such as throttle; the first is the lowest.", """{"type":"array","items":{"$ref":"#/$defs/layer"}}""", "[]"),
    ], [Name, Backend]);

    /// <summary>One item of a domain's `nics`.</summary>
    public static ConfigurationSection NicSection { get; } = new("nic", "One network interface of a domain.",
    [
        new(Backend, "The network backend plugin: name or path of its DLL.", Text),
        new(Options, "The plugin's options; in their strings {domain} stands for the domain's name.", OptionsObject, "{}"),
        new(Mac, "Its address; by default made from the domain's name and the interface's place.", """{"type":"string","pattern":"^[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}$"}"""),
        new(AntiSpoofing, "Whether to refuse frames that the domain sends from an Ethernet address other than its own, or from an IP address other than those given.", """{"type":"boolean"}""", "true"),
        new(Addresses, "The domain's IP addresses; by default any may be used.", """{"type":"array","items":{"type":"string"}}""", "[]"),
        new(Rate, "The most bytes a second it may send; no bound by default.", SizePattern),
        new(Layers, "Decorating backends over it, such as filter and capture; the first is the farthest from the guest.", """{"type":"array","items":{"$ref":"#/$defs/layer"}}""", "[]"),
    ], [Backend]);

    /// <summary>One item of a device's `layers`.</summary>
    public static ConfigurationSection LayerSection { get; } = new("layer", "A backend over another.",
    [
        new(Backend, "The backend plugin: name or path of its DLL.", Text),
        new(Options, "The plugin's options.", OptionsObject, "{}"),
    ], [Backend]);

    /// <summary>The objects that the document refers to.</summary>
    public static ImmutableArray<ConfigurationSection> Sections { get; } = [MachineSection, VirtualTimeSection, SchedulerSection, DomainSection, DiskSection, NicSection, LayerSection];
}
