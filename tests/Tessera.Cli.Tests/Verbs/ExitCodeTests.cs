using System.Text.Json;
using Tessera.Cli.Native;
using Tessera.Cli.Tests.Support;
using Tessera.Experiments.Runs;
using Tessera.Sdk;
using Tessera.Sdk.Cpu;

namespace Tessera.Cli.Tests.Verbs;

/// <summary>What the command line answers with, and what it says on which stream.</summary>
internal sealed class ExitCodeTests
{
    private const string NoDevice = "/nonexistent/kvm";
    private FakePacer _pacer = null!;
    private FakeMachine _machine = null!;
    private Support.Cli _cli = null!;

    [SetUp]
    public void SetUp()
    {
        _pacer = new FakePacer();
        _machine = new FakeMachine(_pacer);
        _cli = new Support.Cli { Pacer = _pacer, Machine = _machine };
    }

    [TearDown]
    public void TearDown()
    {
        _cli.Dispose();
        _machine.Dispose();
    }

    [TestCase]
    [TestCase("fly")]
    [TestCase("run")]
    [TestCase("run", "a.json", "--sec", "5")]
    [TestCase("run", "a.json", "--seconds", "soon")]
    [TestCase("run", "a.json", "--seconds", "-1")]
    [TestCase("boot", "spin", "--memory", "much")]
    [TestCase("guest")]
    [TestCase("guest", "steal")]
    public void Bad_usage_ends_with_2_and_says_where_help_is(params string[] arguments)
    {
        Assert.Multiple(() =>
        {
            Assert.That(_cli.Run(arguments), Is.EqualTo(2));
            Assert.That(_cli.Error, Does.Contain("--help"));
            Assert.That(_cli.Out, Is.Empty);
        });
    }

    [TestCase("--help")]
    [TestCase("run", "--help")]
    [TestCase("--version")]
    [TestCase("plugins", "list")]
    [TestCase("guest", "list")]
    [TestCase("guest", "list", "--json")]
    public void What_asks_for_nothing_dangerous_ends_with_0(params string[] arguments)
    {
        Assert.Multiple(() =>
        {
            Assert.That(_cli.Run(arguments), Is.Zero, _cli.Error);
            Assert.That(_cli.Out, Is.Not.Empty);
        });
    }

    [Test]
    public void A_bad_configuration_ends_with_2_and_names_file_line_and_path()
    {
        string file = Path.Combine(TestContext.CurrentContext.WorkDirectory, "bad.json");
        File.WriteAllText(file, "{\n  \"domains\": [ { \"name\": \"a\", \"guest\": \"spim\", \"wight\": 1, \"scheduler\": { \"wrap\": true } } ]\n}\n");
        int code = _cli.Run("run", file);
        Assert.Multiple(() =>
        {
            Assert.That(code, Is.EqualTo(2));
            Assert.That(_cli.Error, Does.Contain($"{file}:2:31: domains[0].guest: There is no guest \"spim\". Did you mean \"spin\"?"));
            Assert.That(_cli.Error, Does.Contain($"{file}:2:48: domains[0].wight:"));
            Assert.That(_cli.Error, Does.Contain($"{file}:2:75: domains[0].scheduler.wrap:"));
            Assert.That(_cli.Error, Does.Contain("3 things are wrong"));
            Assert.That(_machine.Domains, Is.Empty);
        });
    }

    [TestCase("--set", "scheduler=credit9", "There is no scheduler plugin \"credit9\"")]
    [TestCase("--scheduler", "./none.dll", "none.dll")]
    [TestCase("--set", "machine.engine=round-robin", "CPU engine is wanted")]
    [TestCase("--set", "scheduler.options.contextSwitchAllowance=1", "contextSwitchAllowance")]
    [TestCase("--set", "domains[0].guestOptions.x=1", "unknown")]
    [TestCase("--set", "domains[0].cmdline=quiet", "reads no command line")]
    [TestCase("--set", "domains[0].memory=64 KiB", "does not fit")]
    [TestCase("--set", "domains[0].guest=debian", "tessera guest get debian")]
    public void What_cannot_be_found_or_bound_ends_with_2(string option, string value, string says)
    {
        Assert.Multiple(() =>
        {
            Assert.That(_cli.Run("run", Repository.Sample("quickstart.json"), option, value), Is.EqualTo(2));
            Assert.That(_cli.Error, Does.Contain(says));
        });
    }

