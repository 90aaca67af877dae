using System.Globalization;
using System.Net;
using System.Text.Json;
using System.Text.RegularExpressions;
using Tessera.Experiments.Hosts;
using Tessera.Kernel.Devices.Block;
using Tessera.Kernel.Devices.Network;
using Tessera.Kernel.FastPath;
using Tessera.Kernel.Machines;
using Tessera.Kernel.Time;
using Tessera.Sdk;
using Tessera.Sdk.Devices;

namespace Tessera.Experiments.Configuration;

/// <summary>Reads a document's nodes into an <see cref="Experiment"/>: kinds, ranges and units. Sums and cross-checks are <see cref="ConfigurationChecks"/>.</summary>
public sealed partial class ConfigurationBinder(string baseDirectory, HostResources host, List<ConfigurationError> errors)
{
    /// <summary>The experiment, with defaults where something was wrong.</summary>
    public Experiment Bind(ConfigurationNode document)
    {
        SectionReader reader = new(ConfigurationKeys.Document, document, errors);
        ConfigurationNode machine = reader.Find(ConfigurationKeys.Machine)
            ?? new ConfigurationNode(JsonValueKind.Object, ConfigurationKeys.Machine, document.Position);
        Nanoseconds? measureAfter = null;
        if (reader.Find(ConfigurationKeys.MeasureAfter) is { } after && after is not { Kind: JsonValueKind.String, Text: ConfigurationKeys.Ready }
            && reader.TryDuration(after, DurationRange.ZeroOrMore, out Nanoseconds settle))
            measureAfter = settle;
        return new Experiment
        {
            Document = document,
            Errors = errors,
            BaseDirectory = baseDirectory,
            Machine = BindMachine(new(ConfigurationKeys.MachineSection, machine, errors)),
            Scheduler = BindScheduler(reader),
            Domains = BindDomains(reader),
            Duration = reader.Duration(ConfigurationKeys.Duration, Nanoseconds.FromSeconds(10), DurationRange.PositiveOrNever),
            MeasureAfter = measureAfter,
            ReadyTimeout = reader.Duration(ConfigurationKeys.ReadyTimeout, Nanoseconds.FromSeconds(120), DurationRange.Positive),
        };
    }

    private MachineSettings BindMachine(SectionReader reader) => new()
    {
        Engine = Choice(reader, ConfigurationKeys.Engine, ConfigurationKeys.EngineOptions, ConfigurationKeys.Auto),
        Mmu = Choice(reader, ConfigurationKeys.Mmu, ConfigurationKeys.MmuOptions, "direct-paging"),
        MemoryPolicy = Choice(reader, ConfigurationKeys.MemoryPolicy, ConfigurationKeys.MemoryPolicyOptions, "static-partition"),
        FastPaths = BindFastPaths(reader),
        HostCpus = BindPcpus(reader, reader.Find(ConfigurationKeys.Time) is { Kind: JsonValueKind.String, Text: ConfigurationKeys.Virtual }),
        MemoryLimit = reader.Find(ConfigurationKeys.MemoryLimit) is null or { Kind: JsonValueKind.String, Text: ConfigurationKeys.Auto }
            ? host.AvailableMemory
            : reader.Size(ConfigurationKeys.MemoryLimit) ?? host.AvailableMemory,
        IsMemoryLimitAuto = reader.Find(ConfigurationKeys.MemoryLimit) is null or { Kind: JsonValueKind.String, Text: ConfigurationKeys.Auto },
        VirtualTime = BindTime(reader),
        ConsoleLimit = reader.Size(ConfigurationKeys.ConsoleLimit, multiple: 1) ?? ConfigurationKeys.DefaultConsoleLimit,
    };

    private static FastPathMode BindFastPaths(SectionReader reader)
    {
        switch (reader.Text(ConfigurationKeys.FastPaths))
        {
            case null or ConfigurationKeys.Auto:
                return FastPathMode.Auto;
            case ConfigurationKeys.Off:
                return FastPathMode.Off;
            case { } other:
                reader.Fail(reader.Find(ConfigurationKeys.FastPaths)!, $"\"{other}\" is not a mode of fast paths.", $"Write \"{ConfigurationKeys.Auto}\" or \"{ConfigurationKeys.Off}\".");
                return FastPathMode.Auto;
        }
    }

