using System.Text;
using Tessera.Cli.Configuration;
using Tessera.Sdk;
using Tessera.Sdk.Plugins;

namespace Tessera.Cli.Tests.Configuration;

internal sealed class ConfigurationEditTests
{
    private const string Text = """
        {
          "scheduler": "bvt",
          "domains": [
            { "name": "a", "guest": "spin", "scheduler": { "warp": true } },
            { "name": "b", "guest": "spin" },
          ],
        }
        """;

    private static readonly HostResources Host = new([0, 1], new ByteSize(2L << 30));

    [Test]
    public void A_number_is_set_by_index() => Assert.That(Load("domains[0].weight=512").Domains.Select(domain => domain.Weight), Is.EqualTo(new[] { 512, 256 }));

    [Test]
    public void A_star_means_every_item() => Assert.That(Load("domains[*].weight=7").Domains.Select(domain => domain.Weight), Is.EqualTo(new[] { 7, 7 }));

    [Test]
    public void Words_need_no_quotes() => Assert.That(Load("duration=5 s").Duration, Is.EqualTo(Nanoseconds.FromSeconds(5)));

    [Test]
    public void Quoted_words_are_words_too() => Assert.That(Load("duration=\"5 s\"").Duration, Is.EqualTo(Nanoseconds.FromSeconds(5)));

    [Test]
    public void Missing_objects_on_the_way_are_made() => Assert.That(Load("machine.pcpus=[1]").Machine.HostCpus, Is.EqualTo(new[] { 1 }));

    [Test]
    public void A_schedulers_name_stays_when_an_option_is_set()
    {
        Experiment experiment = Load("scheduler.options.contextSwitchAllowance=1 ms");
        Assert.Multiple(() =>
        {
            Assert.That(experiment.Scheduler.Name, Is.EqualTo("bvt"));
            Assert.That(experiment.Scheduler.Options!.Find("contextSwitchAllowance")!.Text, Is.EqualTo("1 ms"));
            Assert.That(experiment.Scheduler.Options.Path, Is.EqualTo("scheduler.options"));
        });
    }

    [Test]
    public void The_index_past_the_end_appends()
    {
        Experiment experiment = Load("domains[2].name=c", "domains[2].guest=beat");
        Assert.That(experiment.Domains.Select(domain => domain.Name), Is.EqualTo(new[] { "a", "b", "c" }));
    }

    [Test]
    public void A_whole_object_can_be_set() => Assert.That(Load("""domains[1]={"name":"z","guest":"beat"}""").Domains[1].Name, Is.EqualTo("z"));

    [Test]
    public void The_last_edit_of_a_path_counts() => Assert.That(Load("domains[0].weight=1", "domains[0].weight=2").Domains[0].Weight, Is.EqualTo(2));

    [TestCase("weight", "The path of this edit")]
    [TestCase("=5", "The path of this edit")]
    [TestCase("domains[x].weight=5", "The path of this edit")]
    [TestCase("domains[0]weight=5", "The path of this edit")]
    [TestCase("domains[9].weight=5", "There is no item 9")]
    [TestCase("domains.weight=5", "has no keys")]
    [TestCase("scheduler[0]=5", "has no items")]
    [TestCase("domains[0].wieght=5", "Did you mean \"weight\"?")]
    public void A_bad_edit_is_named_as_it_was_written(string edit, string says)
    {
        ConfigurationError error = Load(edit).Errors[0];
        Assert.Multiple(() =>
        {
            Assert.That(error.Position.ToString(), Is.EqualTo($"--set {edit}"));
            Assert.That(error.ToString(), Does.Contain(says));
        });
    }

    [Test]
    public void Another_scheduler_takes_the_place_of_the_configured_one_with_all_its_options()
    {
        Experiment experiment = ConfigurationLoader.Parse("test.json", Encoding.UTF8.GetBytes(Text), "/base", ["scheduler.options.slice=1 ms"], Host, "round-robin");
        Assert.Multiple(() =>
        {
            Assert.That(experiment.Errors, Is.Empty);
            Assert.That(experiment.Scheduler.Name, Is.EqualTo("round-robin"));
            Assert.That(experiment.Domains[0].SchedulerOptions, Is.Null);
            Assert.That(experiment.Scheduler.Options!.Find("slice"), Is.Not.Null);
        });
    }

    [Test]
    public void The_same_scheduler_again_keeps_its_options() => Assert.That(
        ConfigurationLoader.Parse("test.json", Encoding.UTF8.GetBytes(Text), "/base", [], Host, "bvt").Domains[0].SchedulerOptions, Is.Not.Null);

    private static Experiment Load(params string[] edits) => ConfigurationLoader.Parse("test.json", Encoding.UTF8.GetBytes(Text), "/base", edits, Host);
}
