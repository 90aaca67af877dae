using Tessera.Sdk.Simulation;

namespace Tessera.Sdk.Conformance.Checks;

/// <summary>
/// Deadlines of periodic tasks in the sense of Liu and Layland, each a vCPU that reserved just the CPU time and the period of its task and wakes at
/// the very instant at which a period begins: the examples of lectures and textbooks.
/// </summary>
internal sealed class DeadlineCheck : Check
{
    /// <summary>How many of its longest periods a set runs for.</summary>
    private const int Periods = 60;

    /// <summary>How much later the first job of each next task is released in the second round, ms.</summary>
    private const int Stagger = 3;

    /// <summary>CPU time and period of each task, ms; utilisations from 0.75 to 1.</summary>
    private static readonly (int Burst, int Period)[][] Sets =
    [
        [(3, 20), (2, 5), (2, 10)],
        [(20, 100), (40, 150), (100, 350)],
        [(25, 50), (30, 75)],
        [(1, 4), (2, 6), (3, 8)],
        [(2, 5), (4, 7)],
        [(10, 40), (15, 50), (26, 60)],
        [(1, 2), (1, 3), (1, 6)],
        [(2, 4), (1, 4), (2, 8)],
    ];

    public DeadlineCheck()
        : base("deadlines", "Periodic tasks with reservations meet every deadline up to the declared utilisation of a physical CPU.") =>
        Needs = static declaration => declaration is { DeadlineUtilisation: not null, ReservationOptions: not null };

    public override CheckResult Run(Subject subject)
    {
        double bound = subject.Declaration.DeadlineUtilisation!.Value;
        (int Burst, int Period)[][] sets = [.. Sets.Where(set => UtilisationOf(set) <= bound + 1e-9)];
        long jobs = 0;
        foreach ((int Burst, int Period)[] set in sets)
        {
            foreach (int stagger in new[] { 0, Stagger })
            {
                if (Missed(subject, set, stagger, ref jobs) is { } missed)
                    return Failed(missed);
            }
        }

        return Judge(jobs > 0, $"{jobs} jobs of {sets.Length} task sets with utilisations to {sets.Select(UtilisationOf).DefaultIfEmpty(0).Max():0.###} (declared {bound:0.###}): no deadline missed");
    }

    private static double UtilisationOf((int Burst, int Period)[] set) => set.Sum(static task => task.Burst / (double)task.Period);

    private static string? Missed(Subject subject, (int Burst, int Period)[] set, int stagger, ref long jobs)
    {
        VirtualMachine machine = Simulated.Machine(subject, 1);
        PeriodicWorkload[] tasks = new PeriodicWorkload[set.Length];
        for (int index = 0; index < set.Length; index++)
        {
            Nanoseconds burst = Nanoseconds.FromMilliseconds(set[index].Burst);
            Nanoseconds period = Nanoseconds.FromMilliseconds(set[index].Period);
            tasks[index] = new(burst, period, phase: Nanoseconds.FromMilliseconds(index * stagger));
            machine.Start(index + 1, tasks[index], options: subject.Declaration.ReservationOptions!(period, burst));
        }

        machine.RunUntil(Nanoseconds.FromMilliseconds(Periods * set.Max(static task => task.Period)));
        if (Simulated.Ejected(machine) is { } ejected)
            return ejected;
        long missed = tasks.Sum(task => task.MissesBy(machine.Now));
        jobs += tasks.Sum(static task => task.Completed);
        return missed == 0
            ? null
            : $"tasks of {string.Join(", ", set.Select(static task => $"{task.Burst} ms in {task.Period} ms"))} (utilisation {UtilisationOf(set):0.###}), first releases {stagger} ms apart: missed {string.Join(", ", tasks.Select(task => $"{task.MissesBy(machine.Now)} of {task.Completed}"))}";
    }
}
