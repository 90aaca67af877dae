using System.CommandLine;
using System.Globalization;
using Tessera.Experiments.Hosts;
using Tessera.Experiments.Machines;
using Tessera.Sdk.Plugins;
using Tessera.Sdk.Simulation;

namespace Tessera.Cli.Verbs;

/// <summary>`tessera simulate CONFIG`: the same experiment with the same scheduler plugin, in virtual time.</summary>
internal sealed class SimulateVerb(RunCommand command, HostResources resources) : IVerb
{
    /// <summary>The memory of a machine that is only imagined: domains need none.</summary>
    private static readonly ByteSize ImaginedMemory = new(1L << 40);

    /// <inheritdoc/>
    public Command Build()
    {
        Argument<string> config = new("config") { Description = "The configuration, as for `tessera run` (docs/configuration.md)." };
        Option<string[]> set = CommonOptions.Set();
        Option<double?> seconds = CommonOptions.Seconds("Measure this much virtual time instead of the configured duration.");
        Option<string?> scheduler = CommonOptions.Scheduler();
        Option<long> seed = new("--seed") { Description = "Seed of the random workloads.", HelpName = "N", DefaultValueFactory = _ => 1 };
        Option<int?> pcpus = new("--pcpus") { Description = $"Imagine a machine with so many pCPUs (at most {VirtualMachineOptions.MaxPcpus}) and 1 TiB, instead of this host's.", HelpName = "N" };
        pcpus.Validators.Add(result =>
        {
            if (result.Tokens.Count > 0 && (!int.TryParse(result.Tokens[0].Value, NumberStyles.None, CultureInfo.InvariantCulture, out int count) || count is < 1 or > VirtualMachineOptions.MaxPcpus))
                result.AddError($"--pcpus {result.Tokens[0].Value}: a simulated machine has 1 to {VirtualMachineOptions.MaxPcpus} pCPUs.");
        });
        Option<Sdk.Nanoseconds> switchCost = CommonOptions.Time("--switch-cost", "What a context switch costs the pCPU, such as \"4 us\"; by default nothing.");
        Option<Sdk.Nanoseconds> wakeCost = CommonOptions.Time("--wake-cost", "What a wake costs the pCPU, such as \"8 us\"; by default nothing.");
        Option<Sdk.Nanoseconds> stagger = CommonOptions.Time("--stagger", "Let each domain begin to work at a random instant within this time after its start, by the seed, such as \"100 ms\"; by default all begin at once.");
        Option<string[]> model = new("--model")
        {
            Description = "Model a domain by something other than its guest: \"web=queue gap=10ms service=2ms\" (docs/simulator.md). May be given several times.",
            HelpName = "NAME=MODEL",
            AllowMultipleArgumentsPerToken = false,
        };
        Option<string?> output = CommonOptions.Output();
        Option<bool> force = CommonOptions.Force();
        Option<bool> json = CommonOptions.Json("the result");
        Option<bool> quiet = CommonOptions.Quiet();
        Option<string?> control = CommonOptions.Control();
        Command simulate = new("simulate", "Run an experiment in virtual time: the same configuration and scheduler, modelled guests.")
        {
            config, set, seconds, scheduler, seed, pcpus, switchCost, wakeCost, stagger, model, output, force, json, quiet, control,
        };
        simulate.SetAction(parsed =>
        {
            int? count = parsed.GetValue(pcpus);
            string[] howMany = count is { } n ? [$"machine.pcpus={n}"] : [];
            string[] edits = [.. CommonOptions.Edits(parsed.GetValue(set), parsed.GetValue(seconds)), .. howMany];
            return command.Simulate(
                new RunRequest(parsed.GetRequiredValue(config), edits, parsed.GetValue(scheduler), parsed.GetValue(output), parsed.GetValue(json), parsed.GetValue(quiet), parsed.GetValue(control), parsed.GetValue(force)),
                count is { } imagined ? new HostResources([.. Enumerable.Range(0, imagined)], ImaginedMemory) : resources,
                new SimulationSettings
                {
                    Seed = (ulong)parsed.GetValue(seed),
                    ContextSwitchCost = parsed.GetValue(switchCost),
                    WakeCost = parsed.GetValue(wakeCost),
                    Stagger = parsed.GetValue(stagger),
                    Models = [.. (parsed.GetValue(model) ?? []).Select(WorkloadModel.Parse)],
                });
        });
        return simulate;
    }
}
