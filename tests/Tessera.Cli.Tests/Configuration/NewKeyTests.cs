using System.Net;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Tessera.Cli.Tests.Support;
using Tessera.Experiments.Configuration;
using Tessera.Hosting;
using Tessera.Sdk;
using Tessera.Sdk.Devices;
using Tessera.Sdk.Plugins;
using DescriptionAttribute = System.ComponentModel.DescriptionAttribute;

namespace Tessera.Cli.Tests.Configuration;

/// <summary>A new key is one property: this record, which nothing else knows of, is read, refused, written and described.</summary>
internal sealed class NewKeyTests
{
    private static readonly IReadOnlyList<ConfigurationSection> Sections = ConfigurationSection.Of(typeof(FarmSettings));

    [Test]
    public void A_property_is_read()
    {
        FarmSettings farm = Read("""
            {
              "hosts": 9, "share": 0.5, "kind": "batch", "isOpen": true, "pause": "5 ms", "until": "never", "room": "8 KiB",
              "station": "00:16:3e:00:00:01", "begins": "2026-05-01T00:00:00Z", "plan": "x/y", "weights": [3, 1], "peers": ["::1"], "cpus": [4, 2],
              "tuning": { "any": 1 }, "racks": [ { "label": "a" }, "b" ], "core": { "label": "c", "units": 2 }
            }
            """, out List<ConfigurationError> errors);
        Assert.That(errors, Is.Empty);
        Assert.Multiple(() =>
        {
            Assert.That((farm.Hosts, farm.Share, farm.Kind, farm.IsOpen), Is.EqualTo((9, 0.5, FarmKind.Batch, true)));
            Assert.That((farm.Pause, farm.Until), Is.EqualTo((Nanoseconds.FromMilliseconds(5), Nanoseconds.Never)));
            Assert.That(farm.Room, Is.EqualTo(new ByteSize(8192)));
            Assert.That(farm.Station!.Value.ToString(), Is.EqualTo("00:16:3e:00:00:01"));
            Assert.That(farm.Begins, Is.EqualTo(new DateTimeOffset(2026, 5, 1, 0, 0, 0, TimeSpan.Zero)));
            Assert.That(farm.Plan, Is.EqualTo("/base/x/y"));
            Assert.That(farm.Weights, Is.EqualTo(new[] { 3.0, 1.0 }));
            Assert.That(farm.Peers, Is.EqualTo(new[] { IPAddress.IPv6Loopback }));
            Assert.That(farm.Cpus!.Numbers, Is.EqualTo(new[] { 4, 2 }));
            Assert.That(farm.Tuning!.Find("any")!.Text, Is.EqualTo("1"));
            Assert.That(
                farm.Racks.Select(rack => (rack.Label, rack.Units, rack.Path)),
                Is.EqualTo(new[] { ("a", 1, "racks[0]"), ("b", 1, "racks[1]") }));
            Assert.That((farm.Core.Label, farm.Core.Units), Is.EqualTo(("c", 2)));
        });
    }

    [Test]
    public void A_property_that_is_not_written_has_its_default()
    {
        FarmSettings farm = Read("""{ "hosts": 1, "until": "1 s" }""", out List<ConfigurationError> errors);
        Assert.That(errors, Is.Empty);
        Assert.Multiple(() =>
        {
            Assert.That((farm.Share, farm.Kind), Is.EqualTo((0.25, FarmKind.LongLived)));
            Assert.That(farm.Pause, Is.Null);
            Assert.That(farm.Cpus, Is.Null);
            Assert.That((farm.Core.Label, farm.Core.Units, farm.Core.Path), Is.EqualTo(("main", 1, "core")));
        });
    }

