using System.Text;
using Tessera.Cli.Configuration;
using Tessera.Sdk.Plugins;

namespace Tessera.Cli.Tests.Configuration;

/// <summary>Every mistake is named with its line, its column, its path and what would be right.</summary>
internal sealed class ConfigurationErrorTests
{
    private const string Valid = """
        {
          // comments and trailing commas are fine
          "machine": { "pcpus": 2, "memoryLimit": "1 GiB", },
          "domains": [
            { "name": "a", "guest": "spin" },
          ],
        }
        """;

    private static readonly HostResources Host = new([0, 1], new ByteSize(2L << 30));

    [Test]
    public void A_valid_configuration_has_no_errors() => Assert.That(Errors(Valid), Is.Empty);

    [TestCase("""{ "domians": [], "domains": [ { "name": "a", "guest": "spin" } ] }""", "1:3", "domians", "Did you mean \"domains\"?")]
    [TestCase("""{ }""", "1:1", "", "\"domains\" is missing")]
    [TestCase("""{ "domains": [] }""", "1:3", "domains", "an empty list")]
    [TestCase("""{ "domains": 3 }""", "1:3", "domains", "the number 3")]
    [TestCase("""{ "domains": [ 7 ] }""", "1:16", "domains[0]", "must be an object")]
    [TestCase("""{ "domains": [ { "guest": "spin" } ] }""", "1:16", "domains[0]", "\"name\" is missing")]
    [TestCase("""{ "domains": [ { "name": "a" } ] }""", "1:16", "domains[0]", "nothing to run")]
    [TestCase("""{ "domains": [ { "name": "a b", "guest": "spin" } ] }""", "1:18", "domains[0].name", "cannot name a domain")]
    [TestCase("""{ "domains": [ { "name": "a", "guest": "spin", "count": 0 } ] }""", "1:48", "domains[0].count", "from 1 to")]
    [TestCase("""{ "domains": [ { "name": "a", "guest": "spin", "count": 1.5 } ] }""", "1:48", "domains[0].count", "whole number")]
    [TestCase("""{ "domains": [ { "name": "a", "guest": "spin", "weight": 0 } ] }""", "1:48", "domains[0].weight", "from 1 to 65535")]
    [TestCase("""{ "domains": [ { "name": "a", "guest": "spin", "vcpus": 2 } ] }""", "1:48", "domains[0].vcpus", "It can only be 1")]
    [TestCase("""{ "domains": [ { "name": "a", "guest": "spin", "memory": 256 } ] }""", "1:48", "domains[0].memory", "such as \"256 MiB\"")]
    [TestCase("""{ "domains": [ { "name": "a", "guest": "spin", "memory": "256 MB" } ] }""", "1:48", "domains[0].memory", "MiB")]
    [TestCase("""{ "domains": [ { "name": "a", "guest": "spin", "memory": "5000 B" } ] }""", "1:48", "domains[0].memory", "multiple of 4096")]
    [TestCase("""{ "domains": [ { "name": "a", "guest": "spin", "memory": "4 GiB" } ] }""", "1:3", "domains", "adds up to 4096 MiB, and the machine's limit is 2048 MiB")]
    [TestCase("""{ "machine": { "memoryLimit": "1 MiB" }, "domains": [ { "name": "a", "guest": "spin", "memory": "2 MiB" } ] }""", "1:16", "machine.memoryLimit", "adds up to 2 MiB")]
    [TestCase("""{ "domains": [ { "name": "a", "guest": "spin", "kernel": "/proc/version" } ] }""", "1:48", "domains[0].kernel", "both a guest and a kernel")]
    [TestCase("""{ "domains": [ { "name": "a", "kernel": "missing.bin" } ] }""", "1:31", "domains[0].kernel", "There is no file /base/missing.bin")]
    [TestCase("""{ "domains": [ { "name": "a", "kernel": "/proc/version", "guestOptions": {} } ] }""", "1:58", "domains[0].guestOptions", "Only built-in guests have options")]
    [TestCase("""{ "domains": [ { "name": "a", "kernel": "/proc/version", "script": [ "date" ] } ] }""", "1:58", "domains[0].script", "has no script support")]
    [TestCase("""{ "domains": [ { "name": "a", "guest": "debian", "script": "date" } ] }""", "1:50", "domains[0].script", "must be a list")]
    [TestCase("""{ "domains": [ { "name": "a", "guest": "debian", "script": [ "date", 5 ] } ] }""", "1:70", "domains[0].script[1]", "must be a string")]
    [TestCase("""{ "domains": [ { "name": "a", "guest": "spin", "affinity": [0, 2] } ] }""", "1:48", "domains[0].affinity", "no physical CPU 2")]
    [TestCase("""{ "domains": [ { "name": "a", "guest": "spin", "affinity": [0, 0] } ] }""", "1:64", "domains[0].affinity[1]", "named twice")]
    [TestCase("""{ "domains": [ { "name": "a", "guest": "spin", "affinity": [] } ] }""", "1:48", "domains[0].affinity", "not empty")]
    [TestCase("""{ "domains": [ { "name": "a", "guest": "spin" }, { "name": "a", "guest": "spin" } ] }""", "1:52", "domains[1].name", "taken by domains[0]")]
    [TestCase("""{ "domains": [ { "name": "a", "guest": "spin", "count": 2 }, { "name": "a-2", "guest": "spin" } ] }""", "1:64", "domains[1].name", "\"a-2\" is taken")]
    [TestCase("""{ "domains": [ { "name": "a", "guest": "spin", "startDelay": "200 s" } ] }""", "1:48", "domains[0].startDelay", "within")]
    [TestCase("""{ "domains": [ { "name": "a", "guest": "spin", "nics": [ { "backend": "switch", "addresses": [ "10.1" ] } ] } ] }""", "1:96", "domains[0].nics[0].addresses[0]", "must be an IP address")]
    [TestCase("""{ "domains": [ { "name": "a", "guest": "spin", "count": 2, "nics": [ { "backend": "switch", "addresses": [ "10.0.0.1" ] } ] } ] }""", "1:93", "domains[0].nics[0].addresses", "the same addresses")]
    [TestCase("""{ "domains": [ { "name": "a", "guest": "spin", "nics": [ { "backend": "switch", "antiSpoofing": false, "addresses": [ "fe80::1" ] } ] } ] }""", "1:104", "domains[0].nics[0].addresses", "nothing checks them")]
    [TestCase("""{ "domains": [ { "name": "a", "guest": "spin", "nics": [ { "backend": "switch", "antiSpoofing": "no" } ] } ] }""", "1:81", "domains[0].nics[0].antiSpoofing", "true or false")]
    [TestCase("""{ "machine": { "pcpus": 3 }, "domains": [ { "name": "a", "guest": "spin" } ] }""", "1:16", "machine.pcpus", "from 1 to 2 are possible")]
    [TestCase("""{ "machine": { "pcpus": 0 }, "domains": [ { "name": "a", "guest": "spin" } ] }""", "1:16", "machine.pcpus", "from 1 to 2 are possible")]
    [TestCase("""{ "machine": { "pcpus": [0, 5] }, "domains": [ { "name": "a", "guest": "spin" } ] }""", "1:16", "machine.pcpus", "no CPU 5")]
    [TestCase("""{ "machine": { "pcpus": "all" }, "domains": [ { "name": "a", "guest": "spin" } ] }""", "1:16", "machine.pcpus", "\"auto\"")]
    [TestCase("""{ "machine": { "engineOptions": 1 }, "domains": [ { "name": "a", "guest": "spin" } ] }""", "1:16", "machine.engineOptions", "must be an object")]
    [TestCase("""{ "scheduler": 5, "domains": [ { "name": "a", "guest": "spin" } ] }""", "1:3", "scheduler", "must be an object")]
    [TestCase("""{ "scheduler": { "nam": "bvt" }, "domains": [ { "name": "a", "guest": "spin" } ] }""", "1:18", "scheduler.nam", "Did you mean \"name\"?")]
    [TestCase("""{ "duration": "10", "domains": [ { "name": "a", "guest": "spin" } ] }""", "1:3", "duration", "no unit")]
    [TestCase("""{ "duration": "0", "domains": [ { "name": "a", "guest": "spin" } ] }""", "1:3", "duration", "longer than zero")]
    [TestCase("""{ "duration": "10 parsecs", "domains": [ { "name": "a", "guest": "spin" } ] }""", "1:3", "duration", "not a unit known")]
    [TestCase("""{ "readyTimeout": "never", "domains": [ { "name": "a", "guest": "spin" } ] }""", "1:3", "readyTimeout", "must not be \"never\"")]
    [TestCase("""{ "measureAfter": "-1 s", "domains": [ { "name": "a", "guest": "spin" } ] }""", "1:3", "measureAfter", "not be negative")]
    [TestCase("""{ "duration": "1 s", "duration": "2 s", "domains": [ { "name": "a", "guest": "spin" } ] }""", "1:22", "duration", "written twice")]
    [TestCase("""{ "measureAfter": null, "domains": [ { "name": "a", "guest": "spin" } ] }""", "1:3", "measureAfter", "null")]
    public void A_mistake_is_named_with_its_place_and_its_cure(string text, string place, string path, string says)
    {
        List<ConfigurationError> errors = Errors(text);
        Assert.That(errors, Has.Count.EqualTo(1), string.Join('\n', errors));
        Assert.Multiple(() =>
        {
            Assert.That(errors[0].Position.ToString(), Is.EqualTo($"test.json:{place}"));
            Assert.That(errors[0].Path, Is.EqualTo(path));
            Assert.That(errors[0].ToString(), Does.Contain(says));
        });
    }

