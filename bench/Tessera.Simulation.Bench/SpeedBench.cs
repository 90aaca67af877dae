using System.Globalization;
using Tessera.Sdk;
using Tessera.Sdk.Scheduling;
using Tessera.Sdk.Simulation;

namespace Tessera.Simulation.Bench;

/// <summary>Scheduling decisions a second of the simulator on one core, policy included; the best of five rounds, for the host may have other work.</summary>
internal static class SpeedBench
{
    private const int Rounds = 5;

    private static readonly (int Vcpus, int Pcpus)[] Machines = [(10, 1), (100, 1), (100, 4), (1_000, 16), (10_000, 1), (10_000, 256)];

    public static void Run(IEnumerable<string> names)
    {
        Console.WriteLine("| policy | vCPUs | pCPUs | load | decisions/s |");
        Console.WriteLine("|---|---:|---:|---|---:|");
        foreach ((string name, Func<IScheduler> create) in Policies.All.Where(policy => names.Contains(policy.Name)))
        {
            foreach ((int vcpus, int pcpus) in Machines)
            {
                foreach (bool sleeps in new[] { false, true })
                {
                    double rate = Measure(create, vcpus, pcpus, sleeps);
                    Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"| {name} | {vcpus} | {pcpus} | {(sleeps ? "half sleep and wake" : "CPU-bound")} | {rate:N0} |"));
                }
            }
        }
    }

    private static double Measure(Func<IScheduler> create, int vcpus, int pcpus, bool sleeps)
    {
        VirtualMachine machine = new(create(), new VirtualMachineOptions { PcpuCount = pcpus, StarvationLimit = Nanoseconds.Zero });
        long decisions = 0;
        machine.Decided = (_, _) => decisions++;
        for (int domain = 1; domain <= vcpus; domain++)
        {
            Workload workload = sleeps && domain % 2 == 0
                ? new PeriodicWorkload(Nanoseconds.FromMicroseconds(100), Nanoseconds.FromMilliseconds(20 + (domain % 17)), skipLate: true)
                : new CpuBoundWorkload();
            machine.Start(domain, workload);
        }

        double best = 0;
        machine.RunFor(Nanoseconds.FromSeconds(1));
        for (int round = 0; round < Rounds; round++)
        {
            decisions = 0;
            long started = TimeProvider.System.GetTimestamp();
            while (TimeProvider.System.GetElapsedTime(started) < TimeSpan.FromMilliseconds(200))
                machine.RunFor(Nanoseconds.FromMilliseconds(200));
            best = Math.Max(best, decisions / TimeProvider.System.GetElapsedTime(started).TotalSeconds);
        }

        return best;
    }
}
