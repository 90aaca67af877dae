using System.ComponentModel;
using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using System.Text.RegularExpressions;
using Tessera.Linux.Tests.Support;

namespace Tessera.Linux.Tests;

/// <summary>The samples of several Debian domains with disks and networks, shortened.</summary>
internal sealed partial class SampleTests
{
    private const int Megabytes = 24;

    [TestCaseSource(typeof(Engines), nameof(Engines.Cases))]
    public void Web_and_db_send_and_store_what_arrives_unchanged_and_every_device_has_throughput_and_latency(string engine)
    {
        _ = LinuxGuests.RequireRootDisk();
        using SampleRun run = SampleRun.Of("web-and-db.json", text => Changed(text, "mb=954", $"mb={Megabytes}"), "--engine", engine);
        string web = run.Console("web");
        string db = run.Console("db");
        TestContext.Out.WriteLine(Fetched().Match(db).Value);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(Fetched().Match(db).Groups["sum"].Value, Is.Not.Empty.And.EqualTo(Wrote().Match(web).Groups["sum"].Value));
            Assert.That(Fetched().Match(db).Groups["bytes"].Value, Is.EqualTo($"{(long)Megabytes << 20}"));
            Assert.That(web, Does.Contain("web: checksums agree").And.Contain("web: status 0"));
            Assert.That(db, Does.Contain("db: status 0"));
            foreach (string name in (string[])["web", "db"])
            {
                JsonElement domain = run.Domain(name);
                Assert.That(domain.GetProperty("state").GetString(), Is.EqualTo("shutdown"));
                JsonElement[] disks = [.. domain.GetProperty("disks").EnumerateArray()];
                Assert.That(disks.Select(disk => disk.GetProperty("name").GetString()), Is.EquivalentTo(new[] { "xvda", "xvdb" }));
                JsonElement data = disks.Single(disk => disk.GetProperty("name").GetString() == "xvdb");
                Assert.That(Number(data, "writtenBytes"), Is.GreaterThan((long)Megabytes << 20));
                Assert.That(Number(data, "flushes"), Is.Positive, "fsync reaches the disk");
                Assert.That(Number(data, "writtenBytesPerSecond"), Is.EqualTo(Number(data, "writtenBytes") / run.Result.GetProperty("elapsedSeconds").GetDouble()).Within(1).Percent);
                Assert.That(Number(data, "failed") + Number(data, "refused"), Is.Zero);
                foreach (string latency in (string[])["writeLatencyNs", "flushLatencyNs"])
                    Assert.That(Number(data.GetProperty(latency), "p99"), Is.GreaterThanOrEqualTo(Number(data.GetProperty(latency), "p50")).And.Positive);
                JsonElement nic = domain.GetProperty("nics")[0];
                Assert.That(Number(nic, name == "web" ? "sentBytesPerSecond" : "receivedBytesPerSecond") * run.Result.GetProperty("elapsedSeconds").GetDouble(), Is.GreaterThan(Megabytes << 20));
                foreach (string latency in (string[])["sendLatencyNs", "receiveLatencyNs"])
                    Assert.That(Number(nic.GetProperty(latency), "p99"), Is.GreaterThanOrEqualTo(Number(nic.GetProperty(latency), "p50")).And.Positive);
            }
        }

        string[] sent = Tshark(run.At("web-and-db.pcapng"), "-Y", "ip.src == 10.0.0.1 && tcp.srcport == 80", "-T", "fields", "-e", "tcp.len").Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.That(sent.Sum(length => long.Parse(length, CultureInfo.InvariantCulture)), Is.GreaterThan((long)Megabytes << 20), "the capture has every frame's length, though not every byte");
        Assert.That(Tshark(run.At("web-and-db.pcapng"), "-Y", "http.request.uri == \"/data\"", "-T", "fields", "-e", "ip.src"), Does.StartWith("10.0.0.2"));
        Assert.That(new FileInfo(run.At("web-and-db.pcapng")).Length, Is.LessThan(Megabytes << 20), "the sample keeps the beginning of each frame");
    }

    [Test]
    public void Beside_a_fork_bomb_and_a_disk_hog_the_measured_domains_have_the_shares_of_their_weights()
    {
        _ = LinuxGuests.RequireRootDisk();
        // A busy host may need most of the time for the boots: then again, with more.
        SampleRun? attempt = null;
        foreach (string seconds in (string[])["40", "160", "500"])
        {
            attempt?.Dispose();
            attempt = SampleRun.Of("isolation.json", text => Changed(text, " s=20\"", " s=600\""), "--seconds", seconds, "--set", "domains[0].startDelay=6 s", "--set", "domains[1].startDelay=6 s", "--engine", Engines.FirstUsable);
            if (attempt.Console("hog").Contains("hog: begins", StringComparison.Ordinal) && attempt.Console("bomb").Contains("bomb: begins", StringComparison.Ordinal))
                break;
        }

        using SampleRun run = attempt!;
        JsonElement hog = run.Domain("hog").GetProperty("disks").EnumerateArray().Single(disk => disk.GetProperty("name").GetString() == "xvdb");
        JsonElement web = run.Domain("web");
        foreach (JsonElement domain in run.Result.GetProperty("domains").EnumerateArray())
            TestContext.Out.WriteLine($"{domain.GetProperty("name")}: share {domain.GetProperty("share")}, expected {domain.GetProperty("expectedShare")}, state {domain.GetProperty("state")}");
        using (Assert.EnterMultipleScope())
        {
            Assert.That(run.Console("bomb"), Does.Contain("bomb: begins"));
            Assert.That(run.Console("hog"), Does.Contain("hog: begins"));
            Assert.That(run.Domain("bomb").GetProperty("hypercalls").EnumerateObject().Sum(call => call.Value.GetInt64()), Is.GreaterThan(1000), "the bomb makes processes");
            Assert.That(Number(hog, "writtenBytes"), Is.Positive);

            // It never blocks for long, so it is due one of the physical CPUs but for the neighbours' small part.
            Assert.That(web.GetProperty("share").GetDouble(), Is.GreaterThan(web.GetProperty("expectedShare").GetDouble() - 0.05));
            Assert.That(Number(run.Domain("db").GetProperty("disks").EnumerateArray().Single(disk => disk.GetProperty("name").GetString() == "xvdb"), "reads"), Is.Positive);
        }
    }

    private static string Changed(string text, string from, string to)
    {
        Assert.That(text, Does.Contain(from));
        return text.Replace(from, to, StringComparison.Ordinal);
    }

    private static double Number(JsonElement element, string key) => element.GetProperty(key).GetDouble();

    private static string Tshark(string file, params string[] arguments)
    {
        try
        {
            using Process process = Process.Start(new ProcessStartInfo("tshark", ["-r", file, .. arguments]) { RedirectStandardOutput = true, RedirectStandardError = true })!;
            Task<string> errors = process.StandardError.ReadToEndAsync();
            string output = process.StandardOutput.ReadToEnd();
            process.WaitForExit();
            Assert.That(process.ExitCode, Is.Zero, () => errors.Result);
            return output;
        }
        catch (Win32Exception)
        {
            Assert.Ignore("Everything but the capture was checked: tshark is not installed (apt-get install tshark).");
            throw;
        }
    }

    [GeneratedRegex(@"web: wrote \d+ bytes, (?<sum>[0-9a-f]{32})")]
    private static partial Regex Wrote();

    [GeneratedRegex(@"db: fetched and wrote (?<bytes>\d+) bytes in .* are (?<sum>[0-9a-f]{32})")]
    private static partial Regex Fetched();
}
