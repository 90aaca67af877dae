using System.Text.Json;
using Tessera.Cli.Composition;
using Tessera.Cli.Runs;
using Tessera.Cli.Tests.Support;
using Tessera.Sdk.Cpu;

namespace Tessera.Cli.Tests.Verbs;

/// <summary>KVM usable, there and forbidden, or not there: each verb does what it can, or names what can be done.</summary>
internal sealed class KindsOfHostTests
{
    private const string SetPrivileges = "/usr/bin/setpriv";

    [TestCase(KvmState.Forbidden)]
    [TestCase(KvmState.Missing)]
    public void A_run_of_built_in_guests_is_simulated_and_says_so(KvmState state)
    {
        using Support.Cli cli = new() { Kvm = state, Machines = new NoMachines() };
        Assert.Multiple(() =>
        {
            Assert.That(cli.Run("run", Repository.Sample("quickstart.json"), "--json", "--quiet"), Is.Zero, cli.Error);
            Assert.That(JsonDocument.Parse(cli.Out).RootElement.GetProperty("engine").GetProperty("name").GetString(), Is.EqualTo("simulated"));
            Assert.That(cli.Error, Does.Contain("SIMULATED").And.Contain("the host cannot"));
        });
    }

    [TestCase(KvmState.Forbidden)]
    [TestCase(KvmState.Missing)]
    public void A_comparison_of_built_in_guests_is_simulated_and_says_so(KvmState state)
    {
        string folder = Path.Combine(TestContext.CurrentContext.WorkDirectory, $"kinds-{Guid.NewGuid():N}");
        using Support.Cli cli = new() { Kvm = state, Machines = new NoMachines() };
        Assert.That(cli.Run("compare", Repository.Sample("quickstart.json"), "--repeat", "1", "--seconds", "1", "--out", folder, "--quiet"), Is.Zero, cli.Error);
        Assert.That(cli.Error, Does.Contain("SIMULATED"));
        Directory.Delete(folder, recursive: true);
    }

    [TestCase(KvmState.Usable)]
    public void A_usable_device_whose_engine_fails_is_no_reason_to_simulate(KvmState state)
    {
        using Support.Cli cli = new() { Kvm = state, Machines = new NoMachines() };
        Assert.That(cli.Run("run", Repository.Sample("quickstart.json")), Is.EqualTo(ExitCode.HostCannot));
        Assert.That(cli.Error, Does.Not.Contain("simulate"));
    }

    [TestCase("boot", "hello")]
    [TestCase("run", "paging.json")]
    public void What_cannot_be_simulated_names_what_can(params string[] arguments)
    {
        string file = Path.Combine(TestContext.CurrentContext.WorkDirectory, "paging.json");
        File.WriteAllText(file, """{ "domains": [ { "name": "a", "guest": "paging" } ] }""");
        using Support.Cli cli = new() { Kvm = KvmState.Forbidden, Machines = new NoMachines() };
        string[] all = [.. arguments.Select(word => word.EndsWith(".json", StringComparison.Ordinal) ? file : word)];
        Assert.That(cli.Run(all), Is.EqualTo(ExitCode.HostCannot));
        Assert.That(cli.Error, Does.Contain("tessera simulate").And.Contain("--model").And.Contain("docs/without-kvm.md"));
    }

    [Test]
    public void Doctor_answers_in_json_too_where_there_is_no_device()
    {
        (int code, string output, string error) = Child.Run(Repository.Root, new() { ["TESSERA_KVM_DEVICE"] = "/nonexistent/kvm" }, "doctor", "--json");
        JsonElement report = JsonDocument.Parse(output).RootElement;
        Assert.Multiple(() =>
        {
            Assert.That(code, Is.EqualTo(ExitCode.HostCannot), error);
            Assert.That(report.GetProperty("kvm").GetProperty("state").GetString(), Is.EqualTo("missing"));
            Assert.That(report.GetProperty("kvm").GetProperty("without").GetArrayLength(), Is.Positive);
            Assert.That(report.GetProperty("problem").GetString(), Does.Contain("/nonexistent/kvm"));
            Assert.That(report.GetProperty("engine").ValueKind, Is.EqualTo(JsonValueKind.Null));
        });
    }

    [Test]
    public void An_ordinary_user_controls_a_run_and_runs_without_rights_to_kvm()
    {
        if (Environment.UserName != "root" || !File.Exists(SetPrivileges))
            Assert.Ignore("Only root can become somebody else, by setpriv (util-linux).");
        string folder = Directory.CreateTempSubdirectory("tu").FullName;
        string[] nobody = ["--reuid=65534", "--regid=65534", "--clear-groups"];
        if (Child.Run(SetPrivileges, "/", [], "", [.. nobody, "test", "-r", Child.Program]).Code != 0)
            Assert.Ignore($"{Child.Program} may not be read by other users.");
        Dictionary<string, string> environment = new() { ["XDG_RUNTIME_DIR"] = "", ["HOME"] = "/nonexistent" };
        (int code, string _, string error) = Child.Run(SetPrivileges, "/", environment, "", [.. nobody, "dotnet", Child.Program, "simulate", Repository.Sample("quickstart.json"), "--control", "auto", "--seconds", "1"]);
        Assert.Multiple(() =>
        {
            Assert.That(code, Is.Zero, error);
            Assert.That(error, Does.Contain("control socket /tmp/tessera-65534/"));
        });
        Directory.Delete(folder, recursive: true);
    }

    private sealed class NoMachines : IMachineFactory
    {
        public IRunMachine Create(PreparedExperiment prepared) => throw new EngineException("the host cannot", "");
    }
}