    /// <summary>What is said of virtual time is checked whether it is wanted or not.</summary>
    private VirtualTimeOptions? BindTime(SectionReader machine)
    {
        ConfigurationNode? node = machine.Find(ConfigurationKeys.VirtualTime);
        SectionReader reader = new(ConfigurationKeys.VirtualTimeSection, node ?? new ConfigurationNode(JsonValueKind.Object, machine.PathOf(ConfigurationKeys.VirtualTime), machine.Node.Position), errors);
        VirtualTimeOptions otherwise = new();
        VirtualTimeOptions options = new()
        {
            InstructionsPerMicrosecond = reader.Integer(
                ConfigurationKeys.InstructionsPerMicrosecond, otherwise.InstructionsPerMicrosecond, 1, ConfigurationKeys.MaxInstructionsPerMicrosecond),
            TrapCost = reader.Duration(ConfigurationKeys.TrapCost, otherwise.TrapCost, DurationRange.Positive),
            DeviceDelay = reader.Duration(ConfigurationKeys.DeviceDelay, otherwise.DeviceDelay, DurationRange.Positive),
            Turn = reader.Duration(ConfigurationKeys.Turn, otherwise.Turn, DurationRange.Positive),
            WallClock = BindWallClock(reader, otherwise.WallClock),
            Seed = (ulong)reader.Integer(ConfigurationKeys.Seed, (int)otherwise.Seed, 0, int.MaxValue),
        };
        switch (machine.Text(ConfigurationKeys.Time))
        {
            case null or ConfigurationKeys.Real:
                return null;
            case ConfigurationKeys.Virtual:
                return options;
            case { } other:
                machine.Fail(machine.Find(ConfigurationKeys.Time)!, $"\"{other}\" is not a kind of time.", $"Write \"{ConfigurationKeys.Real}\" or \"{ConfigurationKeys.Virtual}\".");
                return null;
        }
    }

    private static DateTimeOffset BindWallClock(SectionReader reader, DateTimeOffset otherwise)
    {
        if (reader.Text(ConfigurationKeys.WallClock) is not { } text)
            return otherwise;
        if (DateTimeOffset.TryParseExact(text, ["yyyy-MM-dd'T'HH:mm:ssK", "yyyy-MM-dd'T'HH:mm:ss.fffffffK"], CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out DateTimeOffset at)
            && at >= DateTimeOffset.UnixEpoch)
            return at.ToUniversalTime();
        reader.Fail(reader.Find(ConfigurationKeys.WallClock)!, $"\"{text}\" is not a date and time from 1970 on.", "Write one such as \"2026-01-01T00:00:00Z\".");
        return otherwise;
    }

    private IReadOnlyList<int> BindPcpus(SectionReader reader, bool isTimeVirtual)
    {
        if (reader.Find(ConfigurationKeys.Pcpus) is not { } value)
            return host.Cpus;
        // In virtual time all are one thread, so that a machine may have more than the host.
        if (isTimeVirtual && value.Kind == JsonValueKind.Number)
            return [.. Enumerable.Range(0, reader.Integer(ConfigurationKeys.Pcpus, host.Cpus.Count, 1, ConfigurationKeys.MaxVirtualPcpus)).Select(index => host.Cpus[index % host.Cpus.Count])];
        if (value.Kind == JsonValueKind.Number)
        {
            if (int.TryParse(value.Text, NumberStyles.None, CultureInfo.InvariantCulture, out int count) && count >= 1 && count <= host.Cpus.Count)
                return [.. host.Cpus.Take(count)];
            reader.Fail(value, $"This asks for {value.Text} physical CPUs.",
                $"This host offers this process {host.Cpus.Count} ({string.Join(", ", host.Cpus)}): from 1 to {host.Cpus.Count} are possible.");
            return host.Cpus;
        }

        IReadOnlyList<int> cpus = reader.Cpus(value, ConfigurationKeys.Auto) ?? host.Cpus;
        foreach (int missing in cpus.Except(host.Cpus))
            reader.Fail(value, $"This host has no CPU {missing} for this process.", $"It may use: {string.Join(", ", host.Cpus)}.");
        return cpus;
    }

    private PluginChoice BindScheduler(SectionReader document)
    {
        const string otherwise = "bvt";
        ConfigurationNode? value = document.Find(ConfigurationKeys.Scheduler);
        if (value is null or { Kind: JsonValueKind.String })
            return new(PluginName(document.Text(ConfigurationKeys.Scheduler) ?? otherwise), null, ConfigurationKeys.Scheduler, $"{ConfigurationKeys.Scheduler}.{ConfigurationKeys.Options}");
        return Choice(new(ConfigurationKeys.SchedulerSection, value, errors), ConfigurationKeys.Name, ConfigurationKeys.Options, otherwise);
    }

