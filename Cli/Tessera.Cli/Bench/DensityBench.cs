using System.Text.Json.Nodes;
using Tessera.Experiments.Configuration;
using Tessera.Guests;
using Tessera.Kernel.Domains;
using Tessera.Kernel.Machines;
using Tessera.Sdk;

namespace Tessera.Cli.Bench;

/// <summary>
/// What many domains cost: the work of a hundred CPU-bound domains against one alone over the same pCPU time, in alternating windows of
/// one run so that the host's drift hits both; the pCPU time that no guest got; and how late a waking domain runs beside the hundred.
/// </summary>
internal sealed class DensityBench(Machine machine, IReadOnlyList<Domain> crowd, Domain alone, DensityPlan plan)
{
    private const string AloneName = "alone";
    private const string CrowdName = "crowd";
    private const string PlainBeat = "beat";
    private const string WarpedBeat = "beat-warped";
    private static readonly Nanoseconds SettleTime = Nanoseconds.FromMilliseconds(50);

    /// <summary>The machine's configuration: one domain alone, the crowd, and a beating domain without and with warp.</summary>
    public static JsonObject Configuration(DensityPlan plan) => new()
    {
        ["machine"] = new JsonObject { ["pcpus"] = 1 },
        ["scheduler"] = new JsonObject
        {
            ["name"] = "bvt",
            ["options"] = new JsonObject { ["contextSwitchAllowance"] = $"{plan.Allowance.Value} ns" },
        },
        ["domains"] = new JsonArray(
            new JsonObject { ["name"] = AloneName, ["guest"] = "spin" },
            new JsonObject { ["name"] = CrowdName, ["guest"] = "spin", ["count"] = plan.Domains },
            Beat(PlainBeat, warp: false),
            Beat(WarpedBeat, warp: true)),
    };

    /// <summary>Runs the benchmark.</summary>
    /// <param name="domains">The domains of <see cref="Configuration"/>, created and not started.</param>
    /// <param name="machine">Their machine.</param>
    /// <param name="plan">How much.</param>
    /// <param name="wait">Waits so long; true when the user wants to stop.</param>
    /// <param name="progress">Told of each step.</param>
    public static DensityResult? Run(IReadOnlyList<Domain> domains, Machine machine, DensityPlan plan, Func<Nanoseconds, bool> wait, Action<string> progress)
    {
        Domain alone = domains.First(domain => domain.Name == AloneName);
        Domain[] crowd = [.. domains.Where(domain => domain.Name.StartsWith(CrowdName, StringComparison.Ordinal))];
        DensityBench bench = new(machine, crowd, alone, plan);
        return bench.Measure(domains.First(domain => domain.Name == PlainBeat), domains.First(domain => domain.Name == WarpedBeat), wait, progress);
    }

    private static JsonObject Beat(string name, bool warp) => new()
    {
        ["name"] = name,
        ["guest"] = "beat",
        ["scheduler"] = warp ? new JsonObject { ["warp"] = true, ["warpValue"] = "1 s" } : new JsonObject { ["warp"] = false },
    };

    private DensityResult? Measure(Domain plainBeat, Domain warpedBeat, Func<Nanoseconds, bool> wait, Action<string> progress)
    {
        foreach (Domain domain in crowd.Append(alone))
        {
            machine.Start(domain);
            machine.Pause(domain);
        }

        List<Window> single = [];
        List<Window> many = [];
        for (int pair = 0; pair < plan.Pairs; pair++)
        {
            progress($"pair {pair + 1} of {plan.Pairs}");
            // The order within a pair alternates too: a drift inside pairs cancels out.
            bool aloneFirst = pair % 2 == 0;
            if (OneWindow(aloneFirst ? [alone] : crowd, wait) is not { } first || OneWindow(aloneFirst ? crowd : [alone], wait) is not { } second)
                return null;
            single.Add(aloneFirst ? first : second);
            many.Add(aloneFirst ? second : first);
        }

        progress("wake latency without warp");
        if (Latency(plainBeat, wait) is not { } plain)
            return null;
        progress("wake latency with warp");
        if (Latency(warpedBeat, wait) is not { } warped)
            return null;
        return new DensityResult(
            DensityResult.Format,
            crowd.Count,
            plan.Window.TotalSeconds,
            PairedRatios.Of([.. many.Zip(single, (m, s) => m.WorkRate / s.WorkRate)]),
            new LossAccount(many.Average(window => window.Lost), many.Max(window => window.Lost), single.Average(window => window.Lost)),
            many.Sum(window => window.Switches),
            plain,
            warped);
    }

    /// <summary>Lets some domains run for a window; null when the user wants to stop.</summary>
    private Window? OneWindow(IReadOnlyList<Domain> running, Func<Nanoseconds, bool> wait)
    {
        foreach (Domain domain in running)
            machine.Resume(domain);
        bool stopped = wait(SettleTime);
        Reading before = Read(running);
        stopped |= !stopped && wait(plan.Window);
        Reading after = Read(running);
        foreach (Domain domain in running)
            machine.Pause(domain);
        double busy = (after.Busy - before.Busy).TotalSeconds;
        return stopped ? null : new Window(
            (after.Units - before.Units) / busy,
            1 - ((after.InGuests - before.InGuests).TotalSeconds / (after.At - before.At).TotalSeconds),
            after.Switches - before.Switches);
    }

    private Reading Read(IReadOnlyList<Domain> running)
    {
        MachineSnapshot snapshot = machine.Accounts.Snapshot();
        double units = 0;
        foreach (Domain domain in running)
            units += ReportPage.UnitsOf(domain.ReadReportPage());
        return new Reading(snapshot.Now, units, snapshot.Pcpus[0].Busy, snapshot.GuestTime[0], snapshot.Pcpus[0].Switches);
    }

    private BeatLatency? Latency(Domain beat, Func<Nanoseconds, bool> wait)
    {
        foreach (Domain domain in crowd)
            machine.Resume(domain);
        machine.Start(beat);
        bool stopped = wait(plan.LatencyTime);
        byte[] page = beat.ReadReportPage();
        machine.Destroy(beat);
        foreach (Domain domain in crowd)
            machine.Pause(domain);
        return stopped || !ReportPage.TryRead(page, out GuestReport? report) || report?.Latency is not { } latency
            ? null
            : new BeatLatency(latency.Percentile(50), latency.Percentile(99), latency.Max, latency.Count, (long)report.Overruns);
    }

    private readonly record struct Reading(Nanoseconds At, double Units, Nanoseconds Busy, Nanoseconds InGuests, long Switches);

    /// <summary>Units of work a second of pCPU time, the part of the time that no guest got, switches.</summary>
    private readonly record struct Window(double WorkRate, double Lost, long Switches);
}
