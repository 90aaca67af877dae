using Tessera.Sdk.Simulation;

namespace Tessera.Sdk.Conformance.Checks;

/// <summary>
/// What a decision costs as vCPUs grow. Allocations are counted. Of times only one thing is judged, with a margin no busy host can use up: a hundred
/// times as many vCPUs make a decision that looks at each of them a hundred times as long, and one that is logarithmic in them, caches gone cold and
/// all, a few times; the limit lies between. The least of several rounds is taken on both sides, and what exceeds the limit is measured again.
/// </summary>
internal sealed class CostCheck() : Check("decision-cost", "The cost of a decision grows no worse than logarithmically, and its allocations not at all, as vCPUs grow to 10,000.")
{
    private const int Decisions = 2_000;

    /// <summary>The best of these is taken: the first ones may have met a compiler at work, or a busy host.</summary>
    private const int Rounds = 5;

    /// <summary>How often a growth beyond the limit is measured before it counts.</summary>
    private const int Attempts = 4;

    /// <summary>More than this for a decision, and more than on a small machine, is a copy of a queue.</summary>
    private const long FewBytes = 512;

    /// <summary>Growth is from here on: below, what is fixed in a decision hides it.</summary>
    private const int GrowthFrom = 100;

    /// <summary>Growth is judged only over so many times as many vCPUs: less of it tells cold caches from loops badly.</summary>
    private const int GrowthSpan = 100;

    private const double MostGrowth = 20;

    public override CheckResult Run(Subject subject)
    {
        List<Point> found = [];
        for (int vcpus = 10; vcpus <= subject.Options.MostVcpus; vcpus *= 10)
        {
            found.Add(new(vcpus));
            if (Measure(subject, found[^1]) is { } failure)
                return Failed(failure);
        }

        Point most = found[^1];
        Point? from = most.Vcpus >= GrowthFrom * GrowthSpan ? found.Find(static point => point.Vcpus == GrowthFrom) : null;
        for (int attempt = 1; attempt < Attempts && from is not null && most.Cost > from.Cost * MostGrowth; attempt++)
        {
            if (Measure(subject, from) is { } failure || (failure = Measure(subject, most)) is not null)
                return Failed(failure);
        }

        string detail = $"a decision took {string.Join(", ", found.Select(static point => $"{point.Cost:0} ns at {point.Vcpus}"))} vCPUs and allocated {most.Bytes} B at {most.Vcpus}";
        bool constant = most.Bytes <= FewBytes || most.Bytes <= 2 * found[0].Bytes;
        if (from is null)
            return Judge(constant, $"{detail}; growth is judged from {GrowthFrom} to {GrowthFrom * GrowthSpan} only");
        double growth = most.Cost / from.Cost;
        return Judge(constant && growth <= MostGrowth, $"{detail}; {growth:0.0} times as long at {most.Vcpus} as at {from.Vcpus} (at most {MostGrowth:0})");
    }

    private static string? Measure(Subject subject, Point point)
    {
        VirtualMachine machine = Simulated.Machine(subject, 1);
        Simulated.Hogs(machine, point.Vcpus);
        long decisions = 0;
        machine.Decided = (_, _) => decisions++;
        Run(machine, Decisions / 4, ref decisions);
        for (int round = 0; round < Rounds; round++)
        {
            long bytes = GC.GetAllocatedBytesForCurrentThread();
            long started = TimeProvider.System.GetTimestamp();
            long made = Run(machine, Decisions, ref decisions);
            point.Cost = Math.Min(point.Cost, TimeProvider.System.GetElapsedTime(started).TotalNanoseconds / Math.Max(1, made));
            if (made == 0)
                return Simulated.Ejected(machine) ?? $"no decision was made with {point.Vcpus} CPU-bound vCPUs";
            point.Bytes = (GC.GetAllocatedBytesForCurrentThread() - bytes) / made;
        }

        return Simulated.Ejected(machine);
    }

    /// <summary>Runs until so many decisions were made, or for a virtual hour.</summary>
    private static long Run(VirtualMachine machine, int count, ref long decisions)
    {
        decisions = 0;
        for (int second = 0; second < 3600 && decisions < count; second++)
            machine.RunFor(Nanoseconds.FromMilliseconds(100));
        return decisions;
    }

    /// <summary>What was found with so many vCPUs.</summary>
    private sealed class Point(int vcpus)
    {
        public int Vcpus { get; } = vcpus;

        /// <summary>The least host time of a decision, ns.</summary>
        public double Cost { get; set; } = double.MaxValue;

        /// <summary>Bytes a decision allocated in the last round.</summary>
        public long Bytes { get; set; }
    }
}
