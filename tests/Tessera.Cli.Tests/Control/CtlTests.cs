using System.Text.Json;
using Tessera.Cli.Terminal;
using Tessera.Hosting.Tests;

namespace Tessera.Cli.Tests.Control;

/// <summary>`tessera ctl` against a machine in virtual time: what it changes, what it refuses, and that the result says so.</summary>
internal sealed class CtlTests
{
    [Test]
    public void List_shows_the_scheduler_and_each_domain_with_what_is_in_force()
    {
        using ControlledMachine machine = ControlledMachine.Simulate();
        JsonElement list = machine.List();
        string text = machine.Do("list");
        Assert.Multiple(() =>
        {
            Assert.That(list.GetProperty("scheduler").GetString(), Is.EqualTo("bvt 1.0.0"));
            Assert.That(list.GetProperty("engine").GetString(), Is.EqualTo("simulated"));
            Assert.That(list.GetProperty("domains").EnumerateArray().Select(domain => domain.GetProperty("weight").GetInt32()), Is.EqualTo(new[] { 256, 512, 1024 }));
            Assert.That(list.GetProperty("domains")[0].GetProperty("scheduler").GetProperty("warp").ValueKind, Is.EqualTo(JsonValueKind.False));
            Assert.That(text, Does.Contain("scheduler bvt 1.0.0").And.Contain("four").And.Contain("1024"));
        });
    }

    [Test]
    public void Weight_affinity_and_scheduler_options_are_set_and_the_result_says_when_what_and_by_whom()
    {
        using ControlledMachine machine = ControlledMachine.Simulate();
        Assert.That(machine.Do("set", "domain.two.weight=768", "domain.two.affinity=0", "domain.one.scheduler.warp=true"), Does.Contain("weight 512 → 768"));
        JsonElement two = machine.Domain("two");
        JsonElement one = machine.Domain("one");
        JsonElement result = machine.End();
        JsonElement[] changes = [.. result.GetProperty("changes").EnumerateArray()];
        Assert.Multiple(() =>
        {
            Assert.That(two.GetProperty("weight").GetInt32(), Is.EqualTo(768));
            Assert.That(two.GetProperty("affinity").GetString(), Is.EqualTo("0"));
            Assert.That(one.GetProperty("scheduler").GetProperty("warp").GetBoolean(), Is.True);
            Assert.That(changes.Select(change => change.GetProperty("what").GetString()), Is.EqualTo(new[]
            {
                "domain one: scheduler.warp false → true", "domain two: weight 512 → 768, affinity all → 0",
                "domain one: destroyed", "domain two: destroyed", "domain four: destroyed",
            }));
            Assert.That(changes.Select(change => change.GetProperty("by").GetString()), Is.All.EqualTo("ctl"));
            Assert.That(changes[0].GetProperty("atSeconds").GetDouble(), Is.Not.Negative);
            Assert.That(result.GetProperty("domains")[1].GetProperty("weight").GetInt32(), Is.EqualTo(768));
        });
    }

    [Test]
    public void A_scheduler_is_swapped_by_name_and_the_result_keeps_the_configured_one()
    {
        using ControlledMachine machine = ControlledMachine.Simulate();
        Assert.That(machine.Do("swap-scheduler", "round-robin", "--set", "slice=2 ms"), Does.Contain("round-robin 1.0.0 is in charge, bvt 1.0.0 is gone"));
        JsonElement list = machine.List();
        JsonElement result = machine.End();
        Assert.Multiple(() =>
        {
            Assert.That(list.GetProperty("scheduler").GetString(), Is.EqualTo("round-robin 1.0.0"));
            Assert.That(list.GetProperty("schedulerOptions").GetProperty("slice").GetString(), Is.EqualTo("2 ms"));
            Assert.That(result.GetProperty("scheduler").GetProperty("name").GetString(), Is.EqualTo("bvt"));
            Assert.That(result.GetProperty("changes")[0].GetProperty("what").GetString(), Is.EqualTo("scheduler bvt 1.0.0 → round-robin 1.0.0"));
        });
    }

    [Test]
    public void The_same_scheduler_keeps_the_domains_options_and_another_begins_with_its_defaults()
    {
        using ControlledMachine machine = ControlledMachine.Simulate();
        machine.Do("set", "domain.*.scheduler.warp=true");
        machine.Do("swap-scheduler", "bvt");
        Assert.That(machine.Domain("one").GetProperty("scheduler").GetProperty("warp").GetBoolean(), Is.True);
        machine.Do("swap-scheduler", "round-robin");
        machine.Do("swap-scheduler", "bvt");
        Assert.That(machine.Domain("one").GetProperty("scheduler").GetProperty("warp").GetBoolean(), Is.False);
    }

