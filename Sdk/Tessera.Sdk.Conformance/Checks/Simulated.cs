using Tessera.Sdk.Scheduling;
using Tessera.Sdk.Simulation;

namespace Tessera.Sdk.Conformance.Checks;

/// <summary>Machines in virtual time for checks.</summary>
internal static class Simulated
{
    /// <summary>Before what is measured, so that a policy may settle.</summary>
    public static readonly Nanoseconds WarmUp = Nanoseconds.FromSeconds(5);

    public static readonly Nanoseconds Window = Nanoseconds.FromSeconds(20);

    /// <summary>How long a machine with a watchdog runs: several times the watchdog's limit.</summary>
    public static readonly Nanoseconds Patience = Nanoseconds.FromSeconds(300);

    /// <summary>A machine whose core never ejects for starvation: checks look themselves.</summary>
    public static VirtualMachine Machine(Subject subject, int pcpus) =>
        new(subject.Create(), new VirtualMachineOptions { PcpuCount = pcpus, StarvationLimit = Nanoseconds.Zero, PolicyName = subject.Declaration.Name });

    /// <summary>One whose watchdog is on, as on a machine that runs guests.</summary>
    public static VirtualMachine WatchedMachine(Subject subject) => new(subject.Create(), new VirtualMachineOptions { PolicyName = subject.Declaration.Name });

    public static SchedulableVcpu[] Hogs(VirtualMachine machine, int count, Func<int, int>? weight = null) =>
        [.. Enumerable.Range(0, count).Select(index => machine.Start(index + 1, new CpuBoundWorkload(), weight?.Invoke(index) ?? 256))];

    /// <summary>CPU time of each in the window after the warm-up, in seconds.</summary>
    public static double[] CpuTimes(VirtualMachine machine, IReadOnlyList<SchedulableVcpu> vcpus)
    {
        machine.RunUntil(WarmUp);
        double[] before = [.. vcpus.Select(vcpu => machine.Core.AccountOf(vcpu, machine.Now).CpuTime.TotalSeconds)];
        machine.RunFor(Window);
        return [.. vcpus.Select((vcpu, index) => machine.Core.AccountOf(vcpu, machine.Now).CpuTime.TotalSeconds - before[index])];
    }

    /// <summary>Why the policy is no longer in charge, or null.</summary>
    public static string? Ejected(VirtualMachine machine) => machine.Core.Ejections is [var first, ..] ? $"the policy was ejected: {first.Evidence}" : null;
}
