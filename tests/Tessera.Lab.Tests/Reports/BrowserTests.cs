using System.Globalization;
using System.Text.Json.Nodes;
using Tessera.Lab.Reports;
using Tessera.Lab.Results;

namespace Tessera.Lab.Tests.Reports;

/// <summary>Reports in a real browser. With TESSERA_SCREENSHOTS=FOLDER each keeps a picture of what it saw.</summary>
[NonParallelizable]
internal sealed class BrowserTests
{
    private static readonly string[] Names = ["web", "batch", "sleeper"];

    private Browser _browser = null!;

    [OneTimeSetUp]
    public async Task Start()
    {
        Drawing.Require();
        _browser = await Browser.Start();
    }

    [OneTimeTearDown]
    public async Task Stop()
    {
        if (_browser is not null)
            await _browser.DisposeAsync();
    }

    [Test]
    public async Task A_report_draws_every_plot_asks_nothing_of_the_network_and_complains_of_nothing()
    {
        using SampleRun run = SampleRun.Draw(["web", "batch", "build", "bulk", "sleeper"], pcpus: 2);
        await Open(run);
        await _browser.Keep("run-light");
        string[] plots = await Plots();
        Assert.That(plots, Is.EquivalentTo(new[] { "plot-shares", "plot-gantt", "plot-latency", "plot-errors" }));
        foreach (string plot in plots)
            Assert.That(await Colours(plot), Is.GreaterThan(4), $"{plot} is blank");
        Silent();
    }

    [Test]
    public async Task Light_and_dark_differ_and_the_switch_turns_one_into_the_other()
    {
        using SampleRun run = SampleRun.Draw(Names);
        await Open(run);
        (string light, string lightPlot) = (await Background(), await Pixels("plot-shares"));
        await Open(run, dark: true);
        await _browser.Keep("run-dark");
        (string dark, string darkPlot) = (await Background(), await Pixels("plot-shares"));
        Assert.That(dark, Is.Not.EqualTo(light));
        Assert.That(darkPlot, Is.Not.EqualTo(lightPlot));
        await _browser.Evaluate("document.getElementById('theme').click()");
        await _browser.Painted();
        Assert.That(await Background(), Is.EqualTo(light));
        Assert.That(await Pixels("plot-shares"), Is.EqualTo(lightPlot));
        await _browser.Evaluate("localStorage.clear()");
        Silent();
    }

    [Test]
    public async Task The_Gantt_chart_zooms_by_dragging_and_wheel_moves_by_keys_and_resets()
    {
        using SampleRun run = SampleRun.Draw(Names, pcpus: 2, slices: 2000);
        await Open(run);
        double[] place = await Gantt();
        (double from, double to) = await View();
        double whole = to - from;
        string before = await Pixels("plot-gantt");

        await _browser.Drag(place[0] + (place[2] * 0.25), place[1] + (place[3] / 2), place[0] + (place[2] * 0.5), place[1] + (place[3] / 2));
        (from, to) = await View();
        Assert.That(from, Is.EqualTo(whole * 0.25).Within(whole * 0.01));
        Assert.That(to, Is.EqualTo(whole * 0.5).Within(whole * 0.01));
        Assert.That(await Pixels("plot-gantt"), Is.Not.EqualTo(before));
        await _browser.Keep("run-zoomed");

        await _browser.Mouse("mouseWheel", place[0] + (place[2] / 2), place[1] + (place[3] / 2), wheel: -400);
        await _browser.Painted();
        (double nearFrom, double nearTo) = await View();
        Assert.That(nearTo - nearFrom, Is.LessThan((to - from) * 0.8));

        await _browser.Evaluate("document.getElementById('plot-gantt').dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowRight' }))");
        Assert.That((await View()).From, Is.GreaterThan(nearFrom));
        await _browser.Evaluate("document.getElementById('gantt-reset').click()");
        Assert.That(await View(), Is.EqualTo((0.0, whole)));
        Silent();
    }

    [Test]
    public async Task The_tip_of_an_interval_names_its_domain_start_length_and_end()
    {
        using SampleRun run = SampleRun.Draw(Names);
        await Open(run);
        await _browser.Evaluate("Tessera.gantt.look(0, 20e6)");
        double[] place = await Gantt();
        await _browser.Mouse("mouseMoved", place[0] + (place[2] * 0.3), place[1] + (place[3] / 2));
        await _browser.Painted();
        string tip = await _browser.Text("document.querySelector('#plot-gantt .tip').innerText");
        Assert.That(Names.Any(name => tip.StartsWith(name, StringComparison.Ordinal)), Is.True, tip);
        Assert.That(tip, Does.Contain("start").And.Contain("length").And.Contain("ended"));
        Assert.That(tip, Does.Match("preempted|blocked"));
    }