    [Test]
    public void All_mistakes_come_at_once_and_in_the_order_of_the_file()
    {
        List<ConfigurationError> errors = Errors("""
            {
              "duration": 5,
              "machine": { "pcpu": 1 },
              "domains": [
                { "name": "a", "guest": "spin", "weight": -1 },
                { "name": "ä", "guest": "spin", "memory": "x" },
              ],
            }
            """);
        ConfigurationException exception = new(errors);
        Assert.That(exception.Errors.Select(error => $"{error.Position.Line} {error.Path}"), Is.EqualTo(new[]
        {
            "2 duration", "3 machine.pcpu", "5 domains[0].weight", "6 domains[1].name", "6 domains[1].memory",
        }));
    }

    [Test]
    public void A_column_counts_characters_not_bytes()
    {
        List<ConfigurationError> errors = Errors("""{ "domains": [ { "name": "é", "guest": "spin", "weight": 0 } ] }""");
        Assert.That(errors.Select(error => error.Position.Column), Does.Contain(48));
    }

    [TestCase("{ \"domains\": [ }", 1, 16)]
    [TestCase("{\n  \"domains\": [\n    { \"name\": 'a' }\n", 3, 15)]
    [TestCase("", 1, 1)]
    [TestCase("{ } x", 1, 5)]
    public void Broken_JSON_is_named_with_its_place(string text, int line, int column)
    {
        ConfigurationException exception = Assert.Throws<ConfigurationException>(() => Load(text))!;
        Assert.Multiple(() =>
        {
            Assert.That(exception.Errors, Has.Count.EqualTo(1));
            Assert.That(exception.Errors[0].Position, Is.EqualTo(new SourcePosition("test.json", line, column)));
            Assert.That(exception.Message, Does.Contain("not JSON"));
        });
    }

    [Test]
    public void A_byte_order_mark_is_read_over() =>
        Assert.That(ConfigurationLoader.Parse("test.json", [.. Encoding.UTF8.Preamble, .. Encoding.UTF8.GetBytes(Valid)], "/base", [], Host).Errors, Is.Empty);

    private static List<ConfigurationError> Errors(string text) => [.. Load(text).Errors];

    private static Experiment Load(string text) => ConfigurationLoader.Parse("test.json", Encoding.UTF8.GetBytes(text), "/base", [], Host);
}
