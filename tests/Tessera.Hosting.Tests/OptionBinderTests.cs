using System.Net;
using System.Text;
using System.Text.Json;
using Tessera.Sdk;
using Tessera.Sdk.Devices;
using Tessera.Sdk.Plugins;

namespace Tessera.Hosting.Tests;

internal sealed class OptionBinderTests
{
    private enum WakePlace
    {
        SameCpu,
        AnyIdleCpu,
    }

    private sealed record Sample
    {
        [Option("A switch.")]
        public bool Verbose { get; init; } = true;

        [Option("A count.", Min = "1", Max = "64")]
        public int Count { get; init; } = 4;

        [Option("A big count.")]
        public long Total { get; init; } = 1L << 40;

        [Option("A ratio.", Min = "0", Max = "1")]
        public double Ratio { get; init; } = 0.25;

        [Option("A word.")]
        public string Label { get; init; } = "none";

        [Option("Where to wake.")]
        public WakePlace WakePlace { get; init; }

        [Option("A time.", Min = "100 us", Max = "10 s")]
        public Nanoseconds TimeSlice { get; init; } = Nanoseconds.FromMilliseconds(30);

        [Option("A size.", Max = "1 GiB")]
        public ByteSize Buffer { get; init; } = new(4096);

        [Option("A seed.")]
        public ulong Seed { get; init; } = 1;

        [Option("A station.")]
        public MacAddress Station { get; init; } = new(0x0016_3e00_0001);

        [Option("A peer.")]
        public IPAddress Peer { get; init; } = IPAddress.Loopback;

        [Option("A day.")]
        public DateTimeOffset Day { get; init; } = DateTimeOffset.UnixEpoch;
    }