    private PluginChoice Choice(SectionReader reader, string key, string optionsKey, string otherwise) =>
        new(PluginName(reader.Text(key) ?? otherwise), reader.Options(optionsKey), reader.PathOf(key), reader.PathOf(optionsKey));

    /// <summary>Paths count from the configuration's folder; names stay as they are.</summary>
    private string PluginName(string written) =>
        written.EndsWith(".dll", StringComparison.OrdinalIgnoreCase) ? FullPath(written) : written;

    private string FullPath(string written) => Path.GetFullPath(written, baseDirectory);

    private List<DomainSettings> BindDomains(SectionReader document)
    {
        List<DomainSettings> domains = [];
        if (document.Find(ConfigurationKeys.Domains) is not { } list)
            return domains;
        if (list.Kind != JsonValueKind.Array || list.Items.Count == 0)
        {
            document.Fail(list, $"This is {(list.Kind == JsonValueKind.Array ? "an empty list" : list.Description)}.", "It must be a list with at least one domain.");
            return domains;
        }

        foreach (ConfigurationNode item in list.Items)
        {
            int known = errors.Count;
            SectionReader reader = new(ConfigurationKeys.DomainSection, item, errors);
            if (item.Kind == JsonValueKind.Object)
                domains.Add(BindDomain(reader, domains.Count, complete: errors.Count == known));
        }

        return domains;
    }

    private DomainSettings BindDomain(SectionReader reader, int index, bool complete)
    {
        string name = reader.Text(ConfigurationKeys.Name) ?? $"domain{index}";
        if (complete && !DomainName.IsMatch(name))
        {
            reader.Fail(reader.Find(ConfigurationKeys.Name)!, $"\"{name}\" cannot name a domain.",
                "A name begins with a letter or digit and has only letters, digits, dots, dashes and underscores, at most 63.");
        }

        string? kernel = reader.Text(ConfigurationKeys.Kernel);
        string? initrd = reader.Text(ConfigurationKeys.Initrd);
        return new DomainSettings
        {
            Path = reader.Path,
            Name = name,
            Count = reader.Integer(ConfigurationKeys.Count, 1, 1, ConfigurationKeys.MaxDomains),
            Guest = reader.Text(ConfigurationKeys.Guest),
            GuestOptions = reader.Options(ConfigurationKeys.GuestOptions),
            Kernel = kernel is null ? null : FullPath(kernel),
            Initrd = initrd is null ? null : FullPath(initrd),
            Cmdline = reader.Find(ConfigurationKeys.Cmdline) is { Kind: JsonValueKind.String, Text: "" } ? "" : reader.Text(ConfigurationKeys.Cmdline),
            Script = reader.Lines(ConfigurationKeys.Script),
            Memory = reader.Size(ConfigurationKeys.Memory),
            Weight = reader.Integer(ConfigurationKeys.Weight, 256, ConfigurationKeys.MinWeight, ConfigurationKeys.MaxWeight),
            SchedulerOptions = reader.Options(ConfigurationKeys.Scheduler),
            Affinity = reader.Find(ConfigurationKeys.Affinity) is { } affinity ? reader.Cpus(affinity, ConfigurationKeys.All) : null,
            StartDelay = reader.Duration(ConfigurationKeys.StartDelay, Nanoseconds.Zero, DurationRange.ZeroOrMore),
            Vcpus = reader.Integer(ConfigurationKeys.Vcpus, 1, 1, ConfigurationKeys.MaxVcpus),
            Disks = BindDisks(reader),
            Nics = BindNics(reader),
        };
    }