    [TestCase("\"hosts\": 10", "hosts", "This is the number 10. It must be a whole number from 1 to 9.")]
    [TestCase("\"hosts\": 1, \"share\": \"x\"", "share", "This is \"x\". It must be a number.")]
    [TestCase("\"hosts\": 1, \"share\": 2", "share", "This is the number 2. It must be from 0 to 1.")]
    [TestCase("\"hosts\": 1, \"kind\": \"short\"", "kind", "\"short\" is not a kind of farm. Write \"longLived\" or \"batch\".")]
    [TestCase("\"hosts\": 1, \"kind\": 5", "kind", "This is the number 5. It must be a string. What it is for.")]
    [TestCase("\"hosts\": 1, \"pause\": \"1 us\"", "pause", "This is \"1 us\". It must be at least 1 ms.")]
    [TestCase("\"hosts\": 1, \"pause\": \"never\"", "pause", "This is \"never\". It must not be \"never\".")]
    [TestCase("\"hosts\": 1, \"room\": \"3 B\"", "room", "This is \"3 B\". \"3 B\" is not a multiple of 4096 bytes, a frame.")]
    [TestCase("\"hosts\": 1, \"station\": \"ff:ff:ff:ff:ff:ff\"", "station", "\"ff:ff:ff:ff:ff:ff\" is not the address of a single station.")]
    [TestCase("\"hosts\": 1, \"begins\": \"1969-01-01T00:00:00Z\"", "begins", "is not a date and time from 1970 on. Write one such as")]
    [TestCase("\"hosts\": 1, \"weights\": [1, \"x\"]", "weights[1]", "This is \"x\". It must be a number.")]
    [TestCase("\"hosts\": 1, \"tuning\": []", "tuning", "This is a list. It must be an object. Left to others.")]
    [TestCase("\"hosts\": 1, \"core\": 5", "core", "This is the number 5. It must be an object with keys of: label, units.")]
    [TestCase("\"hosts\": 1, \"core\": \"\"", "core", "This is \"\". It must be a string. The rack in the middle.")]
    [TestCase("\"hosts\": 1, \"racks\": [{ \"label\": \"A\" }]", "racks[0].label", "\"A\" cannot name a rack. Take a small letter.")]
    [TestCase("\"hosts\": 1, \"racks\": [{ \"label\": \"a\\n\" }]", "racks[0].label", "cannot name a rack. Take a small letter.")]
    [TestCase("\"hosts\": 1, \"racks\": [{ \"unit\": 2 }]", "racks[0].unit", "There is no key \"unit\" here. Did you mean \"units\"?")]
    [TestCase("\"share\": 1", "", "The key \"hosts\" is missing. How many.")]
    public void A_wrong_value_is_named_with_its_place_and_its_cure(string text, string path, string says)
    {
        Read($"{{\n {text} }}", out List<ConfigurationError> errors);
        Assert.That(errors, Has.Count.EqualTo(1), string.Join('\n', errors));
        Assert.That((errors[0].Path, errors[0].Position.Line), Is.EqualTo((path, path.Length == 0 ? 1 : 2)));
        Assert.That(errors[0].ToString(), Does.Contain(says));
    }

    [Test]
    public void A_property_is_written_so_that_it_is_read_again()
    {
        FarmSettings farm = Read("""{ "hosts": 3, "share": 0.1, "until": "never", "cpus": 4, "racks": [ "z" ], "tuning": { "warp": true } }""", out _);
        // What a plugin made of its options stands in their place.
        JsonObject written = Written(farm, new() { ["tuning"] = new Tuning { Warp = true } });
        Assert.That(written.ToJsonString(), Is.EqualTo(
            """{"hosts":3,"share":0.1,"kind":"longLived","isOpen":false,"pause":"none","until":"never","begins":"2026-01-01T00:00:00Z","weights":[],"peers":[],"cpus":4,"tuning":{"warp":true,"length":"2 ms"},"racks":[{"label":"z","units":1}],"core":{"label":"main","units":1}}"""));
        FarmSettings again = Read(written.ToJsonString(), out List<ConfigurationError> errors);
        Assert.That(errors, Is.Empty);
        Assert.That(Written(again, new() { ["tuning"] = new Tuning { Warp = true } }).ToJsonString(), Is.EqualTo(written.ToJsonString()));
    }

    [Test]
    public void A_property_is_in_the_schema()
    {
        JsonObject schema = [];
        Sections[0].Describe(schema);
        JsonObject rack = [];
        Sections[1].Describe(rack);
        schema["$defs"] = new JsonObject { [Sections[1].Name] = rack };
        Assert.Multiple(() =>
        {
            Assert.That(Property("hosts"), Is.EqualTo("""{"description":"How many.","type":"integer","minimum":1,"maximum":9}"""));
            Assert.That(Property("share"), Is.EqualTo("""{"description":"A part.","type":"number","minimum":0,"maximum":1,"default":0.25}"""));
            Assert.That(Property("kind"), Is.EqualTo("""{"description":"What it is for.","anyOf":[{"const":"longLived"},{"const":"batch"}],"default":"longLived"}"""));
            Assert.That(Property("pause"), Does.StartWith("""{"description":"How long.","anyOf":[{"const":"none"},{"type":"string","pattern":"""));
            Assert.That(Property("racks"), Is.EqualTo("""{"description":"The racks.","type":"array","items":{"anyOf":[{"type":"string","pattern":"^[a-z]*$"},{"$ref":"#/$defs/rack"}]},"default":[]}"""));
            Assert.That(Property("core"), Does.EndWith("""{"$ref":"#/$defs/rack"}],"default":"main"}"""));
            Assert.That(schema["required"]!.ToJsonString(), Is.EqualTo("""["hosts"]"""));
            Assert.That(rack["description"]!.GetValue<string>(), Is.EqualTo("A rack."));
            Assert.That(new SchemaCheck(schema).Validate(JsonNode.Parse("""{ "hosts": 3, "pause": "none", "racks": [ "a", { "label": "b" } ], "core": "c" }""")!), Is.Empty);
            Assert.That(new SchemaCheck(schema).Validate(JsonNode.Parse("""{ "hosts": 10, "racks": [ { "lable": "b" } ] }""")!), Is.Not.Empty);
        });

        string Property(string key) => schema["properties"]![key]!.ToJsonString();
    }

