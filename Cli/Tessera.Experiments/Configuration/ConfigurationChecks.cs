using Tessera.Experiments.Hosts;
using Tessera.Kernel.Devices.Network;

namespace Tessera.Experiments.Configuration;

/// <summary>What no single value shows: contradictions, duplicates and impossible sums.</summary>
internal static class ConfigurationChecks
{
    /// <summary>Adds an error for each.</summary>
    public static void Check(Experiment experiment, List<ConfigurationError> errors)
    {
        Dictionary<string, string> owners = new(StringComparer.Ordinal);
        foreach (DomainSettings domain in experiment.Domains)
        {
            CheckGuest(domain, errors);
            CheckAffinity(experiment, domain, errors);
            CheckFile(domain, nameof(domain.Kernel), domain.Kernel, errors);
            CheckFile(domain, nameof(domain.Initrd), domain.Initrd, errors);
            CheckNames(domain, owners, errors);
            domain.FailIf(domain.StartDelay > experiment.ReadyTimeout && experiment.MeasureAfter is null, errors, nameof(domain.StartDelay),
                $"The domain starts after {domain.StartDelay}, but all must be ready within {experiment.ReadyTimeout}.",
                "Raise readyTimeout or give measureAfter a time.");
        }

        long total = experiment.Domains.Sum(domain => (long)domain.Count);
        experiment.FailIf(total > Experiment.MaxDomains, errors, nameof(experiment.Domains),
            $"These are {total} domains.", $"A machine has at most {Experiment.MaxDomains}.");
        CheckMemory(experiment, errors);
        CheckEngine(experiment.Machine, errors);
    }

    /// <summary>The same for what stands in the disks and interfaces of one domain.</summary>
    public static void CheckDevices(DomainSettings domain, List<ConfigurationError> errors)
    {
        HashSet<string> names = [];
        foreach (DiskSettings disk in domain.Disks)
        {
            disk.FailIf(disk.Name.Length > 0 && !names.Add(disk.Name), errors, nameof(disk.Name),
                $"The domain has two disks named {disk.Name}.", "Give each its own name.");
        }

        domain.FailIf(domain.Nics.Count > Nic.MaxNumber + 1, errors, nameof(domain.Nics),
            $"The domain has {domain.Nics.Count} interfaces.", $"At most {Nic.MaxNumber + 1} are possible.");
        foreach (NicSettings nic in domain.Nics)
        {
            bool hasAddresses = nic.Addresses.Count > 0;
            nic.FailIf(nic.Mac is not null && domain.Count > 1, errors, nameof(nic.Mac),
                "Several domains would have the same address.", "Leave it out: each domain gets its own.");
            nic.FailIf(hasAddresses && domain.Count > 1, errors, nameof(nic.Addresses),
                "Several domains would have the same addresses.", "Leave them out, or write one item for each domain.");
            nic.FailIf(hasAddresses && !nic.AntiSpoofing, errors, nameof(nic.Addresses),
                "Addresses are given, but \"antiSpoofing\" is false, so nothing checks them.", "Leave one of the two out.");
        }
    }

    private static void CheckGuest(DomainSettings domain, List<ConfigurationError> errors)
    {
        domain.FailIf(domain.Guest is not null && domain.Kernel is not null, errors, nameof(domain.Kernel),
            "The domain has both a guest and a kernel.", "Keep one: a guest has a kernel of its own.");
        if (!domain.Has(nameof(domain.Guest)) && !domain.Has(nameof(domain.Kernel)))
        {
            errors.Add(new(domain.Node.Position, domain.Path, "The domain has nothing to run.",
                "Give it a \"guest\" (spin, beat, burst, paging, or one of `tessera guest list`) or a \"kernel\"."));
        }

        domain.FailIf(domain.GuestOptions is not null && domain.Guest is null, errors, nameof(domain.GuestOptions),
            "Only built-in guests have options.", "Name the guest, or put it on the kernel's \"cmdline\".");
        domain.FailIf(domain.Script.Count > 0 && domain.Kernel is not null, errors, nameof(domain.Script),
            "A kernel given by its file has no script support.",
            "Only guests fetched by `tessera guest get` do: name one, or give the script to the kernel's own init.");
        domain.FailIf(domain.Cmdline?.Length > DomainSettings.MaxCmdline, errors, nameof(domain.Cmdline),
            $"The command line has {domain.Cmdline?.Length} characters.",
            $"The ABI's start_info has room for {DomainSettings.MaxCmdline}.");
    }

    private static void CheckAffinity(Experiment experiment, DomainSettings domain, List<ConfigurationError> errors)
    {
        int pcpus = experiment.Machine.HostCpus.Count;
        foreach (int outside in domain.Affinity?.Numbers.Where(cpu => cpu >= pcpus) ?? [])
        {
            domain.Fail(errors, nameof(domain.Affinity), $"The machine has no physical CPU {outside}.",
                $"It has {pcpus}, numbered from 0 to {pcpus - 1}, whatever their numbers on the host.");
        }
    }

    private static void CheckFile(DomainSettings domain, string property, string? file, List<ConfigurationError> errors) =>
        domain.FailIf(file is not null && !Path.Exists(file), errors, property,
            $"There is no file {file}.", "Paths count from the configuration's own folder.");

    private static void CheckNames(DomainSettings domain, Dictionary<string, string> owners, List<ConfigurationError> errors)
    {
        // One without a name has been reported as such.
        string? taken = domain.Name.Length == 0 ? null : domain.Names.FirstOrDefault(name => !owners.TryAdd(name, domain.Path));
        domain.FailIf(taken is not null, errors, nameof(domain.Name),
            $"The name \"{taken}\" is taken by {owners.GetValueOrDefault(taken ?? "")}.", "Give each domain its own name.");
    }

    private static void CheckEngine(MachineSettings machine, List<ConfigurationError> errors)
    {
        machine.FailIf(machine is { Engine: MachineSettings.Auto, EngineOptions.Members.Count: > 0 }, errors, nameof(machine.EngineOptions),
            "Options are given, but no engine is named.",
            $"Name the engine they belong to in machine.engine; \"{MachineSettings.Auto}\" chooses by the host.");
        machine.FailIf(machine is { VirtualTime: not null, Engine: KvmPresence.Engine }, errors, nameof(machine.Time),
            "The engine kvm runs guests by the host's clock, so it cannot run in virtual time.",
            "Use one that counts what guests do: --engine software, or \"engine\": \"auto\".");
    }

    private static void CheckMemory(Experiment experiment, List<ConfigurationError> errors)
    {
        MachineSettings machine = experiment.Machine;
        long limit = machine.MostMemory.Bytes;
        long sum = 0;
        foreach (DomainSettings domain in experiment.Domains)
            sum = checked(sum + ((domain.Memory?.Bytes ?? 0) * domain.Count));
        if (sum <= limit)
            return;
        string message = $"The domains' memory adds up to {Readable(sum)}, and the machine's limit is {Readable(limit)}.";
        const string cure = "Give the domains less, or raise machine.memoryLimit.";
        if (machine.Has(nameof(machine.MemoryLimit)))
            machine.Fail(errors, nameof(machine.MemoryLimit), message, cure);
        else
            experiment.Fail(errors, nameof(experiment.Domains), message, cure);
    }

    private static string Readable(long bytes) => bytes % (1L << 20) == 0 ? $"{bytes >> 20} MiB" : $"{bytes / (double)(1L << 20):0.#} MiB";
}
