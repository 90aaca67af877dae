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

/// <summary>`ctl attach-nic DOMAIN BACKEND`: plugs a network interface in while the guest runs.</summary>
internal sealed class AttachNicCommand(GuestSources guests) : IControlCommand
{
    private const string Folder = "folder";

    /// <inheritdoc/>
    public string Name => "attach-nic";

    /// <inheritdoc/>
    public Command Build(ControlClient client)
    {
        Argument<string> domain = new("domain") { Description = "The domain's name." };
        Argument<string> backend = new("backend") { Description = "The network backend plugin, by name or by the path of its DLL." };
        Option<string[]> set = new("--set") { Description = "An option of the backend.", HelpName = "key=value", AllowMultipleArgumentsPerToken = false };
        Option<string?> mac = new("--mac") { Description = "Its address; made of the domain's name by default." };
        Command command = new(Name, "Plug a network interface into a running domain.") { domain, backend, set, mac };
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

            JsonObject nic = new() { [ConfigurationKeys.Backend] = parsed.GetRequiredValue(backend), [ConfigurationKeys.Options] = options };
            if (parsed.GetValue(mac) is { } address)
                nic[ConfigurationKeys.Mac] = address;
            return client.Ask(parsed, Name, new JsonObject { [NicArguments.Domain] = parsed.GetRequiredValue(domain), [Folder] = Environment.CurrentDirectory, [NicArguments.Nic] = nic });
        });
        return command;
    }

    /// <inheritdoc/>
    public ControlAnswer Run(ControlDesk desk, JsonElement arguments)
    {
        string domain = ControlArguments.Text(arguments, NicArguments.Domain);
        string folder = ControlArguments.Text(arguments, Folder);
        if (!arguments.TryGetProperty(NicArguments.Nic, out JsonElement nic) || nic.ValueKind != JsonValueKind.Object)
            throw new ControlException(ControlCode.BadRequest, $"The argument \"{NicArguments.Nic}\" is missing or is not an object as in a configuration's nics.");
        return desk.Do(run =>
        {
            (IHasNics nics, string name) = NicArguments.Find(run, domain);
            NicPlan plan = Plan(run.Prepared, name, folder, nic, out bool isNamed);
            int number;
            try
            {
                number = nics.AttachNic(free => plan with { Number = free, Address = isNamed ? plan.Address : NicPlanner.AddressOf(name, free) });
            }
            catch (Exception e) when (e is BackendException or DeviceException)
            {
                throw new ControlException(ControlCode.Refused, e.Message);
            }

            run.Note(Name, $"domain {name}: interface {number} attached");
            return new ControlAnswer($"{name}: interface {number} is attached.", new JsonObject { [NicArguments.Domain] = name, [NicArguments.Nic] = number });
        });
    }

    /// <summary>Reads the interface as a configuration's, so that its rules and messages are the same.</summary>
    private NicPlan Plan(PreparedExperiment prepared, string domain, string folder, JsonElement nic, out bool isNamed)
    {
        List<ConfigurationError> errors = [];
        string text = $$"""{"domains":[{"name":{{JsonSerializer.Serialize(domain)}},"guest":"spin","nics":[{{nic.GetRawText()}}]}]}""";
        MachineSettings machine = prepared.Experiment.Machine;
        if (ConfigurationParser.Parse("ctl", Encoding.UTF8.GetBytes(text), errors) is { } document)
        {
            Experiment experiment = new ConfigurationBinder(folder, new HostResources(machine.HostCpus, machine.MemoryLimit), errors).Bind(document);
            NicChoices chosen = new NicPlanner(prepared.Devices, guests, experiment, errors).Choose(experiment.Domains[0]);
            isNamed = experiment.Domains[0].Nics[0].Address is not null;
            if (errors.Count == 0)
                return chosen.For(domain)[0];
        }

        throw new ControlException(ControlCode.Refused, $"{string.Join(" ", errors.Select(error => $"{error.Message} {error.Cure}".TrimEnd()))} Nothing was changed.");
    }
}

/// <summary>`ctl detach-nic DOMAIN NUMBER`: unplugs a network interface.</summary>
internal sealed class DetachNicCommand : IControlCommand
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(5);

    /// <inheritdoc/>
    public string Name => "detach-nic";

    /// <inheritdoc/>
    public Command Build(ControlClient client)
    {
        Argument<string> domain = new("domain") { Description = "The domain's name." };
        Argument<int> number = new("number") { Description = "The interface's number, from 0." };
        Command command = new(Name, "Unplug a network interface: the guest is asked to let go of it, and has 5 s for that.") { domain, number };
        command.SetAction(parsed => client.Ask(parsed, Name, new JsonObject { [NicArguments.Domain] = parsed.GetRequiredValue(domain), [NicArguments.Nic] = parsed.GetRequiredValue(number) }));
        return command;
    }

    /// <inheritdoc/>
    public ControlAnswer Run(ControlDesk desk, JsonElement arguments)
    {
        string domain = ControlArguments.Text(arguments, NicArguments.Domain);
        if (!arguments.TryGetProperty(NicArguments.Nic, out JsonElement value) || value.ValueKind != JsonValueKind.Number || !value.TryGetInt32(out int number))
            throw new ControlException(ControlCode.BadRequest, $"The argument \"{NicArguments.Nic}\" is missing or is not an interface's number.");
        (IHasNics nics, string name) = desk.Do(run => NicArguments.Find(run, domain));
        // The guest may take its time; the run goes on meanwhile.
        bool? letGo = nics.DetachNic(number, Patience);
        if (letGo is null)
            throw new ControlException(ControlCode.Refused, $"Domain {name} has no interface {number}.");
        string how = letGo.Value ? "detached" : "taken away: the guest did not let go of it in time";
        desk.Do(run =>
        {
            run.Note(Name, $"domain {name}: interface {number} {how}");
            return true;
        });
        return new ControlAnswer($"{name}: interface {number} is {how}.", new JsonObject { [NicArguments.Domain] = name, [NicArguments.Nic] = number, ["letGo"] = letGo.Value });
    }
}

/// <summary>What both need.</summary>
internal static class NicArguments
{
    public const string Domain = "domain";
    public const string Nic = "nic";

    /// <summary>The one domain of a name, if it can have interfaces.</summary>
    public static (IHasNics Nics, string Name) Find(ControlledRun run, string domain)
    {
        IReadOnlyList<int> found = run.Find(domain);
        if (found.Count != 1)
            throw new ControlException(ControlCode.BadRequest, "Name one domain.");
        string name = run.Plans[found[0]].Name;
        return run.Domains[found[0]] is IHasNics nics
            ? (nics, name)
            : throw new ControlException(ControlCode.Refused, $"Domain {name} is simulated: it has no interfaces.");
    }
}
