using System.Text.Json.Nodes;
using Tessera.Cli.Terminal;
using Tessera.Cli.Tests.Support;
using Tessera.Experiments.Hosts;
using Tessera.Hosting.Tests;

namespace Tessera.Cli.Tests.Verbs;

/// <summary>`--time virtual` with a scheduler that does not come back: the run ends by itself, under the fallback, and its result names the scheduler.</summary>
internal sealed class VirtualHangTests
{
    [Test]
    public void A_scheduler_that_hangs_is_ejected_and_stands_in_the_result()
    {
        using PluginForge forge = new();
        string scheduler = forge.Plugin("Hangs", PluginForge.Scheduler("hangs").Replace("=> Decision.Idle;", "{ System.Threading.Thread.Sleep(System.Threading.Timeout.Infinite); return Decision.Idle; }", StringComparison.Ordinal));
        string file = Path.Combine(forge.Folder, "hangs.json");
        File.WriteAllText(file, """
            { "machine": { "engine": "software", "time": "virtual", "pcpus": 2 }, "duration": "500 ms", "domains": [ { "name": "a", "guest": "spin" }, { "name": "b", "guest": "spin" } ] }
            """);
        using Support.Cli cli = new() { Kvm = KvmState.Missing };
        Assert.That(cli.Run("run", file, "--scheduler", scheduler, "--quiet", "--json"), Is.EqualTo(ExitCode.Failed), cli.Error);
        JsonNode result = JsonNode.Parse(cli.Out)!;
        Assert.Multiple(() =>
        {
            Assert.That((string?)result["scheduler"]!["ejected"], Does.Contain("hangs 1.2.3").And.Contain("Hung").And.Contain("its Schedule()"));
            Assert.That((double)result["elapsedSeconds"]!, Is.EqualTo(0.5));
            foreach (JsonNode? domain in result["domains"]!.AsArray())
                Assert.That((double)domain!["work"]!, Is.Positive);
        });
    }
}
