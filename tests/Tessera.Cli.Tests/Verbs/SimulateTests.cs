using System.Text.Json;
using Tessera.Cli.Tests.Support;
using Tessera.Guests;
using Tessera.Hosting.Tests;

namespace Tessera.Cli.Tests.Verbs;

/// <summary>`simulate` and `plugins check`.</summary>
internal sealed class SimulateTests
{
    [Test]
    public void A_simulated_run_gives_the_result_of_a_real_one_and_says_that_it_is_simulated()
    {
        using Support.Cli cli = new();
        Assert.That(cli.Run("simulate", Repository.Sample("quickstart.json"), "--seconds", "7", "--json", "--quiet"), Is.Zero, cli.Error);
        JsonElement result = JsonDocument.Parse(cli.Out).RootElement;
        double[] shares = [.. result.GetProperty("domains").EnumerateArray().Select(domain => domain.GetProperty("share").GetDouble())];
        Assert.Multiple(() =>
        {
            Assert.That(result.GetProperty("engine").GetProperty("name").GetString(), Is.EqualTo("simulated"));
            Assert.That(result.GetProperty("outcome").GetString(), Is.EqualTo("completed"));
            Assert.That(result.GetProperty("elapsedSeconds").GetDouble(), Is.EqualTo(7));
            Assert.That(shares[0], Is.EqualTo(1 / 7.0).Within(0.002));
            Assert.That(shares[1], Is.EqualTo(2 / 7.0).Within(0.002));
            Assert.That(shares[2], Is.EqualTo(4 / 7.0).Within(0.002));
        });
        using Support.Cli person = new();
        Assert.That(person.Run("simulate", Repository.Sample("quickstart.json"), "--quiet"), Is.Zero, person.Error);
        Assert.That(person.Out, Does.Contain("SIMULATED"));
    }

    [Test]
    public void The_same_seed_gives_the_same_figures_and_another_gives_others()
    {
        string first = Domains("--seed", "5");
        Assert.Multiple(() =>
        {
            Assert.That(Domains("--seed", "5"), Is.EqualTo(first));
            Assert.That(Domains("--seed", "6"), Is.Not.EqualTo(first));
        });

        static string Domains(params string[] seed)
        {
            using Support.Cli cli = new();
            string[] arguments = ["simulate", Repository.Sample("hundred.json"), "--seconds", "3", "--json", "--quiet", "--model", "beat=queue gap=10ms service=50us", .. seed];
            Assert.That(cli.Run(arguments), Is.Zero, cli.Error);
            return JsonDocument.Parse(cli.Out).RootElement.GetProperty("domains").ToString();
        }
    }

    [Test]
    public void Warp_gives_the_beat_of_a_hundred_its_latency_in_virtual_time_too()
    {
        Assert.That(Latency(), Is.LessThan(Latency("--set", "domains[1].scheduler.warp=false")));

        static long Latency(params string[] edits)
        {
            using Support.Cli cli = new();
            Assert.That(cli.Run(["simulate", Repository.Sample("hundred.json"), "--seconds", "5", "--json", "--quiet", .. edits]), Is.Zero, cli.Error);
            return JsonDocument.Parse(cli.Out).RootElement.GetProperty("domains").EnumerateArray().Last().GetProperty("wakeLatencyNs").GetProperty("max").GetInt64();
        }
    }

    [Test]
    public void Expected_shares_are_what_the_scheduler_owes_by_its_own_parameters()
    {
        // Budgets without extra time are just what each gets, and what is expected; a cap as well.
        JsonElement[] servers = Domains(Experiment(
            "rtds",
            """{ "period": "10 ms", "budget": "3 ms", "extraTime": false }""",
            """{ "period": "20 ms", "budget": "4 ms", "extraTime": false }""",
            """{ "period": "50 ms", "budget": "5 ms", "extraTime": false }"""));
        JsonElement[] capped = Domains(Experiment("credit2", """{ "cap": 10 }""", "{}", "{}"));
        Assert.Multiple(() =>
        {
            Assert.That(servers.Select(Share), Is.EqualTo(new[] { 0.3, 0.2, 0.1 }).Within(0.002));
            Assert.That(servers.Select(Expected), Is.EqualTo(new[] { 0.3, 0.2, 0.1 }).Within(0.002));
            Assert.That(capped.Select(Expected), Is.EqualTo(new[] { 0.1, 0.45, 0.45 }).Within(0.002));
            Assert.That(capped.Select(Share), Is.EqualTo(capped.Select(Expected)).Within(0.01));
        });

        static double Share(JsonElement domain) => domain.GetProperty("share").GetDouble();
        static double Expected(JsonElement domain) => domain.GetProperty("expectedShare").GetDouble();
    }

    [Test]
    public void A_domain_that_completes_no_job_in_time_has_missed_its_deadlines()
    {
        // Twice as much work as time: of 20 deadlines in 2 s none is met after the first.
        JsonElement[] domains = Domains(Experiment("rtds", "{}"), "--model", "d0=periodic burst=200ms period=100ms");
        Assert.That(domains[0].GetProperty("work").GetInt64(), Is.LessThanOrEqualTo(10));
        Assert.That(domains[0].GetProperty("missedDeadlines").GetInt64(), Is.EqualTo(19).Within(1));
    }

