using System.Text.Json;
using System.Text.Json.Nodes;
using Tessera.Lab.Results;
using Tessera.Lab.Tests.Reports;

namespace Tessera.Lab.Tests.Results;

/// <summary>A result that is read may be older than this version, or anybody's.</summary>
internal sealed class ResultJsonTests
{
    [Test]
    public void What_may_be_null_or_empty_may_be_missing()
    {
        ResultDocument read = Read(result =>
        {
            foreach (string key in (string[])["time", "experiment", "withheld", "changes"])
                result.Remove(key);
            result["schedulerCost"]!.AsObject().Remove("bySchedulers");
            result["schedulerCost"]!.AsObject().Remove("p99Ns");
            result["scheduler"]!.AsObject().Remove("ejected");
            foreach (string key in (string[])["exitReason", "crashRegisters", "work", "wakeLatencyNs", "missedDeadlines", "disks", "nics", "unknownCode", "bootMilliseconds"])
                result["domains"]![0]!.AsObject().Remove(key);
        });
        Assert.Multiple(() =>
        {
            Assert.That((read.Time, read.Withheld, read.Changes.Count, read.SchedulerCost.P99Ns), Is.EqualTo((ResultDocument.RealTime, (WithheldResult?)null, 0, (long?)null)));
            Assert.That(read.SchedulerCost.BySchedulers, Is.Empty);
            Assert.That((read.Domains[0].Work, read.Domains[0].Disks.Count, read.Domains[0].Nics.Count, read.Domains[0].UnknownCode.Count), Is.EqualTo(((long?)null, 0, 0, 0)));
        });
    }

    [Test]
    public void A_key_of_a_later_version_does_no_harm() => Assert.That(
        Read(result =>
        {
            result["more"] = new JsonArray(1, "two", null);
            result["host"]!["more"] = new JsonObject { ["list"] = new JsonArray((JsonNode?)null) };
        }).Domains,
        Has.Count.EqualTo(2));

    /// <summary>A place is put together for a fault alone, not for each item below a long name.</summary>
    [Test]
    public void A_long_name_of_a_long_list_costs_no_more_than_the_two()
    {
        const int Long = 100_000;
        JsonObject configuration = new() { [new string('A', Long)] = new JsonArray([.. Enumerable.Range(0, Long / 10).Select(number => (JsonNode)number)]) };
        using SampleRun run = SampleRun.Write(["a", "b"], change: result => result["configuration"] = configuration);
        string text = run.Result.ToJsonString();
        long before = GC.GetAllocatedBytesForCurrentThread();
        _ = ResultJson.Read(text);
        Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.LessThan(100L * Long));
    }

    [TestCase("domains[0]", null, "domains[0] is null")]
    [TestCase("domains[1].consoleTail[0]", null, "domains[1].consoleTail[0] is null")]
    [TestCase("domains", "none", "$.domains")]
    [TestCase("domains[0].name", null, "$.domains[0].name")]
    [TestCase("domains[0].wakes", "many", "$.domains[0].wakes")]
    [TestCase("host.cpu", null, "$.host.cpu")]
    [TestCase("outcome", "good", "$.outcome")]
    [TestCase("schema", "tessera.result/2", "\"schema\" is \"tessera.result/2\"")]
    public void What_cannot_be_is_refused_with_its_place(string path, string? value, string says) =>
        Assert.That(() => Read(result => Set(result, path, value)), Throws.InstanceOf<JsonException>().With.Message.Contains(says));

    [Test]
    public void A_number_that_no_double_has_is_refused_with_its_place() => Assert.That(
        () => Read(result => result["domains"]![1]!["share"] = JsonNode.Parse("1e999")),
        Throws.InstanceOf<JsonException>().With.Message.Contains("domains[1].share is too large a number"));

    [TestCase("name")]
    [TestCase("memory")]
    [TestCase("share")]
    public void What_every_result_has_may_not_be_missing(string key) =>
        Assert.That(() => Read(result => result["domains"]![0]!.AsObject().Remove(key)), Throws.InstanceOf<JsonException>().With.Message.Contains($"'{key}'"));

    [TestCase("[]")]
    [TestCase("null")]
    [TestCase("7")]
    [TestCase("{")]
    [TestCase("""{ "schema": "\ud800" }""")]
    [TestCase("""{ "schema": "tessera.result/1", "\ud800": [ null ] }""")]
    [TestCase("""{ "schema": "tessera.result/1", "version": "\ud800" }""")]
    [TestCase("""{ "schema": "tessera.result/1", "configuration": { "duration": [ "\ud800", null ] } }""")]
    public void A_file_that_is_no_result_at_all_is_refused(string text) => Assert.That(() => ResultJson.Read(text), Throws.InstanceOf<JsonException>());

    private static ResultDocument Read(Action<JsonObject> change)
    {
        using SampleRun run = SampleRun.Write(["a", "b"], change: change);
        return ResultJson.Read(run.Result.ToJsonString());
    }

    private static void Set(JsonObject result, string path, string? value)
    {
        string[] steps = path.Replace("[", ".", StringComparison.Ordinal).Replace("]", "", StringComparison.Ordinal).Split('.');
        JsonNode node = steps[..^1].Aggregate((JsonNode)result, (at, step) => int.TryParse(step, out int index) ? at[index]! : at[step]!);
        if (int.TryParse(steps[^1], out int last))
            node[last] = value;
        else
            node[steps[^1]] = value;
    }
}
