using System.CommandLine;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Tessera.Experiments;
using Tessera.Experiments.Configuration;
using Tessera.Experiments.Hosts;
using Tessera.Experiments.Planning;

namespace Tessera.Cli.Control.Commands;

/// <summary>What plugging disks and network interfaces has in common.</summary>
internal static class DeviceArguments
{
    public const string Domain = "domain";
    public const string Folder = "folder";
    public const string Disk = "disk";
    public const string Nic = "nic";

    /// <summary>How long a guest has to let go of a device: a small part of a second is usual, but its share of a busy host may be small too.</summary>
    public static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    /// <summary>The backend's options on the command line.</summary>
    public static Option<string[]> SetOption() =>
        new("--set") { Description = "An option of the backend.", HelpName = "key=value", AllowMultipleArgumentsPerToken = false };

    /// <summary>The same as in a configuration.</summary>
    /// <exception cref="UsageException">One is not of the form key=value.</exception>
    public static JsonObject Options(string[]? pairs)
    {
        JsonObject options = [];
        foreach (string pair in pairs ?? [])
        {
            int equals = pair.IndexOf('=', StringComparison.Ordinal);
            if (equals <= 0)
                throw new UsageException($"--set {pair}: write key=value.");
            options[pair[..equals]] = SchedulerOptions.Typed(pair[(equals + 1)..]);
        }

        return options;
    }

    /// <summary>The one domain of a name, if it can have such devices.</summary>
    public static (T Devices, string Name) Find<T>(ControlledRun run, string domain, string what)
        where T : class
    {
        IReadOnlyList<int> found = run.Find(domain);
        if (found.Count != 1)
            throw new ControlException(ControlCode.BadRequest, "Name one domain.");
        string name = run.Plans[found[0]].Name;
        return run.Domains[found[0]] is T devices
            ? (devices, name)
            : throw new ControlException(ControlCode.Refused, $"Domain {name} is simulated: it has no {what}.");
    }

    /// <summary>Reads a device as a configuration's, so that its rules and messages are the same.</summary>
    /// <param name="prepared">What runs.</param>
    /// <param name="guests">Whose root disks it may name.</param>
    /// <param name="folder">Where relative paths start.</param>
    /// <param name="domain">The domain's name.</param>
    /// <param name="list">The key of the list that the device is one of.</param>
    /// <param name="device">What was asked for.</param>
    /// <param name="plan">Looks the device up in the one domain.</param>
    /// <exception cref="ControlException">Something is wrong with it.</exception>
    public static T Plan<T>(
        PreparedExperiment prepared,
        GuestSources guests,
        string folder,
        string domain,
        string list,
        JsonElement device,
        Func<DevicePlanner, DomainSettings, T> plan)
    {
        List<ConfigurationError> errors = [];
        string text = $$"""{"domains":[{"name":{{JsonSerializer.Serialize(domain)}},"guest":"spin","{{list}}":[{{device.GetRawText()}}]}]}""";
        MachineSettings machine = prepared.Experiment.Machine;
        if (ConfigurationParser.Parse("ctl", Encoding.UTF8.GetBytes(text), errors) is { } document)
        {
            HostResources host = new(machine.HostCpus, machine.MostMemory);
            Lookup lookup = new(new ConfigurationBinder(folder, host, errors).Bind(document));
            T planned = plan(new DevicePlanner(prepared.Devices, guests, lookup), lookup.Experiment.Domains[0]);
            errors = lookup.Errors;
            if (errors.Count == 0)
                return planned;
        }

        string wrong = string.Join(" ", errors.Select(error => $"{error.Message} {error.Cure}".TrimEnd()));
        throw new ControlException(ControlCode.Refused, $"{wrong} Nothing was changed.");
    }

    /// <summary>Notes that a device was unplugged, and says how.</summary>
    public static ControlAnswer Detached(ControlDesk desk, string command, string domain, string device, bool letGo)
    {
        string how = letGo ? "detached" : "taken away: the guest did not let go of it in time";
        desk.Do(run =>
        {
            run.Note(command, $"domain {domain}: {device} {how}");
            return true;
        });
        return new ControlAnswer($"{domain}: {device} is {how}.", new JsonObject { [Domain] = domain, ["device"] = device, ["letGo"] = letGo });
    }
}
