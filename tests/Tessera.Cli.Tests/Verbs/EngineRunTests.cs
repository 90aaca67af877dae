using System.Text.Json;
using Tessera.Cli.Tests.Support;

namespace Tessera.Cli.Tests.Verbs;

/// <summary>The whole way, from the command line to guests on each engine of this host.</summary>
[TestFixtureSource(typeof(Engines), nameof(Engines.Each))]
[NonParallelizable]
internal sealed class EngineRunTests(string engine)
{
    [Test]
    public void A_run_of_built_in_guests_gives_work_to_each_and_a_result()
    {
        using Support.Cli cli = new();
        Assert.That(cli.Run("run", Repository.Sample("quickstart.json"), "--engine", engine, "--seconds", "3", "--json", "--quiet"), Is.Zero, cli.Error);
        JsonElement result = JsonDocument.Parse(cli.Out).RootElement;
        JsonElement[] domains = [.. result.GetProperty("domains").EnumerateArray()];
        Assert.Multiple(() =>
        {
            Assert.That(result.GetProperty("outcome").GetString(), Is.EqualTo("completed"));
            Assert.That(domains.Select(domain => domain.GetProperty("work").GetInt64()), Is.All.Positive);
            Assert.That(domains.Select(domain => domain.GetProperty("share").GetDouble()).Sum(), Is.EqualTo(1).Within(0.05));
            Assert.That(domains.Select(domain => domain.GetProperty("memory").GetProperty("residentBytes").GetInt64()), Is.All.Positive);
            Assert.That(result.GetProperty("engine").GetProperty("findings").GetArrayLength(), Is.Positive);
            Assert.That(result.GetProperty("schedulerCost").GetProperty("decisions").GetInt64(), Is.Positive);
        });
    }

    [Test]
    public void A_guest_says_hello_and_powers_off()
    {
        using Support.Cli cli = new();
        Assert.Multiple(() =>
        {
            Assert.That(cli.Run("boot", "hello", "--engine", engine), Is.Zero, cli.Error);
            Assert.That(cli.Raw, Does.Contain("Hello from a Tessera domain."));
        });
    }

    [Test]
    public void Two_runs_one_after_the_other_in_one_process_do_not_disturb_each_other()
    {
        for (int turn = 0; turn < 2; turn++)
        {
            using Support.Cli cli = new();
            Assert.That(cli.Run("boot", "spin", "--engine", engine, "--seconds", "0.2"), Is.EqualTo(1), cli.Error);
        }
    }

    [TestCase("""{ "backend": "raw-file", "options": { "path": "nowhere.img" } }""", "domain mine, disk xvdc: raw-file: ", "create it, or correct the path")]
    [TestCase("""{ "backend": "copy-on-write", "options": { "base": "guest:debain" } }""", "domains[0].disks[0].options: ", "Did you mean \"guest:debian\"?")]
    public void A_disk_that_cannot_be_had_is_named_with_its_domain_and_the_cure(string disk, string place, string cure)
    {
        string config = Path.GetTempFileName();
        File.WriteAllText(config, $$"""{ "domains": [ { "name": "mine", "guest": "spin", "disks": [ { "name": "xvdc", {{disk[1..]}} ] } ] }""");
        using Support.Cli cli = new();
        int code = cli.Run("run", config, "--engine", engine, "--seconds", "1", "--quiet");
        File.Delete(config);
        Assert.That(code, Is.Not.Zero);
        Assert.That(cli.Error, Does.Contain(place).And.Contain(cure));
    }

    [Test]
    public void Doctor_tells_the_findings_and_the_cost_of_traps()
    {
        using Support.Cli cli = new();
        Assert.That(cli.Run("doctor", "--engine", engine, "--json"), Is.Zero, cli.Error);
        JsonElement report = JsonDocument.Parse(cli.Out).RootElement;
        Assert.Multiple(() =>
        {
            Assert.That(report.GetProperty("schema").GetString(), Is.EqualTo("tessera.doctor/1"));
            Assert.That(report.GetProperty("engine").GetProperty("name").GetString(), Does.StartWith(engine));
            Assert.That(report.GetProperty("engine").GetProperty("findings").GetArrayLength(), Is.Positive);
            Assert.That(report.GetProperty("fastPaths").GetProperty("state").GetString(), Is.EqualTo("on").Or.EqualTo("off"));
            Assert.That(report.GetProperty("fastPaths").GetProperty("reason").GetString(), Is.Not.Empty);
            if (engine != Engines.Kvm)
                return;

            // What a trap costs is probed where the host decides it.
            Assert.That(report.GetProperty("trapCosts").GetArrayLength(), Is.Positive);
            Assert.That(cli.Out, Does.Contain("RDTSC in ring 3"));
        });
    }
}
