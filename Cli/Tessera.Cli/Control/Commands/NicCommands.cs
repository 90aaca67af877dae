using System.CommandLine;
using System.Text.Json;
using System.Text.Json.Nodes;
using Tessera.Experiments.Planning;
using Tessera.Experiments.Runs;
using Tessera.Kernel.Devices;
using Tessera.Sdk.Devices;

namespace Tessera.Cli.Control.Commands;

/// <summary>`ctl attach-nic DOMAIN BACKEND`: plugs a network interface in while the guest runs.</summary>
internal sealed class AttachNicCommand(GuestSources guests) : IControlCommand
{
    /// <inheritdoc/>
    public string Name => "attach-nic";

    /// <inheritdoc/>
    public Command Build(ControlClient client)
    {
        Argument<string> domain = new("domain") { Description = "The domain's name." };
        Argument<string> backend = new("backend") { Description = "The network backend plugin, by name or by the path of its DLL." };
        Option<string[]> set = DeviceArguments.SetOption();
        Option<string?> mac = new("--mac") { Description = "Its address; made of the domain's name by default." };
        Option<string[]> addresses = new("--address") { Description = "An IP address of the domain: it sends from no other.", AllowMultipleArgumentsPerToken = false };
        Option<bool> anySource = new("--any-source") { Description = "The domain may send from Ethernet addresses other than its own, as a bridge does." };
        Command command = new(Name, "Plug a network interface into a running domain.") { domain, backend, set, mac, addresses, anySource };
        command.SetAction(parsed =>
        {
            JsonObject nic = new()
            {
                ["backend"] = parsed.GetRequiredValue(backend),
                ["options"] = DeviceArguments.Options(parsed.GetValue(set)),
                ["antiSpoofing"] = !parsed.GetValue(anySource),
            };
            if (parsed.GetValue(mac) is { } address)
                nic["mac"] = address;
            nic["addresses"] = new JsonArray([.. (parsed.GetValue(addresses) ?? []).Select(own => JsonValue.Create(own))]);
            return client.Ask(parsed, Name, new JsonObject { [DeviceArguments.Domain] = parsed.GetRequiredValue(domain), [DeviceArguments.Folder] = Environment.CurrentDirectory, [DeviceArguments.Nic] = nic });
        });
        return command;
    }

    /// <inheritdoc/>
    public ControlAnswer Run(ControlDesk desk, JsonElement arguments)
    {
        string domain = ControlArguments.Text(arguments, DeviceArguments.Domain);
        string folder = ControlArguments.Text(arguments, DeviceArguments.Folder);
        if (!arguments.TryGetProperty(DeviceArguments.Nic, out JsonElement nic) || nic.ValueKind != JsonValueKind.Object)
            throw new ControlException(ControlCode.BadRequest, $"The argument \"{DeviceArguments.Nic}\" is missing or is not an object as in a configuration's nics.");
        return desk.Do(run =>
        {
            (IHasNics nics, string name) = DeviceArguments.Find<IHasNics>(run, domain, "interfaces");
            (NicPlan plan, bool isNamed) = DeviceArguments.Plan(
                run.Prepared,
                guests,
                folder,
                name,
                "nics",
                nic,
                (planner, settings) => (planner.Nics(settings)(name)[0], settings.Nics[0].Mac is not null));
            int number;
            try
            {
                number = nics.AttachNic(free => plan with
                {
                    Number = free,
                    Address = isNamed ? plan.Address : DevicePlanner.AddressOf(name, free),
                });
            }
            catch (Exception e) when (e is BackendException or DeviceException)
            {
                throw new ControlException(ControlCode.Refused, e.Message);
            }

            run.Note(Name, $"domain {name}: interface {number} attached");
            return new ControlAnswer($"{name}: interface {number} is attached.", new JsonObject { [DeviceArguments.Domain] = name, [DeviceArguments.Nic] = number });
        });
    }
}

/// <summary>`ctl detach-nic DOMAIN NUMBER`: unplugs a network interface.</summary>
internal sealed class DetachNicCommand : IControlCommand
{
    /// <inheritdoc/>
    public string Name => "detach-nic";

    /// <inheritdoc/>
    public Command Build(ControlClient client)
    {
        Argument<string> domain = new("domain") { Description = "The domain's name." };
        Argument<int> number = new("number") { Description = "The interface's number, from 0." };
        Command command = new(Name, "Unplug a network interface: the guest is asked to let go of it, and has 5 s for that.") { domain, number };
        command.SetAction(parsed => client.Ask(parsed, Name, new JsonObject { [DeviceArguments.Domain] = parsed.GetRequiredValue(domain), [DeviceArguments.Nic] = parsed.GetRequiredValue(number) }));
        return command;
    }

    /// <inheritdoc/>
    public ControlAnswer Run(ControlDesk desk, JsonElement arguments)
    {
        string domain = ControlArguments.Text(arguments, DeviceArguments.Domain);
        if (!arguments.TryGetProperty(DeviceArguments.Nic, out JsonElement value) || value.ValueKind != JsonValueKind.Number || !value.TryGetInt32(out int number))
            throw new ControlException(ControlCode.BadRequest, $"The argument \"{DeviceArguments.Nic}\" is missing or is not an interface's number.");
        (IHasNics nics, string name) = desk.Do(run => DeviceArguments.Find<IHasNics>(run, domain, "interfaces"));
        // The guest may take its time; the run goes on meanwhile.
        bool? letGo = nics.DetachNic(number, DeviceArguments.Patience);
        if (letGo is null)
            throw new ControlException(ControlCode.Refused, $"Domain {name} has no interface {number}.");
        return DeviceArguments.Detached(desk, Name, name, $"interface {number}", letGo.Value);
    }
}
