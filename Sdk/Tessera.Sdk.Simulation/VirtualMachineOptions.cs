using Tessera.Sdk.Scheduling;

namespace Tessera.Sdk.Simulation;

/// <summary>The parameters of a <see cref="VirtualMachine"/>.</summary>
public sealed record VirtualMachineOptions
{
    /// <summary>The most physical CPUs a virtual machine may have.</summary>
    public const int MaxPcpus = 256;

    /// <summary>The most vCPUs a virtual machine may have at a time.</summary>
    public const int MaxVcpus = 10_000;

    /// <summary>How many physical CPUs there are, 1 to <see cref="MaxPcpus"/>.</summary>
    public int PcpuCount { get; init; } = 1;

    /// <summary>How they lie to each other, for policies that look; null for a flat machine. The model itself knows no distance.</summary>
    public MachineTopology? Topology { get; init; }

    /// <summary>What a physical CPU loses when it begins to run another vCPU than the last one: spent before that vCPU's own work goes on.</summary>
    public Nanoseconds ContextSwitchCost { get; init; }

    /// <summary>What a vCPU's wake costs it: spent when it is first dispatched, before its own work goes on.</summary>
    public Nanoseconds WakeCost { get; init; }

    /// <summary>After how long a vCPU left waiting ejects the policy, as on the real machine; zero never does.</summary>
    public Nanoseconds StarvationLimit { get; init; } = Nanoseconds.FromSeconds(30);

    /// <summary>Measures what decisions cost in host time; null in a run that is to be reproduced bit for bit.</summary>
    public TimeProvider? HostClock { get; init; }

    /// <summary>The policy's name in reports.</summary>
    public string PolicyName { get; init; } = "under-test";
}