    [Test]
    public void Staggered_domains_do_not_queue_behind_each_other_at_each_period()
    {
        string experiment = Experiment("credit2", [.. Enumerable.Repeat("{}", 8)]);
        string[] models = [.. Enumerable.Range(0, 8).SelectMany(index => new[] { "--model", $"d{index}=periodic burst=1ms period=20ms" })];
        double together = Latest(models);
        double staggered = Latest([.. models, "--stagger", "20 ms"]);
        Assert.Multiple(() =>
        {
            Assert.That(together, Is.EqualTo(7e6).Within(3e5));
            Assert.That(staggered, Is.LessThan(together * 0.75));
            Assert.That(Latest([.. models, "--stagger", "20 ms"]), Is.EqualTo(staggered), "by the seed");
        });

        double Latest(string[] arguments) =>
            Domains(experiment, arguments).Max(static domain => domain.GetProperty("wakeLatencyNs").GetProperty("max").GetDouble());
    }

    [Test]
    public void The_summary_shows_no_figure_that_is_none()
    {
        string folder = Directory.CreateTempSubdirectory("tessera-simulate-").FullName;
        try
        {
            string config = Path.Combine(folder, "lab.json");
            File.WriteAllText(config, Experiment("bvt", "{}", "{}"));
            using Support.Cli cli = new();
            Assert.That(cli.Run("simulate", config, "--quiet", "--model", "d0=periodic burst=1ms period=40ms"), Is.Zero, cli.Error);
            Assert.That(cli.Out, Does.Contain("decisions, cost not measured"), "virtual time measures no policy");
            Assert.That(cli.Out, Does.Match("d0 .* –"), "50 wakes carry no 99th percentile");
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static string Experiment(string scheduler, params string[] options) => $$"""
        {
          "machine": { "pcpus": 1 },
          "scheduler": "{{scheduler}}",
          "domains": [ {{string.Join(", ", options.Select((own, index) => $$"""{ "name": "d{{index}}", "guest": "spin", "scheduler": {{own}} }"""))}} ],
          "duration": "2 s"
        }
        """;

    private static JsonElement[] Domains(string experiment, params string[] arguments)
    {
        string folder = Directory.CreateTempSubdirectory("tessera-simulate-").FullName;
        try
        {
            string config = Path.Combine(folder, "lab.json");
            File.WriteAllText(config, experiment);
            using Support.Cli cli = new();
            Assert.That(cli.Run(["simulate", config, "--json", "--quiet", .. arguments]), Is.Zero, cli.Error);
            return [.. JsonDocument.Parse(cli.Out).RootElement.GetProperty("domains").EnumerateArray()];
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    [TestCase("simulate")]
    [TestCase("compare", "--simulate-only", "--repeat", "1", "--no-schedules", "--out")]
    public void Disks_and_networks_that_virtual_time_does_not_have_are_named(string verb, params string[] more)
    {
        string folder = Directory.CreateTempSubdirectory("tessera-simulate-").FullName;
        string config = Path.Combine(folder, "lab.json");
        File.WriteAllText(config, """
            {
              "domains": [
                { "name": "a", "guest": "spin" },
                { "name": "b", "guest": "spin", "disks": [ { "name": "xvda", "backend": "ram" }, { "name": "xvdb", "backend": "ram" } ],
                  "nics": [ { "backend": "switch" } ] },
              ],
              "duration": "1 s",
            }
            """);
        using Support.Cli cli = new();
        string[] arguments = [verb, config, "--quiet", .. more, .. verb == "compare" ? new[] { Path.Combine(folder, "out") } : []];
        Assert.That(cli.Run(arguments), Is.Zero, cli.Error);
        Assert.That(cli.Error.Split('\n', StringSplitOptions.RemoveEmptyEntries), Is.EqualTo(new[]
        {
            $"tessera: {config}:4:37: domains[1].disks: The simulator has no disks: the disks of \"b\" are left out.",
            $"tessera: {config}:5:7: domains[1].nics: The simulator has no networks: the nics of \"b\" are left out.",
        }));
        Directory.Delete(folder, recursive: true);
    }

    [Test]
    public void An_imagined_machine_may_be_larger_than_this_host()
    {
        using Support.Cli cli = new();
        Assert.That(cli.Run("simulate", Repository.Sample("hundred.json"), "--pcpus", "64", "--seconds", "1", "--json", "--quiet"), Is.Zero, cli.Error);
        Assert.That(JsonDocument.Parse(cli.Out).RootElement.GetProperty("pcpus").GetArrayLength(), Is.EqualTo(64));
    }

    [TestCase("beat=fly", "there is no model fly")]
    [TestCase("beat=queue gap=10ms", "it needs service=TIME")]
    [TestCase("beat=queue gap=10ms service=fast", "service:")]
    [TestCase("beat=cpu now", "it has no parameter now")]
    [TestCase("nobody=cpu", "there is no domain of this name")]
    [TestCase("beat=trace /nonexistent/trace", "/nonexistent/trace")]
    [TestCase("beat", "NAME=MODEL")]
    public void A_wrong_model_ends_with_2_and_says_what_is_wrong(string model, string message)
    {
        using Support.Cli cli = new();
        Assert.Multiple(() =>
        {
            Assert.That(cli.Run("simulate", Repository.Sample("hundred.json"), "--model", model), Is.EqualTo(2));
            Assert.That(cli.Error, Does.Contain(message));
        });
    }

    [Test]
    public void A_guest_without_a_model_is_refused_with_the_way_out()
    {
        string file = Path.Combine(TestContext.CurrentContext.WorkDirectory, "paging.json");
        File.WriteAllText(file, "{ \"machine\": { \"pcpus\": 1 }, \"domains\": [ { \"name\": \"a\", \"guest\": \"paging\" } ], \"duration\": \"1 s\" }\n");
        using Support.Cli cli = new();
        Assert.Multiple(() =>
        {
            Assert.That(cli.Run("simulate", file), Is.EqualTo(2));
            Assert.That(cli.Error, Does.Contain("--model \"a=cpu\""));
        });
    }

    [Test]
    public void A_kernel_with_a_model_is_up_at_once()
    {
        string folder = TestContext.CurrentContext.WorkDirectory;
        File.WriteAllBytes(Path.Combine(folder, "kernel.elf"), BuiltinGuests.Build("spin"));
        string file = Path.Combine(folder, "kernel.json");
        File.WriteAllText(file, "{ \"machine\": { \"pcpus\": 1 }, \"domains\": [ { \"name\": \"a\", \"kernel\": \"kernel.elf\" } ], \"duration\": \"1 s\" }\n");
        using Support.Cli cli = new();
        Assert.That(cli.Run("simulate", file, "--model", "a=cpu", "--json", "--quiet"), Is.Zero, cli.Error);
        JsonElement result = JsonDocument.Parse(cli.Out).RootElement;
        Assert.That(result.GetProperty("domains")[0].GetProperty("share").GetDouble(), Is.EqualTo(1).Within(1e-9));
    }

    [Test]
    public void A_report_card_shows_each_check()
    {
        using Support.Cli cli = new();
        Assert.That(cli.Run("plugins", "check", "round-robin", "--scenarios", "10", "--json"), Is.Zero, cli.Error);
        JsonElement card = JsonDocument.Parse(cli.Out).RootElement;
        Assert.Multiple(() =>
        {
            Assert.That(card.GetProperty("passed").GetBoolean(), Is.True);
            Assert.That(card.GetProperty("checks").EnumerateArray().First(check => check.GetProperty("check").GetString() == "choices").GetProperty("outcome").GetString(), Is.EqualTo("passed"));
            Assert.That(card.GetProperty("checks").EnumerateArray().First(check => check.GetProperty("check").GetString() == "shares").GetProperty("outcome").GetString(), Is.EqualTo("notDeclared"));
        });
    }

    [Test]
    public void A_plugin_that_breaks_its_promise_gets_a_report_card_with_a_scenario_to_replay()
    {
        using PluginForge forge = new();
        string plugin = forge.Plugin("lazy", PluginForge.Scheduler("lazy").Replace("[Plugin", "[SchedulerProperties]\n[Plugin", StringComparison.Ordinal));
        string folder = Path.Combine(forge.Folder, "out");
        using Support.Cli cli = new();
        Assert.Multiple(() =>
        {
            Assert.That(cli.Run("plugins", "check", plugin, "--scenarios", "20", "--out", folder), Is.EqualTo(1), cli.Error);
            Assert.That(cli.Out, Does.Contain("does not conform").And.Contain("FAILED").And.Contain("# Tessera scheduler scenario 1"));
        });
        using Support.Cli again = new();
        Assert.Multiple(() =>
        {
            Assert.That(again.Run("plugins", "check", plugin, "--json", "--replay", Path.Combine(folder, "lazy-work-conserving.scenario")), Is.EqualTo(1), again.Error);
            JsonElement check = JsonDocument.Parse(again.Out).RootElement.GetProperty("checks")[0];
            Assert.That(check.GetProperty("outcome").GetString(), Is.EqualTo("failed"));
            Assert.That(check.GetProperty("detail").GetString(), Does.Contain("idles while d"));
        });
    }

    [Test]
    public void A_scenario_file_is_carried_out()
    {
        string file = Path.Combine(TestContext.CurrentContext.WorkDirectory, "good.scenario");
        File.WriteAllText(file, "check choices\npcpus 2\nvcpus 2\nwake 0\nadvance 5000000\nsleep 0\n");
        using Support.Cli cli = new();
        Assert.Multiple(() =>
        {
            Assert.That(cli.Run("plugins", "check", "bvt", "--replay", file), Is.Zero, cli.Error);
            Assert.That(cli.Out, Does.Contain("the scenario does not fail"));
            Assert.That(cli.Run("plugins", "check", "bvt", "--replay", "/nonexistent/x.scenario"), Is.EqualTo(2));
        });
    }
}