    [Test]
    public void A_good_run_ends_with_0_and_shows_the_shares()
    {
        Assert.Multiple(() =>
        {
            Assert.That(_cli.Run("run", Repository.Sample("quickstart.json")), Is.Zero, _cli.Error);
            Assert.That(_cli.Out, Does.Contain("57.14 %").And.Contain("28.57 %").And.Contain("14.29 %"));
            Assert.That(_cli.Error, Does.Contain("measuring, 5 of 10 s"));
            Assert.That(_machine.IsDisposed, Is.True);
        });
    }

    [Test]
    public void Json_is_all_there_is_on_standard_output()
    {
        Assert.That(_cli.Run("run", Repository.Sample("quickstart.json"), "--json"), Is.Zero, _cli.Error);
        Assert.Multiple(() =>
        {
            Assert.That(() => JsonDocument.Parse(_cli.Out), Throws.Nothing);
            Assert.That(_cli.Error, Does.Contain("points off"));
            Assert.That(_cli.Out + _cli.Error, Does.Not.Contain("\u001b"), "no colours without a terminal");
        });
    }

    [Test]
    public void Quiet_shows_no_progress()
    {
        Assert.That(_cli.Run("run", Repository.Sample("quickstart.json"), "--quiet"), Is.Zero);
        Assert.That(_cli.Error, Is.Empty);
    }

    [Test]
    public void Seconds_on_the_command_line_take_the_place_of_the_duration()
    {
        Assert.That(_cli.Run("run", Repository.Sample("quickstart.json"), "--seconds", "2.5", "--json", "--quiet"), Is.Zero, _cli.Error);
        Assert.That(JsonDocument.Parse(_cli.Out).RootElement.GetProperty("elapsedSeconds").GetDouble(), Is.EqualTo(2.5).Within(1e-9));
    }

    [Test]
    public void A_crash_ends_with_1_and_the_result_is_written_all_the_same()
    {
        string folder = Path.Combine(TestContext.CurrentContext.WorkDirectory, $"crash-{Guid.NewGuid():N}");
        _machine.Created = domain => domain.Started = () => _pacer.At(Nanoseconds.FromSeconds(1), () => domain.End(DomainPhase.Crashed, "crash: #GP"));
        int code = _cli.Run("run", Repository.Sample("quickstart.json"), "--out", folder);
        Assert.Multiple(() =>
        {
            Assert.That(code, Is.EqualTo(1));
            Assert.That(_cli.Error, Does.Contain("one crashed"));
            Assert.That(File.ReadAllText(Path.Combine(folder, "result.json")), Does.Contain("deadbeef").And.Contain("\"outcome\": \"failed\""));
            Assert.That(File.Exists(Path.Combine(folder, "console-four.log")), Is.True);
            Assert.That(File.Exists(Path.Combine(folder, "configuration.json")), Is.True);
        });
        Directory.Delete(folder, recursive: true);
    }

    [Test]
    public void An_interruption_ends_with_1_and_partial_results()
    {
        _pacer.At(Nanoseconds.FromSeconds(4), () => _pacer.IsStopped = true);
        int code = _cli.Run("run", Repository.Sample("quickstart.json"), "--json", "--quiet");
        JsonElement result = JsonDocument.Parse(_cli.Out).RootElement;
        Assert.Multiple(() =>
        {
            Assert.That(code, Is.EqualTo(1));
            Assert.That(result.GetProperty("outcome").GetString(), Is.EqualTo("interrupted"));
            Assert.That(result.GetProperty("elapsedSeconds").GetDouble(), Is.EqualTo(4).Within(1e-9));
            Assert.That(_machine.IsDisposed, Is.True);
        });
    }

    [Test]
    public void A_wish_to_stop_is_heard_between_two_domains_that_are_built()
    {
        _machine.Created = _ => _pacer.IsStopped = _machine.Domains.Count == 2;
        Assert.Multiple(() =>
        {
            Assert.That(_cli.Run("run", Repository.Sample("quickstart.json")), Is.EqualTo(1));
            Assert.That(_machine.Domains, Has.Count.EqualTo(2));
            Assert.That(_machine.IsDisposed, Is.True);
            Assert.That(_cli.Error, Does.Contain("interrupted"));
        });
    }

