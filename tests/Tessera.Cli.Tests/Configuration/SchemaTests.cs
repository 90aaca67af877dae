using System.Text.Json;
using System.Text.Json.Nodes;
using Tessera.Cli.Tests.Support;
using Tessera.Experiments.Configuration;
using Tessera.Experiments.Hosts;

namespace Tessera.Cli.Tests.Configuration;

/// <summary>The keys in the code, the published schema, the documentation and the samples agree.</summary>
internal sealed class SchemaTests
{
    private static readonly string SchemaFile = Path.Combine(Repository.Root, "docs", "tessera.schema.json");

    private static IEnumerable<string> Samples => Directory.GetFiles(Path.Combine(Repository.Root, "samples"), "*.json").Select(Path.GetFileName)!;

    [Test]
    public void The_published_schema_is_the_one_the_keys_make()
    {
        // TESSERA_WRITE_SCHEMA=1 publishes it anew after a key was added.
        if (Environment.GetEnvironmentVariable("TESSERA_WRITE_SCHEMA") == "1")
            File.WriteAllText(SchemaFile, ConfigurationSchema.Text());
        Assert.That(File.ReadAllText(SchemaFile), Is.EqualTo(ConfigurationSchema.Text()));
    }

    [TestCaseSource(nameof(Samples))]
    public void Every_sample_follows_the_schema_and_names_it(string sample)
    {
        JsonNode document = JsonNode.Parse(File.ReadAllText(Repository.Sample(sample)), documentOptions: SchemaCheck.Lenient)!;
        string reference = document["$schema"]!.GetValue<string>();
        Assert.Multiple(() =>
        {
            Assert.That(Path.GetFullPath(reference, Path.Combine(Repository.Root, "samples")), Is.EqualTo(SchemaFile));
            Assert.That(Schema().Validate(document), Is.Empty);
        });
    }

    [TestCaseSource(nameof(Samples))]
    public void Every_sample_is_read_without_an_error(string sample) =>
        Assert.That(ConfigurationLoader.Load(Repository.Sample(sample), [], new HostResources([0, 1], new Sdk.Plugins.ByteSize(8L << 30))).Errors, Is.Empty);

    [Test]
    public void Every_key_is_documented()
    {
        string documentation = File.ReadAllText(Path.Combine(Repository.Root, "docs", "configuration.md"));
        IEnumerable<string> keys = ConfigurationSchema.Sections.SelectMany(section => section.Keys).Select(key => key.Name);
        Assert.That(keys.Where(key => !documentation.Contains($"`{key}`", StringComparison.Ordinal)), Is.Empty);
    }

    [Test]
    public void The_schema_refuses_what_the_reader_refuses()
    {
        JsonNode document = JsonNode.Parse("""{ "domains": [ { "name": "a", "guest": "spin", "kernel": "k", "weigth": 1 } ], "duration": "5" }""")!;
        Assert.That(Schema().Validate(document), Has.Count.EqualTo(3));
    }

    [Test]
    public void A_resolved_configuration_follows_the_schema_and_resolves_to_itself()
    {
        using Support.Cli cli = new() { Pacer = new FakePacer(), Machine = new FakeMachine(new FakePacer()) };
        string folder = Directory.CreateTempSubdirectory("tessera-schema-").FullName;
        try
        {
            FakePacer pacer = new();
            using Support.Cli first = new() { Pacer = pacer, Machine = new FakeMachine(pacer) };
            string once = Path.Combine(folder, "once");
            Assert.That(first.Run("run", Repository.Sample("hundred.json"), "--quiet", "--out", once), Is.Zero, first.Error);
            string resolved = Path.Combine(once, "configuration.json");
            JsonNode document = JsonNode.Parse(File.ReadAllText(resolved))!;
            Assert.That(Schema().Validate(document), Is.Empty);

            FakePacer again = new();
            using Support.Cli second = new() { Pacer = again, Machine = new FakeMachine(again) };
            string twice = Path.Combine(folder, "twice");
            Assert.That(second.Run("run", resolved, "--quiet", "--out", twice), Is.Zero, second.Error);
            Assert.That(File.ReadAllText(Path.Combine(twice, "configuration.json")), Is.EqualTo(File.ReadAllText(resolved)));
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    [Test]
    public void A_resolved_configuration_has_every_key_of_the_model_that_applies()
    {
        FakePacer pacer = new();
        using Support.Cli cli = new() { Pacer = pacer, Machine = new FakeMachine(pacer) };
        Assert.That(cli.Run("run", Repository.Sample("hundred.json"), "--quiet", "--json"), Is.Zero, cli.Error);
        JsonElement configuration = JsonDocument.Parse(cli.Out).RootElement.GetProperty("configuration");
        string[] notHere = ["$schema", "kernel", "initrd", "cmdline", "mmuOptions", "memoryPolicyOptions", "virtualTime"];
        Assert.Multiple(() =>
        {
            Same(configuration, "document");
            Same(configuration.GetProperty("machine"), "machine");
            Same(configuration.GetProperty("scheduler"), "scheduler");
            Same(configuration.GetProperty("domains")[1], "domain");
        });

        void Same(JsonElement element, string section)
        {
            ConfigurationSection keys = ConfigurationSchema.Sections.SingleOrDefault(known => known.Name == section) ?? ConfigurationSchema.Document;
            Assert.That(element.EnumerateObject().Select(member => member.Name), Is.EquivalentTo(keys.Keys.Select(key => key.Name).Except(notHere)));
        }
    }

    private static SchemaCheck Schema() => new(JsonNode.Parse(File.ReadAllText(SchemaFile))!.AsObject());
}
