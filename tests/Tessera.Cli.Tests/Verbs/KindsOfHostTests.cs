using System.Text.Json;
using Tessera.Cli.Terminal;
using Tessera.Cli.Tests.Support;
using Tessera.Experiments.Hosts;
using Tessera.Experiments.Machines;
using Tessera.Experiments.Planning;
using Tessera.Experiments.Runs;
using Tessera.Sdk.Cpu;

namespace Tessera.Cli.Tests.Verbs;

/// <summary>KVM usable, there and forbidden, or not there: each verb does what it can, or names what can be done.</summary>
internal sealed class KindsOfHostTests
{
    private const string NoDevice = "/nonexistent/kvm";
    private const string SetPrivileges = "/usr/bin/setpriv";
    private static readonly string[] Nobody = ["--reuid=65534", "--regid=65534", "--clear-groups"];

    [TestCase(KvmState.Forbidden, "may not be used by this user")]
    [TestCase(KvmState.Missing, "is not there")]
    public void Without_KVM_a_run_takes_the_engine_that_translates_and_says_so_in_one_line(KvmState state, string why)
    {
        using Support.Cli cli = new() { Kvm = state, Environment = { ["TESSERA_KVM_DEVICE"] = NoDevice } };
        Assert.That(cli.Run("run", Repository.Sample("quickstart.json"), "--seconds", "0.5", "--json", "--quiet"), Is.Zero, cli.Error);
        JsonElement result = JsonDocument.Parse(cli.Out).RootElement;
        using (Assert.EnterMultipleScope())
        {
            Assert.That(result.GetProperty("engine").GetProperty("name").GetString(), Is.EqualTo("software"));
            Assert.That(result.GetProperty("configuration").GetProperty("machine").GetProperty("engine").GetString(), Is.EqualTo("software"));
            Assert.That(result.GetProperty("outcome").GetString(), Is.EqualTo("completed"));
            Assert.That(cli.Error.Split('\n', StringSplitOptions.RemoveEmptyEntries), Has.Exactly(1).Contains($"{NoDevice} {why}").And.Exactly(1).Contains("docs/engines.md"));
        }
    }

    [Test]
    public void Without_KVM_a_comparison_runs_on_the_engine_that_translates_and_says_so_once()
    {
        string folder = Path.Combine(TestContext.CurrentContext.WorkDirectory, $"kinds-{Guid.NewGuid():N}");
        using Support.Cli cli = new() { Kvm = KvmState.Missing };
        Assert.That(cli.Run("compare", Repository.Sample("quickstart.json"), "--repeat", "2", "--seconds", "0.2", "--out", folder, "--quiet"), Is.Zero, cli.Error);
        using JsonDocument comparison = JsonDocument.Parse(File.ReadAllText(Path.Combine(folder, "comparison.json")));
        using (Assert.EnterMultipleScope())
        {
            Assert.That(comparison.RootElement.GetProperty("engines").EnumerateArray().Select(engine => engine.GetString()), Is.EqualTo(new[] { "machine" }));
            Assert.That(cli.Error.Split('\n'), Has.Exactly(1).Contains("docs/engines.md"));
        }

        Directory.Delete(folder, recursive: true);
    }

    [Test]
    public void A_simulated_run_takes_no_engine_and_says_nothing_of_one()
    {
        using Support.Cli cli = new() { Kvm = KvmState.Missing, Machines = new NoMachines() };
        Assert.That(cli.Run("simulate", Repository.Sample("quickstart.json"), "--seconds", "1", "--json", "--quiet"), Is.Zero, cli.Error);
        Assert.That(cli.Error, Is.Empty);
    }

    [TestCase(KvmState.Usable, "kvm")]
    [TestCase(KvmState.Missing, "software")]
    [TestCase(KvmState.Missing, "kvm", "--engine", "kvm")]
    [TestCase(KvmState.Usable, "software", "--engine", "software")]
    [TestCase(KvmState.Usable, "software", "--set", "machine.engine=software")]
    [TestCase(KvmState.Missing, "software", "--engine", "auto", "--set", "machine.engine=auto")]
    public void The_engine_is_the_one_named_or_that_of_this_kind_of_host(KvmState state, string engine, params string[] arguments)
    {
        NoMachines machines = new();
        using Support.Cli cli = new() { Kvm = state, Machines = machines };
        Assert.That(cli.Run(["run", Repository.Sample("quickstart.json"), .. arguments]), Is.EqualTo(ExitCode.HostCannot));
        Assert.That(machines.Engine, Is.EqualTo(engine));
    }

    [Test]
    public void Another_engine_drops_the_options_of_the_configured_one()
    {
        string file = Path.Combine(TestContext.CurrentContext.WorkDirectory, "options.json");
        File.WriteAllText(file, """{ "machine": { "engine": "software", "engineOptions": { "plain": true } }, "domains": [ { "name": "a", "guest": "spin" } ] }""");
        NoMachines machines = new();
        using Support.Cli cli = new() { Machines = machines };
        Assert.That(cli.Run("run", file, "--engine", "kvm"), Is.EqualTo(ExitCode.HostCannot), cli.Error);
        Assert.That(machines.Engine, Is.EqualTo("kvm"));
    }

    [Test]
    public void Options_of_no_engine_in_particular_are_refused()
    {
        using Support.Cli cli = new() { Machines = new NoMachines() };
        Assert.That(cli.Run("run", Repository.Sample("quickstart.json"), "--set", "machine.engineOptions.plain=true"), Is.EqualTo(ExitCode.Usage));
        Assert.That(cli.Error, Does.Contain("machine.engineOptions: ").And.Contain("machine.engine"));
    }