    [Test]
    public async Task The_table_says_what_the_result_says()
    {
        using SampleRun run = SampleRun.Draw(Names);
        await Open(run);
        JsonArray rows = (await _browser.Evaluate("[...document.querySelectorAll('#table-domains tbody tr')].map(row => [...row.children].map(cell => cell.innerText))"))!.AsArray();
        JsonArray heads = (await _browser.Evaluate("[...document.querySelectorAll('#table-domains thead th')].map(cell => cell.innerText)"))!.AsArray();
        int Column(string title) => heads.Select(head => head!.GetValue<string>()).ToList().IndexOf(title);
        Assert.That(rows, Has.Count.EqualTo(Names.Length));
        for (int index = 0; index < Names.Length; index++)
        {
            JsonNode domain = run.Result["domains"]![index]!;
            Assert.That(rows[index]![0]!.GetValue<string>(), Is.EqualTo(Names[index]));
            Assert.That(rows[index]![Column("Weight")]!.GetValue<string>(), Is.EqualTo(Show.Count(domain["weight"]!.GetValue<int>())));
            foreach ((string title, string key) in ((string, string)[])[("Share", "share"), ("Expected", "expectedShare")])
                Assert.That(rows[index]![Column(title)]!.GetValue<string>(), Is.EqualTo((domain[key]!.GetValue<double>() * 100).ToString("0.00", CultureInfo.InvariantCulture) + " %"));
            Assert.That(rows[index]![Column("CPU time")]!.GetValue<string>(), Is.EqualTo(domain["cpuSeconds"]!.GetValue<double>().ToString("0.000", CultureInfo.InvariantCulture) + " s"));
        }
    }

    /// <summary>The columns that a full result of a guest with a disk, deadlines and wakes has.</summary>
    [TestCase(1400)]
    [TestCase(1000)]
    [TestCase(500)]
    public async Task Every_table_of_statistics_fits_the_screen(int width)
    {
        using SampleRun run = SampleRun.Draw(["web-server-number-one", "batch", "sleeper"], pcpus: 2, change: result =>
        {
            foreach (JsonNode? domain in result["domains"]!.AsArray())
            {
                domain!["work"] = 123_456_789;
                domain["missedDeadlines"] = 12_345;
                domain["bootMilliseconds"] = 1234.5;
                domain["memory"]!["assignedBytes"] = 1L << 30;
                foreach (string key in (string[])["wakeLatencyNs", "responseTimeNs"])
                    domain[key] = new JsonObject { ["p50"] = 123_456, ["p99"] = 12_345_678, ["max"] = 123_456_789, ["count"] = 99 };
                domain["disks"] = new JsonArray(SampleRun.Disk(new LatencySummary(123_456, 12_345_678, 123_456_789, 99)));
            }
        });
        await Open(run, width, height: 900);
        await _browser.Keep($"run-{width}");
        await Assert.MultipleAsync(async () =>
        {
            Assert.That(await _browser.Number("document.documentElement.scrollWidth"), Is.LessThanOrEqualTo(width));
            foreach (string table in (string[])["table-domains", "table-waking", "table-pcpus", "table-devices", "table-errors"])
                Assert.That(await _browser.Number($"(() => {{ const host = document.getElementById('{table}').parentElement; return host.scrollWidth - host.clientWidth; }})()"), Is.Zero, table);

            // Every cell of a card says which column it is of.
            if (width == 500)
                Assert.That(await _browser.Text("getComputedStyle(document.querySelector('#table-waking td'), '::before').content + document.querySelector('#table-waking td').dataset.title"), Does.Contain("Wakes"));
        });
        Silent();
    }

    [Test]
    public async Task A_short_run_opens_with_windows_wider_than_the_policys_slices()
    {
        using SampleRun run = SampleRun.Draw(Names);
        await Open(run);
        Assert.That(run.Recording.Length.TotalSeconds, Is.InRange(0.8, 1.2));
        Assert.That(await _browser.Text("document.querySelector('[aria-label=\"Averaging window\"] [aria-pressed=true]').innerText"), Is.EqualTo("100 ms"));
    }

    [Test]
    public async Task A_phone_scrolls_in_one_direction_only()
    {
        using SampleRun run = SampleRun.Draw(Names, pcpus: 2);
        await Open(run, width: 375, height: 812, phone: true);
        await _browser.Keep("run-phone");
        Assert.That(await _browser.Number("document.documentElement.scrollWidth"), Is.LessThanOrEqualTo(375));
        foreach (string plot in await Plots())
            Assert.That(await _browser.Number($"document.querySelector('#{plot} canvas').getBoundingClientRect().width"), Is.InRange(250, 375), plot);
        Silent();
    }