    [Test]
    public void A_property_that_no_configuration_can_have_is_its_authors_mistake()
    {
        Assert.That(() => ConfigurationSection.Of(typeof(Wrong)), Throws.ArgumentException.With.Message.Contains("has no keys"));
        Assert.That(() => ConfigurationSection.Of(typeof(WrongBound)), Throws.ArgumentException.With.Message.Contains("its default is 5, and must be at most 3"));
    }

    [TestCase(nameof(DomainSettings.Weight), DomainSettings.MinWeight, DomainSettings.MaxWeight)]
    [TestCase(nameof(DomainSettings.Count), 1, Experiment.MaxDomains)]
    public void Bounds_that_others_ask_for_are_those_of_the_keys(string property, int min, int max)
    {
        OptionAttribute option = (OptionAttribute)typeof(DomainSettings).GetProperty(property)!.GetCustomAttributes(typeof(OptionAttribute), false)[0];
        Assert.That((option.Min, option.Max), Is.EqualTo(($"{min}", $"{max}")));
    }

    private static FarmSettings Read(string text, out List<ConfigurationError> errors)
    {
        errors = [];
        Sections[0].TryRead(ConfigurationParser.Parse("test.json", Encoding.UTF8.GetBytes(text), errors)!, "", new("/base", errors), out object? value);
        return (FarmSettings)value!;
    }

    private static JsonObject Written(FarmSettings farm, Dictionary<string, object?> options) =>
        JsonNode.Parse(ConfigurationWriter.Bytes(writer => Sections[0].Write(writer, farm, options)).Span)!.AsObject();

    private enum FarmKind
    {
        LongLived,
        Batch,
    }

    [Description("A farm.")]
    private sealed record FarmSettings : Section
    {
        [Option("How many.", Min = "1", Max = "9")]
        public required int Hosts { get; init; } = 1;

        [Option("A part.", Min = "0", Max = "1")]
        public double Share { get; init; } = 0.25;

        [Option("What it is for.")]
        [Key(Refusal = "is not a kind of farm")]
        public FarmKind Kind { get; init; }

        [Option("A switch.")]
        public bool IsOpen { get; init; }

        [Option("How long.", Min = "1 ms")]
        [Key(Word = "none")]
        public Nanoseconds? Pause { get; init; }

        [Option("For how long.", Max = "never")]
        public Nanoseconds Until { get; init; } = Nanoseconds.Never;

        [Option("How much.")]
        [Key(IsOfFrames = true)]
        public ByteSize? Room { get; init; }

        [Option("Which.")]
        public MacAddress? Station { get; init; }

        [Option("When.")]
        public DateTimeOffset Begins { get; init; } = new(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);

        [Option("A file.", IsPath = true)]
        public string? Plan { get; init; }

        [Option("Some.")]
        public IReadOnlyList<double> Weights { get; init; } = [];

        [Option("Others.")]
        public IReadOnlyList<IPAddress> Peers { get; init; } = [];

        [Option("Where.")]
        [Key(Word = "all", IsCountable = true)]
        public CpuChoice? Cpus { get; init; }

        [Option("Left to others.")]
        public ConfigurationNode? Tuning { get; init; }

        [Option("The racks.")]
        public IReadOnlyList<RackSettings> Racks { get; init; } = [];

        [Option("The rack in the middle.")]
        public RackSettings Core { get; init; } = new();
    }

    [Description("A rack.")]
    private sealed record RackSettings : Section
    {
        [Option("Its name.")]
        [Key(StandsForAll = true, Pattern = "^[a-z]*$", Refusal = "cannot name a rack", Cure = "Take a small letter.")]
        public string Label { get; init; } = "main";

        [Option("Its height.", Min = "1")]
        public int Units { get; init; } = 1;
    }

    private sealed record Tuning
    {
        [Option("Whether.")]
        public bool Warp { get; init; }

        [Option("How long.")]
        public Nanoseconds Length { get; init; } = Nanoseconds.FromMilliseconds(2);
    }

    private sealed record Wrong : Section
    {
        [Option("None.")]
        public Version? Version { get; init; }
    }

    private sealed record WrongBound : Section
    {
        [Option("Too much.", Max = "3")]
        public int Count { get; init; } = 5;
    }
}