    [TestCase(KvmState.Forbidden, "tessera simulate")]
    [TestCase(KvmState.Missing, "tessera simulate")]
    [TestCase(KvmState.Usable, "docs/engines.md")]
    public void KVM_by_name_that_cannot_be_used_ends_with_3_and_names_the_engine_that_can(KvmState state, string says)
    {
        using Support.Cli cli = new() { Kvm = state, Machines = new NoMachines() };
        Assert.That(cli.Run("run", Repository.Sample("quickstart.json"), "--engine", "kvm"), Is.EqualTo(ExitCode.HostCannot));
        Assert.That(cli.Error, Does.Contain("the host cannot").And.Contain("--engine software").And.Contain(says));
    }

    [Test]
    public void Another_engine_that_cannot_be_used_is_not_told_of_KVM()
    {
        using Support.Cli cli = new() { Kvm = KvmState.Missing, Machines = new NoMachines() };
        Assert.That(cli.Run("boot", "hello"), Is.EqualTo(ExitCode.HostCannot));
        Assert.That(cli.Error, Does.Contain("the host cannot").And.Not.Contain("KVM"));
    }

    [Test]
    public void Doctor_examines_what_runs_guests_where_there_is_no_device()
    {
        (int code, string output, string error) = Child.Run(Repository.Root, new() { ["TESSERA_KVM_DEVICE"] = NoDevice }, "doctor", "--json");
        JsonElement report = JsonDocument.Parse(output).RootElement;
        using (Assert.EnterMultipleScope())
        {
            Assert.That(code, Is.Zero, error);
            Assert.That(report.GetProperty("kvm").GetProperty("state").GetString(), Is.EqualTo("missing"));
            Assert.That(report.GetProperty("kvm").GetProperty("without").GetArrayLength(), Is.Positive);
            Assert.That(report.GetProperty("problem").ValueKind, Is.EqualTo(JsonValueKind.Null));
            Assert.That(report.GetProperty("engine").GetProperty("name").GetString(), Is.EqualTo("software"));
        }
    }

    [Test]
    public void Doctor_answers_in_json_of_an_engine_that_cannot_be_used_too()
    {
        (int code, string output, string error) = Child.Run(Repository.Root, new() { ["TESSERA_KVM_DEVICE"] = NoDevice }, "doctor", "--engine", "kvm", "--json");
        JsonElement report = JsonDocument.Parse(output).RootElement;
        using (Assert.EnterMultipleScope())
        {
            Assert.That(code, Is.EqualTo(ExitCode.HostCannot), error);
            Assert.That(report.GetProperty("problem").GetString(), Does.Contain(NoDevice));
            Assert.That(report.GetProperty("engine").ValueKind, Is.EqualTo(JsonValueKind.Null));
        }
    }

    [Test]
    public void An_ordinary_user_controls_a_run_and_runs_without_rights_to_kvm()
    {
        RequireSomebodyElse();
        string folder = Directory.CreateTempSubdirectory("tu").FullName;
        Dictionary<string, string> environment = new() { ["XDG_RUNTIME_DIR"] = "", ["HOME"] = "/nonexistent" };
        (int code, string _, string error) = Child.Run(SetPrivileges, "/", environment, "", [.. Nobody, "dotnet", Child.Program, "simulate", Repository.Sample("quickstart.json"), "--control", "auto", "--seconds", "1"]);
        Assert.Multiple(() =>
        {
            Assert.That(code, Is.Zero, error);
            Assert.That(error, Does.Contain("control socket /tmp/tessera-65534/"));
        });
        Directory.Delete(folder, recursive: true);
    }

    [Test]
    public void A_guest_library_that_may_not_be_read_is_said_at_the_guests_place()
    {
        string folder = Directory.CreateTempSubdirectory("tu").FullName;
        string config = Path.Combine(folder, "c.json");
        string guests = Directory.CreateDirectory(Path.Combine(folder, "guests")).FullName;
        File.WriteAllText(config, """{ "domains": [ { "name": "a", "guest": "debian" } ] }""");
        Assert.That(Child.Run("chmod", "/", [], "", "755", folder).Code + Child.Run("chmod", "/", [], "", "000", guests).Code, Is.Zero);
        try
        {
            Dictionary<string, string> environment = new() { ["TESSERA_CACHE"] = folder, ["HOME"] = "/nonexistent" };
            string[] words = [Child.Program, "run", config];
            // Root may read everything, and has to be somebody else.
            if (Environment.UserName == "root")
                RequireSomebodyElse();
            (int code, string _, string error) = Environment.UserName == "root"
                ? Child.Run(SetPrivileges, "/", environment, "", [.. Nobody, "dotnet", .. words])
                : Child.Run("dotnet", "/", environment, "", words);
            Assert.That(code, Is.EqualTo(ExitCode.Usage), error);
            Assert.That(error, Does.Contain("c.json:1:").And.Contain("domains[0].guest").And.Contain(guests));
        }
        finally
        {
            _ = Child.Run("chmod", "/", [], "", "700", guests);
            Directory.Delete(folder, recursive: true);
        }
    }

    private static void RequireSomebodyElse()
    {
        if (Environment.UserName != "root" || !File.Exists(SetPrivileges))
            Assert.Ignore("Only root can become somebody else, by setpriv (util-linux).");
        if (Child.Run(SetPrivileges, "/", [], "", [.. Nobody, "test", "-r", Child.Program]).Code != 0)
            Assert.Ignore($"{Child.Program} may not be read by other users.");
    }

    private sealed class NoMachines : IMachineFactory
    {
        /// <summary>The engine of the machine that was wanted.</summary>
        public string? Engine { get; private set; }

        public IRunMachine Create(PreparedExperiment prepared)
        {
            Engine = prepared.Experiment.Machine.Engine;
            throw new EngineException("the host cannot", "");
        }
    }
}
