using Tessera.Lab.Comparisons;
using Tessera.Lab.Metrics;
using Tessera.Lab.Results;
using Tessera.Lab.Tests.Reports;

namespace Tessera.Lab.Tests.Comparisons;

/// <summary>The table of metrics.</summary>
internal sealed class MetricTests
{
    [Test]
    public void The_page_on_comparisons_has_the_table_as_it_is()
    {
        string page = File.ReadAllText(Path.Combine(Root(), "docs", "compare.md"));
        string table = string.Concat(MetricCatalogue.All.Select(metric => $"| `{metric.Key}` | {metric.Unit} | {metric.Better} | {metric.Meaning} |\n"));
        Assert.That(page, Does.Contain("| Key | Unit | Better | Meaning |\n|---|---|---|---|\n" + table + "\n"));
    }

    [Test]
    public void The_page_on_comparisons_has_the_items_table_as_it_is()
    {
        string page = File.ReadAllText(Path.Combine(Root(), "docs", "compare.md"));
        string table = string.Concat(ItemCatalogue.All.Select(metric => $"| `NAME.{metric.Key}` | {metric.Unit} | {metric.Better} | {metric.Meaning} |\n"));
        Assert.That(page, Does.Contain("| Key | Unit | Better | Meaning |\n|---|---|---|---|\n" + table + "\n"));
    }

    [Test]
    public void Waiting_is_the_time_in_which_a_domain_could_run_and_did_not()
    {
        using SampleRun run = SampleRun.Write(["a", "b", "c"]);
        RunMetrics metrics = RunMetrics.Of(run.Recording);
        ScheduleReplay replay = ScheduleReplay.Of(run.Recording);
        for (int domain = 0; domain < 3; domain++)
        {
            double wanted = replay.BusyPeriods.Where(period => period.Domain == domain).Sum(period => (period.To - period.From).TotalSeconds);
            double waited = wanted - replay.BusyPeriods.Where(period => period.Domain == domain).Sum(period => Math.Min(period.Ran.TotalSeconds, (period.To - period.From).TotalSeconds));
            Assert.That(metrics.Domains[domain].WaitShare, Is.EqualTo(waited / metrics.Seconds).Within(1e-9).And.InRange(0, 1));
        }

        Assert.That(metrics.Domains.Sum(domain => domain.WaitShare), Is.GreaterThan(0.01), "the sample has waiting in it");
    }

    [Test]
    public void Keys_are_not_used_twice() => Assert.That(MetricCatalogue.All.Select(metric => metric.Key), Is.Unique);

    [Test]
    public void What_was_not_recorded_or_counted_has_no_value()
    {
        Assert.That(MetricCatalogue.ValuesOf(new MeasuredRun(Sample(out _) with { SchedulerCost = new SchedulerCost(9, null, null) }, null)), Is.Empty);
    }

    [Test]
    public void What_was_recorded_has_the_recordings_values()
    {
        ResultDocument result = Sample(out RunMetrics recorded);
        IReadOnlyDictionary<string, double> values = MetricCatalogue.ValuesOf(new MeasuredRun(result, recorded));
        Assert.Multiple(() =>
        {
            Assert.That(values["jain"], Is.EqualTo(recorded.JainIndex));
            Assert.That(values["lost"], Is.EqualTo(recorded.LostShare * 100));
            Assert.That(values["switches"], Is.EqualTo(recorded.Switches / recorded.Seconds));
            Assert.That(values["shareError100ms"], Is.EqualTo(recorded.ShareErrors.Single(error => error.Window.Value == 100_000_000).Mean));
            Assert.That(values["decisionP99"], Is.EqualTo(2100));
            Assert.That(values, Does.Not.ContainKey("work").And.Not.ContainKey("diskBytes").And.Not.ContainKey("missed"));
        });
    }

    [Test]
    public void What_guests_count_is_summed_and_their_latencies_are_the_median_and_the_worst()
    {
        ResultDocument result = Sample(out _);
        result = result with
        {
            ElapsedSeconds = 2,
            Domains =
            [
                result.Domains[0] with { Work = 100, MissedDeadlines = 3, WakeLatencyNs = new LatencySummary(10, 100, 100, 5) },
                result.Domains[1] with { MissedDeadlines = 1, WakeLatencyNs = new LatencySummary(30, 300, 300, 5) },
                result.Domains[2] with { Work = 50, WakeLatencyNs = new LatencySummary(9000, 9000, 9000, 5) },
            ],
        };
        IReadOnlyDictionary<string, double> values = MetricCatalogue.ValuesOf(new MeasuredRun(result, null));
        Assert.That((values["work"], values["missed"], values["lateP50"], values["lateP99"]), Is.EqualTo((75.0, 2.0, 20.0, 300.0)));
    }

    [Test]
    public void A_group_is_its_domains_together()
    {
        ResultDocument result = Sample(out RunMetrics recorded);
        GroupFigures group = GroupFigures.Of("all", isModelled: true, [.. result.Domains.Select(domain => domain with { Work = 5 })], recorded.Domains);
        Assert.Multiple(() =>
        {
            Assert.That((group.Name, group.Domains, group.Modelled, group.Work, group.Missed), Is.EqualTo(("all", 3, true, 15L, (long?)null)));
            Assert.That(group.Share, Is.EqualTo(result.Domains.Sum(domain => domain.Share)).Within(1e-12));
            Assert.That(group.IdealShare, Is.EqualTo(recorded.Domains.Sum(domain => domain.IdealShare)).Within(1e-12));
            Assert.That(GroupFigures.Of("all", isModelled: false, result.Domains, null).WakeP50Ns, Is.Null);
        });
    }

    private static ResultDocument Sample(out RunMetrics recorded)
    {
        using SampleRun run = SampleRun.Write(["a", "b", "c"]);
        recorded = RunMetrics.Of(run.Recording);
        return ResultJson.Read(run.Result.ToJsonString());
    }

    private static string Root()
    {
        string? folder = AppContext.BaseDirectory;
        while (!File.Exists(Path.Combine(folder!, "Tessera.slnx")))
            folder = Path.GetDirectoryName(folder);
        return folder!;
    }
}