    private List<DiskSettings> BindDisks(SectionReader domain)
    {
        List<DiskSettings> disks = [];
        foreach (ConfigurationNode item in domain.List(ConfigurationKeys.Disks))
        {
            SectionReader reader = new(ConfigurationKeys.DiskSection, item, errors);
            string name = reader.Text(ConfigurationKeys.Name) ?? "";
            if (name.Length > 0 && !Disk.TryNumberOf(name, out _))
                reader.Fail(reader.Find(ConfigurationKeys.Name)!, $"\"{name}\" cannot name a disk.", "Disks are named xvda to xvdz.");
            else if (name.Length > 0 && disks.Exists(disk => disk.Name == name))
                reader.Fail(reader.Find(ConfigurationKeys.Name)!, $"The domain has two disks named {name}.", "Give each its own name.");
            disks.Add(new DiskSettings
            {
                Path = reader.Path,
                Name = name,
                Backend = Choice(reader, ConfigurationKeys.Backend, ConfigurationKeys.Options, ""),
                IsReadOnly = reader.Flag(ConfigurationKeys.ReadOnly),
                PersistentGrants = reader.Flag(ConfigurationKeys.PersistentGrants),
                Layers = [.. reader.List(ConfigurationKeys.Layers).Select(layer => Choice(new(ConfigurationKeys.LayerSection, layer, errors), ConfigurationKeys.Backend, ConfigurationKeys.Options, ""))],
            });
        }

        return disks;
    }

    private List<NicSettings> BindNics(SectionReader domain)
    {
        List<NicSettings> nics = [];
        IReadOnlyList<ConfigurationNode> items = domain.List(ConfigurationKeys.Nics);
        if (items.Count > Nic.MaxNumber + 1)
            domain.Fail(domain.Find(ConfigurationKeys.Nics)!, $"The domain has {items.Count} interfaces.", $"At most {Nic.MaxNumber + 1} are possible.");
        foreach (ConfigurationNode item in items)
        {
            SectionReader reader = new(ConfigurationKeys.NicSection, item, errors);
            MacAddress address = default;
            string? text = reader.Text(ConfigurationKeys.Mac);
            if (text is not null && (!MacAddress.TryParse(text, out address) || address.IsGroup || address.Value == 0))
                reader.Fail(reader.Find(ConfigurationKeys.Mac)!, $"\"{text}\" is not the address of a single station.", "Write six bytes such as 00:16:3e:00:00:01, the first of them even.");
            else if (text is not null && domain.Integer(ConfigurationKeys.Count, 1, 1, ConfigurationKeys.MaxDomains) > 1)
                reader.Fail(reader.Find(ConfigurationKeys.Mac)!, "Several domains would have the same address.", "Leave it out: each domain gets its own.");
            nics.Add(new NicSettings
            {
                Path = reader.Path,
                Backend = Choice(reader, ConfigurationKeys.Backend, ConfigurationKeys.Options, ""),
                Address = text is null ? null : address,
                AntiSpoofing = reader.Flag(ConfigurationKeys.AntiSpoofing, otherwise: true),
                Addresses = BindAddresses(domain, reader),
                BytesPerSecond = reader.Size(ConfigurationKeys.Rate, multiple: 1)?.Bytes ?? 0,
                Layers = [.. reader.List(ConfigurationKeys.Layers).Select(layer => Choice(new(ConfigurationKeys.LayerSection, layer, errors), ConfigurationKeys.Backend, ConfigurationKeys.Options, ""))],
            });
        }

        return nics;
    }

    private static List<IPAddress> BindAddresses(SectionReader domain, SectionReader nic)
    {
        List<IPAddress> addresses = [];
        foreach (ConfigurationNode item in nic.List(ConfigurationKeys.Addresses))
        {
            // An IPv4 address in fewer than four parts is read as another than one would think.
            if (item.Kind == JsonValueKind.String && IPAddress.TryParse(item.Text, out IPAddress? address) && (item.Text.Contains(':') || item.Text.Count(letter => letter == '.') == 3))
                addresses.Add(address);
            else
                nic.Fail(item, $"This is {item.Description}.", "It must be an IP address such as \"10.0.0.1\".");
        }

        ConfigurationNode? list = nic.Find(ConfigurationKeys.Addresses);
        if (addresses.Count > 0 && domain.Integer(ConfigurationKeys.Count, 1, 1, ConfigurationKeys.MaxDomains) > 1)
            nic.Fail(list!, "Several domains would have the same addresses.", "Leave them out, or write one item for each domain.");
        if (addresses.Count > 0 && !nic.Flag(ConfigurationKeys.AntiSpoofing, otherwise: true))
            nic.Fail(list!, $"Addresses are given, but \"{ConfigurationKeys.AntiSpoofing}\" is false, so nothing checks them.", "Leave one of the two out.");
        return addresses;
    }

    [GeneratedRegex("^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
    private static partial Regex DomainName { get; }
}
