using System.CommandLine;
using System.Text.Json;
using System.Text.Json.Nodes;
using Tessera.Experiments.Planning;
using Tessera.Experiments.Runs;
using Tessera.Kernel.Devices;
using Tessera.Sdk.Devices;

namespace Tessera.Cli.Control.Commands;

/// <summary>`ctl attach-disk DOMAIN NAME BACKEND`: plugs a disk in while the guest runs.</summary>
internal sealed class AttachDiskCommand(GuestSources guests) : IControlCommand
{
    /// <inheritdoc/>
    public string Name => "attach-disk";

    /// <inheritdoc/>
    public Command Build(ControlClient client)
    {
        Argument<string> domain = new("domain") { Description = "The domain's name." };
        Argument<string> name = new("disk") { Description = "The disk's name in the guest, such as xvdb." };
        Argument<string> backend = new("backend") { Description = "The block backend plugin, by name or by the path of its DLL." };
        Option<string[]> set = DeviceArguments.SetOption();
        Option<bool> readOnly = new("--read-only") { Description = "The guest may only read it." };
        Command command = new(Name, "Plug a disk into a running domain.") { domain, name, backend, set, readOnly };
        command.SetAction(parsed => client.Ask(parsed, Name, new JsonObject
        {
            [DeviceArguments.Domain] = parsed.GetRequiredValue(domain),
            [DeviceArguments.Folder] = Environment.CurrentDirectory,
            [DeviceArguments.Disk] = new JsonObject
            {
                ["name"] = parsed.GetRequiredValue(name),
                ["backend"] = parsed.GetRequiredValue(backend),
                ["options"] = DeviceArguments.Options(parsed.GetValue(set)),
                ["readOnly"] = parsed.GetValue(readOnly),
            },
        }));
        return command;
    }

    /// <inheritdoc/>
    public ControlAnswer Run(ControlDesk desk, JsonElement arguments)
    {
        string domain = ControlArguments.Text(arguments, DeviceArguments.Domain);
        string folder = ControlArguments.Text(arguments, DeviceArguments.Folder);
        if (!arguments.TryGetProperty(DeviceArguments.Disk, out JsonElement disk) || disk.ValueKind != JsonValueKind.Object)
            throw new ControlException(ControlCode.BadRequest, $"The argument \"{DeviceArguments.Disk}\" is missing or is not an object as in a configuration's disks.");
        return desk.Do(run =>
        {
            (IHasDisks disks, string name) = DeviceArguments.Find<IHasDisks>(run, domain, "disks");
            DiskPlan plan = DeviceArguments.Plan(
                run.Prepared, guests, folder, name, "disks", disk, (planner, settings) => planner.Disks(settings)(name)[0]);
            try
            {
                disks.AttachDisk(plan);
            }
            catch (Exception e) when (e is BackendException or DeviceException)
            {
                throw new ControlException(ControlCode.Refused, e.Message);
            }

            run.Note(Name, $"domain {name}: disk {plan.Name} attached");
            return new ControlAnswer($"{name}: {plan.Name} is attached.", new JsonObject { [DeviceArguments.Domain] = name, [DeviceArguments.Disk] = plan.Name });
        });
    }
}

/// <summary>`ctl grow-disk DOMAIN NAME`: tells the guest that the storage of a disk has become larger.</summary>
internal sealed class GrowDiskCommand : IControlCommand
{
    private const string Bytes = "bytes";

    /// <inheritdoc/>
    public string Name => "grow-disk";

    /// <inheritdoc/>
    public Command Build(ControlClient client)
    {
        Argument<string> domain = new("domain") { Description = "The domain's name." };
        Argument<string> name = new("disk") { Description = "The disk's name in the guest, such as xvdb." };
        Command command = new(Name, "Tell the guest that a disk has become larger: enlarge the file first (truncate -s 2G disk.img).") { domain, name };
        command.SetAction(parsed => client.Ask(parsed, Name, new JsonObject { [DeviceArguments.Domain] = parsed.GetRequiredValue(domain), [DeviceArguments.Disk] = parsed.GetRequiredValue(name) }));
        return command;
    }

    /// <inheritdoc/>
    public ControlAnswer Run(ControlDesk desk, JsonElement arguments)
    {
        string domain = ControlArguments.Text(arguments, DeviceArguments.Domain);
        string disk = ControlArguments.Text(arguments, DeviceArguments.Disk);
        return desk.Do(run =>
        {
            (IHasDisks disks, string name) = DeviceArguments.Find<IHasDisks>(run, domain, "disks");
            try
            {
                long size = disks.GrowDisk(disk) ?? throw new ControlException(ControlCode.Refused, $"Domain {name} has no disk {disk}.");
                run.Note(Name, $"domain {name}: disk {disk} has {size} bytes");
                return new ControlAnswer($"{name}: {disk} has {size} bytes.", new JsonObject { [DeviceArguments.Domain] = name, [DeviceArguments.Disk] = disk, [Bytes] = size });
            }
            catch (Exception e) when (e is BackendException or DeviceException)
            {
                throw new ControlException(ControlCode.Refused, e.Message);
            }
        });
    }
}

/// <summary>`ctl detach-disk DOMAIN NAME`: unplugs a disk.</summary>
internal sealed class DetachDiskCommand : IControlCommand
{
    /// <inheritdoc/>
    public string Name => "detach-disk";

    /// <inheritdoc/>
    public Command Build(ControlClient client)
    {
        Argument<string> domain = new("domain") { Description = "The domain's name." };
        Argument<string> name = new("disk") { Description = "The disk's name in the guest, such as xvdb." };
        Command command = new(Name, "Unplug a disk: the guest is asked to let go of it, and has 5 s for that.") { domain, name };
        command.SetAction(parsed => client.Ask(parsed, Name, new JsonObject { [DeviceArguments.Domain] = parsed.GetRequiredValue(domain), [DeviceArguments.Disk] = parsed.GetRequiredValue(name) }));
        return command;
    }

    /// <inheritdoc/>
    public ControlAnswer Run(ControlDesk desk, JsonElement arguments)
    {
        string domain = ControlArguments.Text(arguments, DeviceArguments.Domain);
        string disk = ControlArguments.Text(arguments, DeviceArguments.Disk);
        (IHasDisks disks, string name) = desk.Do(run => DeviceArguments.Find<IHasDisks>(run, domain, "disks"));
        // The guest may take its time; the run goes on meanwhile.
        bool? letGo = disks.DetachDisk(disk, DeviceArguments.Patience);
        if (letGo is null)
            throw new ControlException(ControlCode.Refused, $"Domain {name} has no disk {disk}.");
        return DeviceArguments.Detached(desk, Name, name, $"disk {disk}", letGo.Value);
    }
}