    [Test]
    public async Task A_hundred_domains_are_drawn_and_can_be_chosen_from()
    {
        using SampleRun run = SampleRun.Draw([.. Enumerable.Range(1, 100).Select(index => $"hog-{index}"), "beat"], pcpus: 4, slices: 20_000);
        await Open(run);
        await _browser.Keep("run-hundred");
        Assert.That(await _browser.Number("document.querySelectorAll('.chip[aria-pressed=true]').length"), Is.EqualTo(8));
        string before = await Pixels("plot-shares");
        await _browser.Evaluate("[...document.querySelectorAll('.chip')].find(chip => chip.innerText === 'hog-57').click()");
        await _browser.Painted();
        Assert.That(await _browser.Number("document.querySelectorAll('.chip[aria-pressed=true]').length"), Is.AnyOf(7, 9));
        Assert.That(await Pixels("plot-shares"), Is.Not.EqualTo(before));
        await _browser.Evaluate("[...document.querySelectorAll('button')].find(button => button.innerText === 'By domain').click()");
        await _browser.Painted();
        Assert.That(await Colours("plot-gantt"), Is.GreaterThan(4));
        Silent();
    }

    [Test]
    public async Task Names_and_consoles_full_of_markup_are_shown_as_they_are_and_do_nothing()
    {
        const string attack = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>";
        using SampleRun run = SampleRun.Draw([attack, "b"], change: result => result["domains"]![0]!["consoleTail"] = new JsonArray(attack, "</script>"));
        await Open(run);
        Assert.That(await _browser.Text("document.title"), Does.Not.Contain("owned"));
        Assert.That(await _browser.Text("document.querySelector('#table-domains tbody th').innerText"), Is.EqualTo(attack));
        Assert.That(await _browser.Text("document.querySelector('.chip').innerText"), Is.EqualTo(attack));
        Assert.That(await _browser.Number("document.querySelectorAll('img').length"), Is.Zero);
        double[] place = await Gantt();
        await _browser.Mouse("mouseMoved", place[0] + (place[2] * 0.3), place[1] + (place[3] / 2));
        await _browser.Painted();
        Assert.That(await _browser.Text("document.title"), Does.Not.Contain("owned"));
        Silent();
    }

    [Test]
    public async Task A_comparison_draws_each_metric_and_links_to_its_runs()
    {
        using SampleComparison comparison = SampleComparison.Draw();
        await _browser.Open(Path.Combine(comparison.Folder, ReportWriter.PageFile));
        await _browser.Keep("comparison-light");
        string[] plots = await Plots();
        Assert.That(plots, Has.Length.EqualTo(comparison.Document.Metrics.Count));
        foreach (string plot in plots)
            Assert.That(await Colours(plot), Is.GreaterThan(4), $"{plot} is blank");
        Assert.That(await _browser.Text("document.querySelector('#runs a').getAttribute('href')"), Is.EqualTo("runs/001-bvt/report.html"));
        Assert.That(await _browser.Number("document.querySelectorAll('#runs a').length"), Is.EqualTo(1), "only a run that has a report is linked");
        Silent();
        await _browser.Open(Path.Combine(comparison.Folder, ReportWriter.PageFile), width: 375, height: 812, dark: true, phone: true);
        await _browser.Keep("comparison-phone-dark");
        Assert.That(await _browser.Number("document.documentElement.scrollWidth"), Is.LessThanOrEqualTo(375));
        Silent();
    }

    private Task Open(SampleRun run, int width = 1200, int height = 900, bool dark = false, bool phone = false) =>
        _browser.Open(Path.Combine(run.Folder, ReportWriter.PageFile), width, height, dark, phone);

    private void Silent() => Assert.Multiple(() =>
    {
        Assert.That(_browser.Complaints, Is.Empty);
        Assert.That(_browser.Requests, Is.Empty);
    });

    private async Task<string[]> Plots() =>
        [.. (await _browser.Evaluate("[...document.querySelectorAll('.plot canvas')].map(canvas => canvas.closest('.plot').id)"))!.AsArray().Select(id => id!.GetValue<string>())];

    /// <summary>How many colours the middle of a plot has.</summary>
    private Task<double> Colours(string plot) => _browser.Number(
        $"(() => {{ const c = document.querySelector('#{plot} canvas'); return new Set(new Uint32Array(c.getContext('2d').getImageData(0, 0, c.width, c.height).data.buffer)).size; }})()");

    /// <summary>A plot's picture, as text.</summary>
    private Task<string> Pixels(string plot) => _browser.Text($"document.querySelector('#{plot} canvas').toDataURL()");

    private Task<string> Background() => _browser.Text("getComputedStyle(document.body).backgroundColor");

    private async Task<(double From, double To)> View() => (await _browser.Number("Tessera.gantt.view()[0]"), await _browser.Number("Tessera.gantt.view()[1]"));

    /// <summary>Where the Gantt chart's plotting area is in the viewport: left, top, width, height.</summary>
    private async Task<double[]> Gantt()
    {
        await _browser.Evaluate("document.getElementById('plot-gantt').scrollIntoView({ block: 'center', behavior: 'instant' })");
        await _browser.Painted();
        return [.. (await _browser.Evaluate("(() => { const r = document.querySelector('#plot-gantt .u-over').getBoundingClientRect(); return [r.x, r.y, r.width, r.height]; })()"))!.AsArray().Select(number => number!.GetValue<double>())];
    }
}
