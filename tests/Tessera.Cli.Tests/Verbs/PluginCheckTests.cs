using System.Text.Json;
using Tessera.Hosting.Tests;

namespace Tessera.Cli.Tests.Verbs;

/// <summary>`plugins check` of plugins that are no schedulers.</summary>
internal sealed class PluginCheckTests
{
    private const string Memory = """
        using Tessera.Sdk.Memory;

        [Plugin("generous", PluginKind.MemoryPolicy, "1.0.0")]
        public sealed class Generous : IMemoryPolicy
        {
            public long Admit(in MemoryRequest request, in MemoryBudget budget) => request.Frames;
            public long Grant(in DomainMemoryFacts domain, long asked, in MemoryBudget budget) => 0;
        }
        """;

    private const string Engine = """
        using Tessera.Sdk.Cpu;

        [Plugin("elsewhere", PluginKind.CpuEngine, "1.0.0")]
        public sealed class Elsewhere : ICpuEngine
        {
            public Elsewhere() => throw new EngineException("This host has no such processor.", "Take another engine.");
            public EngineFacts Facts => throw new InvalidOperationException();
            public IEngineThread EnterThread(int hostCpu) => throw new InvalidOperationException();
            public IGuestMachine CreateMachine(GuestMachineLayout layout) => throw new InvalidOperationException();
            public void Dispose() { }
        }
        """;

    private const string Disk = """
        using Tessera.Sdk.Devices;

        [Plugin("dead", PluginKind.BlockBackend, "1.0.0")]
        public sealed class Dead : IBlockBackend
        {
            public BlockGeometry Open(BlockAccess access) => new() { Size = 1 << 20 };
            public void Submit(BlockRequest request) => request.Complete(BlockStatus.IoError);
            public void Dispose() { }
        }
        """;

    [TestCase("round-robin", "scheduler")]
    [TestCase("software", "cpuEngine")]
    [TestCase("direct-paging", "mmu")]
    [TestCase("static-partition", "memoryPolicy")]
    [TestCase("ram", "blockBackend")]
    [TestCase("throttle", "blockBackend")]
    [TestCase("switch", "networkBackend")]
    [TestCase("filter", "networkBackend")]
    public void Every_kind_of_plugin_has_a_suite(string plugin, string kind)
    {
        JsonElement card = Card(0, "plugins", "check", plugin, "--scenarios", "5", "--json");
        Assert.Multiple(() =>
        {
            Assert.That(card.GetProperty("kind").GetString(), Is.EqualTo(kind));
            Assert.That(card.GetProperty("plugin").GetString(), Is.EqualTo(plugin));
            Assert.That(card.GetProperty("passed").GetBoolean(), Is.True);
            Assert.That(Outcomes(card).Count(outcome => outcome.Value == "passed"), Is.GreaterThanOrEqualTo(4));
            Assert.That(card.GetProperty("checks").EnumerateArray().Select(check => check.GetProperty("summary").GetString()), Has.None.Empty);
        });
    }

    /// <summary>A disk that stays is found out, and more than 4 MiB of it do no harm.</summary>
    [Test]
    public void A_backend_is_checked_with_options()
    {
        string disk = Path.Combine(TestContext.CurrentContext.WorkDirectory, $"disk-{Guid.NewGuid():N}.img");
        try
        {
            using (FileStream file = File.Create(disk))
                file.SetLength(6 << 20);
            JsonElement card = Card(0, "plugins", "check", "raw-file", "--options", JsonSerializer.Serialize(new { path = disk }), "--scenarios", "3", "--json");
            Assert.That(Outcomes(card)["a-closed-disk-is-the-same-when-opened-again"], Is.EqualTo("passed"));
        }
        finally
        {
            File.Delete(disk);
        }
    }

    [Test]
    public void A_plugin_that_breaks_its_contract_fails_with_what_was_found()
    {
        using PluginForge forge = new();
        JsonElement card = Card(1, "plugins", "check", Forge(forge, Memory, "Generous"), "--json");
        Assert.That(Outcomes(card).Where(outcome => outcome.Value == "failed").Select(outcome => outcome.Key), Does.Contain("a-domain-starts-with-no-more-than-its-maximum-and-than-there-is"));
    }

    [Test]
    public void A_disk_that_reads_and_writes_nothing_gets_its_report_card()
    {
        using PluginForge forge = new();
        Assert.That(Outcomes(Card(1, "plugins", "check", Forge(forge, Disk, "Dead"), "--scenarios", "1", "--json")), Does.ContainValue("failed"));
    }

    [Test]
    public void An_engine_that_cannot_run_on_this_host_says_so()
    {
        using PluginForge forge = new();
        using Support.Cli cli = new();
        Assert.That(cli.Run("plugins", "check", Forge(forge, Engine, "Elsewhere")), Is.EqualTo(3));
        Assert.That(cli.Error, Does.Contain("This host has no such processor. Take another engine."));
    }

    [TestCase("There is no plugin \"nonsense\"", "nonsense")]
    [TestCase("the option path is missing", "raw-file")]
    [TestCase("did you mean \"size\"?", "ram", "--options", "{\"sise\":1}")]
    [TestCase("this is no JSON", "ram", "--options", "{")]
    [TestCase("only the checks of schedulers have scenarios", "ram", "--replay", "x.scenario")]
    public void What_cannot_be_checked_is_said_at_once(string words, params string[] arguments)
    {
        using Support.Cli cli = new();
        Assert.That(cli.Run(["plugins", "check", .. arguments]), Is.EqualTo(2));
        Assert.That(cli.Error, Does.Contain(words));
    }

    private static string Forge(PluginForge forge, string source, string name) =>
        PluginForge.Compile(Path.Combine(forge.Folder, name, name + ".dll"), "using System;\nusing Tessera.Sdk;\nusing Tessera.Sdk.Plugins;\n" + source, PluginForge.Sdk);

    private static JsonElement Card(int code, params string[] arguments)
    {
        using Support.Cli cli = new();
        Assert.That(cli.Run(arguments), Is.EqualTo(code), cli.Out + cli.Error);
        return JsonDocument.Parse(cli.Out).RootElement;
    }

    private static Dictionary<string, string> Outcomes(JsonElement card) =>
        card.GetProperty("checks").EnumerateArray().ToDictionary(check => check.GetProperty("check").GetString()!, check => check.GetProperty("outcome").GetString()!);
}
