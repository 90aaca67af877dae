namespace Tessera.Cli.Configuration;

/// <summary>What no single value shows: contradictions, duplicates and impossible sums.</summary>
internal static class ConfigurationChecks
{
    private const int MaxCmdline = 1023;

    /// <summary>Adds an error for each.</summary>
    public static void Check(Experiment experiment, List<ConfigurationError> errors)
    {
        Dictionary<string, string> owners = new(StringComparer.Ordinal);
        long total = 0;
        foreach (DomainSettings domain in experiment.Domains)
        {
            ConfigurationNode node = experiment.Document.Nearest(domain.Path);
            CheckGuest(domain, node, errors);
            CheckAffinity(experiment, domain, node, errors);
            CheckFiles(domain, node, errors);
            CheckNames(domain, node, owners, errors);
            total += domain.Count;
            if (domain.StartDelay > experiment.ReadyTimeout && experiment.MeasureAfter is null)
                Fail(errors, node, ConfigurationKeys.StartDelay, $"The domain starts after {domain.StartDelay}, but all must be ready within {experiment.ReadyTimeout}.", $"Raise {ConfigurationKeys.ReadyTimeout} or give {ConfigurationKeys.MeasureAfter} a time.");
        }

        if (total > ConfigurationKeys.MaxDomains)
            Fail(errors, experiment.Document, ConfigurationKeys.Domains, $"These are {total} domains.", $"A machine has at most {ConfigurationKeys.MaxDomains}.");
        CheckMemory(experiment, errors);
        if (experiment.Machine.Engine is { Name: ConfigurationKeys.Auto, Options.Members.Count: > 0 } engine)
            errors.Add(new(experiment.Document.Nearest(engine.OptionsPath).Position, engine.OptionsPath, "Options are given, but no engine is named.", $"Name the engine they belong to in machine.{ConfigurationKeys.Engine}; \"{ConfigurationKeys.Auto}\" chooses by the host."));
        if (experiment.Machine is { VirtualTime: not null, Engine.Name: Composition.KvmPresence.Engine })
        {
            Fail(errors, experiment.Document, $"{ConfigurationKeys.Machine}.{ConfigurationKeys.Time}", "The engine kvm runs guests by the host's clock, so it cannot run in virtual time.",
                "Use one that counts what guests do: --engine software, or \"engine\": \"auto\".");
        }
    }

    private static void CheckGuest(DomainSettings domain, ConfigurationNode node, List<ConfigurationError> errors)
    {
        if (domain.Guest is not null && domain.Kernel is not null)
            Fail(errors, node, ConfigurationKeys.Kernel, "The domain has both a guest and a kernel.", "Keep one: a guest has a kernel of its own.");
        else if (node.Find(ConfigurationKeys.Guest) is null && node.Find(ConfigurationKeys.Kernel) is null)
            Fail(errors, node, "", "The domain has nothing to run.", "Give it a \"guest\" (spin, beat, burst, paging, or one of `tessera guest list`) or a \"kernel\".");
        if (domain.GuestOptions is not null && domain.Guest is null)
            Fail(errors, node, ConfigurationKeys.GuestOptions, "Only built-in guests have options.", "Name the guest, or put it on the kernel's \"cmdline\".");
        if (domain.Script.Count > 0 && domain.Kernel is not null)
            Fail(errors, node, ConfigurationKeys.Script, "A kernel given by its file has no script support.", "Only guests fetched by `tessera guest get` do: name one, or give the script to the kernel's own init.");
        if (domain.Cmdline is { Length: > MaxCmdline })
            Fail(errors, node, ConfigurationKeys.Cmdline, $"The command line has {domain.Cmdline.Length} characters.", $"The ABI's start_info has room for {MaxCmdline}.");
    }

    private static void CheckAffinity(Experiment experiment, DomainSettings domain, ConfigurationNode node, List<ConfigurationError> errors)
    {
        int pcpus = experiment.Machine.HostCpus.Count;
        foreach (int outside in domain.Affinity?.Where(cpu => cpu >= pcpus) ?? [])
            Fail(errors, node, ConfigurationKeys.Affinity, $"The machine has no physical CPU {outside}.", $"It has {pcpus}, numbered from 0 to {pcpus - 1}, whatever their numbers on the host.");
    }

    private static void CheckFiles(DomainSettings domain, ConfigurationNode node, List<ConfigurationError> errors)
    {
        foreach ((string key, string? file) in new[] { (ConfigurationKeys.Kernel, domain.Kernel), (ConfigurationKeys.Initrd, domain.Initrd) })
        {
            if (file is not null && !Path.Exists(file))
                Fail(errors, node, key, $"There is no file {file}.", "Paths count from the configuration's own folder.");
        }
    }

    private static void CheckNames(DomainSettings domain, ConfigurationNode node, Dictionary<string, string> owners, List<ConfigurationError> errors)
    {
        foreach (string name in domain.Names)
        {
            if (owners.TryAdd(name, domain.Path))
                continue;
            Fail(errors, node, ConfigurationKeys.Name, $"The name \"{name}\" is taken by {owners[name]}.", "Give each domain its own name.");
            return;
        }
    }

    private static void CheckMemory(Experiment experiment, List<ConfigurationError> errors)
    {
        long limit = experiment.Machine.MemoryLimit.Bytes;
        long sum = 0;
        foreach (DomainSettings domain in experiment.Domains)
            sum = checked(sum + ((domain.Memory?.Bytes ?? 0) * domain.Count));
        if (sum <= limit)
            return;
        string key = experiment.Document.Find(ConfigurationKeys.Machine)?.Find(ConfigurationKeys.MemoryLimit) is null
            ? ConfigurationKeys.Domains
            : $"{ConfigurationKeys.Machine}.{ConfigurationKeys.MemoryLimit}";
        Fail(errors, experiment.Document, key, $"The domains' memory adds up to {Readable(sum)}, and the machine's limit is {Readable(limit)}.", "Give the domains less, or raise machine.memoryLimit.");
    }

    private static string Readable(long bytes) => bytes % (1L << 20) == 0 ? $"{bytes >> 20} MiB" : $"{bytes / (double)(1L << 20):0.#} MiB";

    private static void Fail(List<ConfigurationError> errors, ConfigurationNode node, string key, string message, string cure)
    {
        string path = key.Length == 0 ? node.Path : node.PathOf(key);
        errors.Add(new(node.Nearest(path).Position, path, message, cure));
    }
}