    [Test]
    public void A_scheduler_that_fails_at_once_is_named_with_its_version_and_the_run_goes_on_under_the_fallback()
    {
        using PluginForge forge = new();
        string path = forge.Plugin("Bad", PluginForge.Scheduler("bad", version: "4.5.6").Replace("public void Add(SchedulableVcpu vcpu, Nanoseconds now) { }", "public void Add(SchedulableVcpu vcpu, Nanoseconds now) => throw new InvalidOperationException(\"cannot count\");", StringComparison.Ordinal));
        using ControlledMachine machine = ControlledMachine.Simulate();
        (int code, string _, string error) = machine.Ctl("swap-scheduler", path);
        JsonElement list = machine.List();
        (int optionCode, string _, string optionError) = machine.Ctl("set", "domain.one.scheduler.warp=true");
        JsonElement result = machine.End(ExitCode.Failed);
        Assert.Multiple(() =>
        {
            Assert.That(code, Is.EqualTo(ExitCode.Failed));
            Assert.That(error, Does.Contain("bad 4.5.6").And.Contain("cannot count").And.Contain("fallback"));
            Assert.That(list.GetProperty("scheduler").GetString(), Is.EqualTo("round-robin"));
            Assert.That(optionCode, Is.EqualTo(ExitCode.Usage));
            Assert.That(optionError, Does.Contain("was ejected"));
            Assert.That(result.GetProperty("scheduler").GetProperty("ejected").GetString(), Does.Contain("bad 4.5.6").And.Contain("Bad.cs:line"));
        });
    }

    [Test]
    public void Domains_are_paused_resumed_and_destroyed()
    {
        using ControlledMachine machine = ControlledMachine.Simulate();
        Assert.That(machine.Do("pause", "one", "two"), Does.Contain("one, two: paused"));
        double before = machine.Domain("one").GetProperty("cpuSeconds").GetDouble();
        Assert.Multiple(() =>
        {
            Assert.That(machine.Domain("one").GetProperty("state").GetString(), Is.EqualTo("paused"));
            Assert.That(machine.Domain("one").GetProperty("cpuSeconds").GetDouble(), Is.EqualTo(before));
            Assert.That(machine.Domain("four").GetProperty("state").GetString(), Is.EqualTo("running"));
        });
        machine.Do("resume", "*");
        machine.Do("destroy", "two");
        Assert.Multiple(() =>
        {
            Assert.That(machine.Domain("one").GetProperty("state").GetString(), Is.EqualTo("running"));
            Assert.That(machine.Domain("two").GetProperty("state").GetString(), Is.EqualTo("destroyed"));
        });
    }

    [TestCase("There is no domain \"too\". Did you mean \"two\"? The domains are one, two, four", "pause", "too")]
    [TestCase("Domain one is running: only a paused domain can be resumed.", "resume", "one")]
    [TestCase("domain.one.weight=0: a weight is a whole number from 1 to 65535. Nothing was changed.", "set", "domain.one.weight=0")]
    [TestCase("an affinity is \"all\" or indexes of the machine's pCPUs, 0 to 0", "set", "domain.one.affinity=1")]
    [TestCase("did you mean \"warp\"?", "set", "domain.one.scheduler.warpp=true")]
    [TestCase("\"weight=3\" cannot be set. What can be set: domain.NAME.weight=512", "set", "weight=3")]
    [TestCase("ctl swap-scheduler NAME --set key=value", "set", "scheduler.slice=3ms")]
    [TestCase("There is no scheduler plugin \"bvd\"", "swap-scheduler", "bvd")]
    [TestCase("/nowhere/My.dll does not exist", "swap-scheduler", "/nowhere/My.dll")]
    [TestCase("options.slize is unknown; did you mean \"slice\"?", "swap-scheduler", "round-robin", "--set", "slize=3ms")]
    public void What_cannot_be_is_refused_with_the_cure_and_changes_nothing(string said, params string[] arguments)
    {
        using ControlledMachine machine = ControlledMachine.Simulate();
        (int code, string _, string error) = machine.Ctl(arguments);
        Assert.Multiple(() =>
        {
            Assert.That(code, Is.EqualTo(ExitCode.Usage));
            Assert.That(error, Does.Contain(said));
            Assert.That(machine.List().GetProperty("changes").GetArrayLength(), Is.Zero);
        });
    }

    [Test]
    public void One_bad_edit_keeps_the_others_from_being_made()
    {
        using ControlledMachine machine = ControlledMachine.Simulate();
        Assert.That(machine.Ctl("set", "domain.one.weight=9", "domain.two.weight=x").Code, Is.EqualTo(ExitCode.Usage));
        Assert.That(machine.Domain("one").GetProperty("weight").GetInt32(), Is.EqualTo(256));
    }

    [Test]
    public void A_refusal_is_json_too()
    {
        using ControlledMachine machine = ControlledMachine.Simulate();
        (int code, string output, string error) = machine.Ctl("destroy", "nobody", "--json");
        JsonElement reply = JsonDocument.Parse(output).RootElement;
        Assert.Multiple(() =>
        {
            Assert.That((code, error), Is.EqualTo((ExitCode.Usage, "")));
            Assert.That(reply.GetProperty("ok").GetBoolean(), Is.False);
            Assert.That(reply.GetProperty("code").GetString(), Is.EqualTo("unknown-domain"));
        });
    }
}
