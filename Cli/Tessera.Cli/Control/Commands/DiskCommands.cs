using System.CommandLine;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Tessera.Cli.Composition;
using Tessera.Cli.Configuration;
using Tessera.Cli.Runs;
using Tessera.Kernel.Devices;
using Tessera.Sdk.Devices;

namespace Tessera.Cli.Control.Commands;

/// <summary>`ctl attach-disk DOMAIN NAME BACKEND`: plugs a disk in while the guest runs.</summary>
internal sealed class AttachDiskCommand(GuestSources guests) : IControlCommand
{
    private const string Folder = "folder";
    private const string Disk = "disk";

    /// <inheritdoc/>
    public string Name => "attach-disk";

    /// <inheritdoc/>
    public Command Build(ControlClient client)
    {
        Argument<string> domain = new("domain") { Description = "The domain's name." };
        Argument<string> name = new("disk") { Description = "The disk's name in the guest, such as xvdb." };
        Argument<string> backend = new("backend") { Description = "The block backend plugin, by name or by the path of its DLL." };
        Option<string[]> set = new("--set") { Description = "An option of the backend.", HelpName = "key=value", AllowMultipleArgumentsPerToken = false };
        Option<bool> readOnly = new("--read-only") { Description = "The guest may only read it." };
        Command command = new(Name, "Plug a disk into a running domain.") { domain, name, backend, set, readOnly };
        command.SetAction(parsed =>
        {
            JsonObject options = [];
            foreach (string pair in parsed.GetValue(set) ?? [])
            {
                int equals = pair.IndexOf('=', StringComparison.Ordinal);
                if (equals <= 0)
                    throw new UsageException($"--set {pair}: write key=value.");
                options[pair[..equals]] = SchedulerOptions.Typed(pair[(equals + 1)..]);
            }

            return client.Ask(parsed, Name, new JsonObject
            {
                [DiskArguments.Domain] = parsed.GetRequiredValue(domain),
                [Folder] = Environment.CurrentDirectory,
                [Disk] = new JsonObject
                {
                    [ConfigurationKeys.Name] = parsed.GetRequiredValue(name),
                    [ConfigurationKeys.Backend] = parsed.GetRequiredValue(backend),
                    [ConfigurationKeys.Options] = options,
                    [ConfigurationKeys.ReadOnly] = parsed.GetValue(readOnly),
                },
            });
        });
        return command;
    }

    /// <inheritdoc/>
    public ControlAnswer Run(ControlDesk desk, JsonElement arguments)
    {
        string domain = ControlArguments.Text(arguments, DiskArguments.Domain);
        string folder = ControlArguments.Text(arguments, Folder);
        if (!arguments.TryGetProperty(Disk, out JsonElement disk) || disk.ValueKind != JsonValueKind.Object)
            throw new ControlException(ControlCode.BadRequest, $"The argument \"{Disk}\" is missing or is not an object as in a configuration's disks.");
        return desk.Do(run =>
        {
            (IHasDisks disks, string name) = DiskArguments.Find(run, domain);
            DiskPlan plan = Plan(run.Prepared, name, folder, disk);
            try
            {
                disks.AttachDisk(plan);
            }
            catch (Exception e) when (e is BackendException or DeviceException)
            {
                throw new ControlException(ControlCode.Refused, e.Message);
            }

            run.Note(Name, $"domain {name}: disk {plan.Name} attached");
            return new ControlAnswer($"{name}: {plan.Name} is attached.", new JsonObject { [DiskArguments.Domain] = name, [Disk] = plan.Name });
        });
    }

    /// <summary>Reads the disk as a configuration's, so that its rules and messages are the same.</summary>
    private DiskPlan Plan(PreparedExperiment prepared, string domain, string folder, JsonElement disk)
    {
        List<ConfigurationError> errors = [];
        string text = $$"""{"domains":[{"name":{{JsonSerializer.Serialize(domain)}},"guest":"spin","disks":[{{disk.GetRawText()}}]}]}""";
        MachineSettings machine = prepared.Experiment.Machine;
        if (ConfigurationParser.Parse("ctl", Encoding.UTF8.GetBytes(text), errors) is { } document)
        {
            Experiment experiment = new ConfigurationBinder(folder, new HostResources(machine.HostCpus, machine.MemoryLimit), errors).Bind(document);
            DiskChoices chosen = new DiskPlanner(prepared.Devices, guests, experiment, errors).Choose(experiment.Domains[0]);
            if (errors.Count == 0)
                return chosen.For(domain)[0];
        }

        throw new ControlException(ControlCode.Refused, $"{string.Join(" ", errors.Select(error => $"{error.Message} {error.Cure}".TrimEnd()))} Nothing was changed.");
    }
}

/// <summary>`ctl detach-disk DOMAIN NAME`: unplugs a disk.</summary>
internal sealed class DetachDiskCommand : IControlCommand
{
    private const string Disk = "disk";
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(5);

    /// <inheritdoc/>
    public string Name => "detach-disk";

    /// <inheritdoc/>
    public Command Build(ControlClient client)
    {
        Argument<string> domain = new("domain") { Description = "The domain's name." };
        Argument<string> name = new("disk") { Description = "The disk's name in the guest, such as xvdb." };
        Command command = new(Name, "Unplug a disk: the guest is asked to let go of it, and has 5 s for that.") { domain, name };
        command.SetAction(parsed => client.Ask(parsed, Name, new JsonObject { [DiskArguments.Domain] = parsed.GetRequiredValue(domain), [Disk] = parsed.GetRequiredValue(name) }));
        return command;
    }

    /// <inheritdoc/>
    public ControlAnswer Run(ControlDesk desk, JsonElement arguments)
    {
        string domain = ControlArguments.Text(arguments, DiskArguments.Domain);
        string disk = ControlArguments.Text(arguments, Disk);
        (IHasDisks disks, string name) = desk.Do(run => DiskArguments.Find(run, domain));
        // The guest may take its time; the run goes on meanwhile.
        bool? letGo = disks.DetachDisk(disk, Patience);
        if (letGo is null)
            throw new ControlException(ControlCode.Refused, $"Domain {name} has no disk {disk}.");
        string how = letGo.Value ? "detached" : "taken away: the guest did not let go of it in time";
        desk.Do(run =>
        {
            run.Note(Name, $"domain {name}: disk {disk} {how}");
            return true;
        });
        return new ControlAnswer($"{name}: {disk} is {how}.", new JsonObject { [DiskArguments.Domain] = name, [Disk] = disk, ["letGo"] = letGo.Value });
    }
}

/// <summary>What both need.</summary>
internal static class DiskArguments
{
    public const string Domain = "domain";

    /// <summary>The one domain of a name, if it can have disks.</summary>
    public static (IHasDisks Disks, string Name) Find(ControlledRun run, string domain)
    {
        IReadOnlyList<int> found = run.Find(domain);
        if (found.Count != 1)
            throw new ControlException(ControlCode.BadRequest, "Name one domain.");
        string name = run.Plans[found[0]].Name;
        return run.Domains[found[0]] is IHasDisks disks
            ? (disks, name)
            : throw new ControlException(ControlCode.Refused, $"Domain {name} is simulated: it has no disks.");
    }
}
