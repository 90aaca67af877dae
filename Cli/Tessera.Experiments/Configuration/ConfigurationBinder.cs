using System.Globalization;
using Tessera.Experiments.Hosts;

namespace Tessera.Experiments.Configuration;

/// <summary>
/// Reads a document's nodes into an <see cref="Experiment"/>: kinds, ranges and units by its keys, then what the host and each domain's
/// devices have to say. Sums and other cross-checks are <see cref="ConfigurationChecks"/>.
/// </summary>
public sealed class ConfigurationBinder(string baseDirectory, HostResources host, List<ConfigurationError> errors)
{
    /// <summary>The most physical CPUs in virtual time, as in the simulator.</summary>
    private const int MaxVirtualPcpus = 256;

    /// <summary>The experiment, with defaults where something was wrong.</summary>
    public Experiment Bind(ConfigurationNode document)
    {
        Reading reading = new(baseDirectory, errors);
        ConfigurationSchema.Document.TryRead(document, "", reading, out object? read);
        Experiment experiment = (Experiment)read!;
        foreach (DomainSettings domain in experiment.Domains)
            ConfigurationChecks.CheckDevices(domain, errors);
        MachineSettings machine = experiment.Machine;
        return experiment with
        {
            Errors = errors,
            BaseDirectory = baseDirectory,
            Machine = machine with
            {
                HostCpus = CpusOf(machine, reading),
                MostMemory = machine.MemoryLimit ?? host.AvailableMemory,
                // What is said of virtual time is checked whether it is wanted or not.
                VirtualTime = machine.Time == MachineTime.Virtual ? machine.VirtualTime : null,
            },
        };
    }

    private IReadOnlyList<int> CpusOf(MachineSettings machine, Reading reading)
    {
        if (machine.Pcpus is not { } pcpus)
            return host.Cpus;
        ConfigurationNode node = machine.Node.Find("pcpus")!;
        if (pcpus.Count is not { } written)
        {
            foreach (int missing in pcpus.Numbers.Except(host.Cpus))
                reading.Fail(node, $"This host has no CPU {missing} for this process.", $"It may use: {string.Join(", ", host.Cpus)}.");
            return pcpus.Numbers;
        }

        // In virtual time all are one thread, so that a machine may have more than the host.
        bool isVirtual = machine.Time == MachineTime.Virtual;
        int most = isVirtual ? MaxVirtualPcpus : host.Cpus.Count;
        if (int.TryParse(written, NumberStyles.None, CultureInfo.InvariantCulture, out int count) && count >= 1 && count <= most)
            return [.. Enumerable.Range(0, count).Select(index => host.Cpus[index % host.Cpus.Count])];
        _ = isVirtual
            ? reading.Refuse(node, $"It must be a whole number from 1 to {most}.")
            : reading.Fail(node, $"This asks for {written} physical CPUs.",
                $"This host offers this process {most} ({string.Join(", ", host.Cpus)}): from 1 to {most} are possible.");
        return host.Cpus;
    }
}
