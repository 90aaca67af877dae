using System.Text.Json;
using Tessera.Linux.Tests.Support;

namespace Tessera.Linux.Tests;

/// <summary>Stock Debian kernels on the engine that needs no KVM, out of process.</summary>
internal sealed class SoftwareEngineTests
{
    /// <summary>The SHA-256 of 16 MiB of zeroes.</summary>
    private const string SumOfZeroes = "080acf35a507ac9849cfcba47dc2ad83e01b75663a516279c8b9d243b719643e";

    [TestCase("debian", "6.1")]
    [TestCase("debian-6.12", "6.12")]
    public void A_stock_kernel_boots_works_and_switches_off(string guest, string version)
    {
        _ = LinuxGuests.RequireAnywhere(guest);
        string folder = Directory.CreateTempSubdirectory("tessera-software-").FullName;
        try
        {
            string[] script = ["uname -r", "dd if=/dev/zero bs=1M count=16 2>/dev/null | sha256sum", "for i in 1 2 3 4 5 6 7 8; do (exit $i); echo status $?; done", "poweroff -f"];
            string file = Path.Combine(folder, "c.json");
            File.WriteAllText(file, JsonSerializer.Serialize(new
            {
                machine = new { engine = "software", pcpus = 1 },
                duration = "10 min",
                domains = new[] { new { name = "d", guest, memory = "256 MiB", script } },
            }));
            TesseraProcess.Do("run", file, "--quiet", "--out", Path.Combine(folder, "out"));
            string console = File.ReadAllText(Path.Combine(folder, "out", "console-d.log"));
            JsonElement result = JsonDocument.Parse(File.ReadAllText(Path.Combine(folder, "out", "result.json"))).RootElement;
            using (Assert.EnterMultipleScope())
            {
                Assert.That(console, Does.Contain(version + ".").And.Contain(SumOfZeroes).And.Contain("status 8"));
                Assert.That(result.GetProperty("engine").GetProperty("name").GetString(), Is.EqualTo("software"));
                Assert.That(result.GetProperty("domains")[0].GetProperty("state").GetString(), Is.EqualTo("shutdown"));
            }
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    [Test]
    public void Two_domains_with_disks_and_a_switch_agree_on_what_they_sent()
    {
        if (LinuxGuests.RequireAnywhere("debian").RootDiskPath is null)
            Assert.Ignore("The guest debian has no root disk, and none could be made: `tessera guest get debian` says why.");
        using SampleRun run = SampleRun.Of("web-and-db.json", text => text.Replace("mb=954", "mb=8", StringComparison.Ordinal), "--set", "machine.engine=software");
        using (Assert.EnterMultipleScope())
        {
            Assert.That(run.Console("web"), Does.Contain("web: checksums agree").And.Contain("web: status 0"));
            Assert.That(run.Console("db"), Does.Contain("db: status 0"));
        }
    }
}