    [TestCase(64L, 3, "64 open files", "ulimit")]
    [TestCase(1024L, 1000, "1000 domains", "LimitNOFILE")]
    public void Too_few_open_files_are_said_before_anything_is_built(long most, int domains, string says, string cure)
    {
        Assert.That(Assert.Throws<EngineException>(() => OpenFiles.Check(domains, most))!.Message, Does.Contain(says).And.Contain(cure));
        Assert.That(() => OpenFiles.Check(domains, null), Throws.Nothing);
        Assert.That(() => OpenFiles.Check(domains, 1 << 20), Throws.Nothing);
    }

    [Test]
    public void A_process_with_few_open_files_says_so_and_ends_in_order()
    {
        (int code, string _, string error) = Child.Run("/bin/bash", Repository.Root, [], "", "-c", $"ulimit -n 64; exec dotnet {Child.Program} run {Repository.Sample("quickstart.json")} --seconds 1");
        Assert.That(code, Is.EqualTo(3), error);
        Assert.That(error, Does.Contain("open files").And.Contain("ulimit").And.Not.Contain("   at "));
    }

    [Test]
    public void A_boot_that_powers_off_ends_with_0_and_its_console_on_standard_output()
    {
        _machine.Created = domain => domain.Started = () =>
        {
            domain.Say("Hello\r\n");
            _pacer.At(Nanoseconds.FromSeconds(1), () => domain.End(DomainPhase.Shutdown, "poweroff"));
        };
        Assert.Multiple(() =>
        {
            Assert.That(_cli.Run("boot", "hello"), Is.Zero, _cli.Error);
            Assert.That(_cli.Raw, Is.EqualTo("Hello\r\n"));
            Assert.That(_cli.Error, Does.Contain("poweroff"));
        });
    }

    [Test]
    public void A_boot_that_crashes_ends_with_1_and_shows_the_registers()
    {
        _machine.Created = domain => domain.Started = () => _pacer.At(Nanoseconds.FromSeconds(1), () => domain.End(DomainPhase.Crashed, "crash: #UD"));
        Assert.Multiple(() =>
        {
            Assert.That(_cli.Run("boot", "hello"), Is.EqualTo(1));
            Assert.That(_cli.Error, Does.Contain("crash: #UD").And.Contain("rip     deadbeef"));
        });
    }

    [Test]
    public void A_boot_that_takes_too_long_ends_with_1()
    {
        Assert.Multiple(() =>
        {
            Assert.That(_cli.Run("boot", "spin", "--seconds", "3"), Is.EqualTo(1));
            Assert.That(_cli.Error, Does.Contain("still running after 3 s"));
            Assert.That(_pacer.Now, Is.EqualTo(Nanoseconds.FromSeconds(3)));
        });
    }

    [Test]
    public void Without_the_device_boot_translates_the_guests_code_and_says_so()
    {
        (int code, string output, string error) = Child.Run(Repository.Root, new() { ["TESSERA_KVM_DEVICE"] = NoDevice }, "boot", "hello");
        Assert.Multiple(() =>
        {
            Assert.That(code, Is.Zero, error);
            Assert.That(output, Does.Contain("Hello from a Tessera domain."));
            Assert.That(error, Does.Contain("translates").And.Contain("docs/engines.md"));
        });
    }

    [TestCase("doctor", "--engine", "kvm")]
    [TestCase("bench", "cpu", "--engine", "kvm")]
    [TestCase("boot", "hello", "--engine", "kvm")]
    [TestCase("run", "samples/quickstart.json", "--engine", "kvm")]
    public void Without_the_device_each_verb_that_was_told_to_use_it_says_so_with_the_cure_and_what_works_and_ends_with_3(params string[] arguments)
    {
        // The engine reads the process's own environment; a child process has one of its own.
        (int code, string output, string error) = Child.Run(Repository.Root, new() { ["TESSERA_KVM_DEVICE"] = NoDevice }, arguments);
        Assert.Multiple(() =>
        {
            Assert.That(code, Is.EqualTo(3), error);
            Assert.That(error, Does.Contain(NoDevice).And.Contain("modprobe"));
            Assert.That(output + error, Does.Contain("--engine software").And.Contain("tessera simulate").And.Contain("container"));
        });
    }
}