    [Test]
    public void Every_type_is_read()
    {
        Sample options = Good("""
            { "verbose": false, "count": 64, "total": -9007199254740993, "ratio": 1e-1, "label": "x", "wakePlace": "any-idle-cpu", "timeSlice": "1.5 ms", "buffer": "1GiB",
              "seed": 18446744073709551615, "station": "02:00:00:00:00:0a", "peer": "fe80::1", "day": "2026-01-01T02:00:00+02:00" }
            """);
        Assert.That(options, Is.EqualTo(new Sample
        {
            Verbose = false,
            Count = 64,
            Total = -9007199254740993,
            Ratio = 0.1,
            Label = "x",
            WakePlace = WakePlace.AnyIdleCpu,
            TimeSlice = new(1_500_000),
            Buffer = new(1 << 30),
            Seed = ulong.MaxValue,
            Station = new(0x0200_0000_000a),
            Peer = IPAddress.Parse("fe80::1"),
            Day = new DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero),
        }));
    }

    [Test]
    public void What_is_left_out_keeps_its_default()
    {
        Assert.That(Good("{}"), Is.EqualTo(new Sample()));
        Assert.That(OptionBinder.Bind<Sample>(default, "options", []), Is.EqualTo(new Sample()));
        Assert.That(OptionBinder.Bind(null, default, "options", []), Is.Null);
    }

    [Test]
    public void An_enum_is_written_in_camel_or_kebab_case()
    {
        Assert.That(Good("""{ "wakePlace": "anyIdleCpu" }""").WakePlace, Is.EqualTo(WakePlace.AnyIdleCpu));
        Assert.That(Good("""{ "wakePlace": "any-idle-cpu" }""").WakePlace, Is.EqualTo(WakePlace.AnyIdleCpu));
    }

    [TestCase("""{ "verbose": "true" }""", "verbose", "must be true or false, not the string \"true\"")]
    [TestCase("""{ "count": 4.5 }""", "count", "must be a whole number from -2147483648 to 2147483647, not 4.5")]
    [TestCase("""{ "count": 3000000000 }""", "count", "must be a whole number from -2147483648 to 2147483647, not 3000000000")]
    [TestCase("""{ "count": "4" }""", "count", "not the string \"4\"")]
    [TestCase("""{ "count": null }""", "count", "not null")]
    [TestCase("""{ "count": 0 }""", "count", "is 0, and must be from 1 to 64")]
    [TestCase("""{ "count": 65 }""", "count", "is 65, and must be from 1 to 64")]
    [TestCase("""{ "ratio": "half" }""", "ratio", "must be a number")]
    [TestCase("""{ "ratio": 1.01 }""", "ratio", "is 1.01, and must be from 0 to 1")]
    [TestCase("""{ "label": [] }""", "label", "must be a string, not an array")]
    [TestCase("""{ "wakePlace": "anyIdleCpus" }""", "wakePlace", "must be one of \"sameCpu\", \"anyIdleCpu\", not the string \"anyIdleCpus\"; did you mean \"anyIdleCpu\"?")]
    [TestCase("""{ "wakePlace": 1 }""", "wakePlace", "must be one of")]
    [TestCase("""{ "timeSlice": 5 }""", "timeSlice", "5 has no unit; write a string with one of ns, us, ms, s, min, such as \"5 ms\"")]
    [TestCase("""{ "timeSlice": "5" }""", "timeSlice", "5 has no unit")]
    [TestCase("""{ "timeSlice": "5 parsec" }""", "timeSlice", "\"parsec\" in \"5 parsec\" is not a unit known here; use ns, us")]
    [TestCase("""{ "timeSlice": "soon" }""", "timeSlice", "\"soon\" is not a number with a unit; write it like \"5 ms\"")]
    [TestCase("""{ "timeSlice": "0.5 ns" }""", "timeSlice", "is finer than one ns")]
    [TestCase("""{ "timeSlice": "99999999999 s" }""", "timeSlice", "is too large")]
    [TestCase("""{ "timeSlice": true }""", "timeSlice", "must be a time with its unit")]
    [TestCase("""{ "timeSlice": 0 }""", "timeSlice", "is 0 ns, and must be from 100 us to 10 s")]
    [TestCase("""{ "timeSlice": "11 s" }""", "timeSlice", "is 11 s, and must be from 100 us to 10 s")]
    [TestCase("""{ "buffer": 4096 }""", "buffer", "4096 has no unit; write a string with one of B, KiB, MiB, GiB, TiB")]
    [TestCase("""{ "buffer": "1 MB" }""", "buffer", "\"MB\" in \"1 MB\" is not a unit known here; use B, KiB, MiB")]
    [TestCase("""{ "buffer": "-1 B" }""", "buffer", "is negative")]
    [TestCase("""{ "buffer": "2 GiB" }""", "buffer", "is 2 GiB, and must be from 0 B to 1 GiB")]
    [TestCase("""{ "seed": -1 }""", "seed", "must be a whole number from 0 to 18446744073709551615, not -1")]
    [TestCase("""{ "station": "01:00:5e:00:00:01" }""", "station", "must be the address of a single station, not the string \"01:00:5e:00:00:01\"")]
    [TestCase("""{ "peer": "10.1" }""", "peer", "must be an IP address such as \"10.0.0.1\", not the string \"10.1\"")]
    [TestCase("""{ "day": 5 }""", "day", "must be a date and time from 1970 on, not 5")]
    [TestCase("""{ "cuont": 1 }""", "cuont", "is unknown; did you mean \"count\"?")]
    [TestCase("""{ "timeslice": "1 ms" }""", "timeslice", "is unknown; did you mean \"timeSlice\"?")]
    [TestCase("""{ "xylophone": 1 }""", "xylophone", "is unknown; the options are verbose, count, total")]
    [TestCase("""{ "count": 1, "count": 2 }""", "count", "is given twice")]
    public void A_mistake_is_named_with_its_path_and_what_would_be_right(string json, string key, string part)
    {
        ConfigurationProblem problem = Bad(json).Single();
        Assert.That(problem.Path, Is.EqualTo("scheduler.options." + key));
        Assert.That(problem.Message, Does.Contain(part));
    }

    [Test]
    public void All_mistakes_are_found_and_located()
    {
        List<ConfigurationProblem> problems = [];
        OptionBinder.Bind<Sample>(
            Parse("""{ "count": 0, "colour": "red", "timeSlice": 1, "ratio": 0.5 }"""),
            "",
            problems,
            path => path == "colour" ? (12, 5) : null);
        Assert.That(problems.Select(problem => problem.Path), Is.EqualTo(new[] { "count", "colour", "timeSlice" }));
        Assert.That(problems[1].ToString(), Does.StartWith("line 12, column 5: colour: is unknown"));
        Assert.That(problems[0].Line, Is.Null);
    }

    [Test]
    public void Values_with_mistakes_keep_their_defaults_and_the_others_are_read()
    {
        Sample options = OptionBinder.Bind<Sample>(Parse("""{ "count": 0, "ratio": 0.5 }"""), "", []);
        Assert.That(options, Is.EqualTo(new Sample { Ratio = 0.5 }));
    }

    [Test]
    public void Anything_but_an_object_is_a_mistake()
    {
        List<ConfigurationProblem> problems = [];
        OptionBinder.Bind<Sample>(Parse("[1]"), "scheduler.options", problems);
        Assert.That(problems.Single().ToString(), Is.EqualTo("scheduler.options: must be an object with options, not array"));
    }

    [Test]
    public void Keys_for_a_plugin_without_options_are_mistakes()
    {
        List<ConfigurationProblem> problems = [];
        Assert.That(OptionBinder.Bind(null, Parse("""{ "slice": 1 }"""), "scheduler.options", problems), Is.Null);
        Assert.That(problems.Single().ToString(), Is.EqualTo("scheduler.options.slice: is unknown: there are no options here"));
    }

    [Test]
    public void Written_values_bind_to_the_same_record()
    {
        Sample sample = new() { Count = 9, TimeSlice = new(123_456_789), Buffer = new(1536), WakePlace = WakePlace.AnyIdleCpu };
        using MemoryStream json = new();
        using (Utf8JsonWriter writer = new(json))
            OptionBinder.Write(writer, sample);
        Assert.That(Good(Encoding.UTF8.GetString(json.ToArray())), Is.EqualTo(sample));
    }

    [Test]
    public void A_copy_has_the_same_values_and_strings_of_its_own()
    {
        Sample sample = new() { Label = "a", Count = 9 };
        object copy = OptionBinder.Copy(sample);
        OptionBinder.ChangeStrings(copy, (text, _) => text + "b");
        Assert.That((sample.Label, copy), Is.EqualTo(("a", (object)new Sample { Label = "ab", Count = 9 })));
    }

    private static JsonElement Parse(string json) => JsonDocument.Parse(json).RootElement;

    private static Sample Good(string json)
    {
        List<ConfigurationProblem> problems = [];
        Sample options = OptionBinder.Bind<Sample>(Parse(json), "options", problems);
        Assert.That(problems, Is.Empty);
        return options;
    }

    private static List<ConfigurationProblem> Bad(string json)
    {
        List<ConfigurationProblem> problems = [];
        OptionBinder.Bind<Sample>(Parse(json), "scheduler.options", problems);
        return problems;
    }
}
