using Iced.Intel;
using Tessera.Plugins.Cpu.Software;

namespace Tessera.Engine.Software.Tests;

/// <summary>64-bit code does what the host's processor does.</summary>
[TestFixtureSource(nameof(Ways))]
internal sealed class OracleTests(EngineWay way) : OracleFixture(way)
{
    /// <summary>With what this processor has, without, and with what makes the rare ways the common ones.</summary>
    internal static readonly EngineWay[] Ways =
    [
        new("usual", new SoftwareOptions(), 1), new("plain", new SoftwareOptions { Plain = true }, 1), new("one page", new SoftwareOptions { OnePage = true }, 4),
        new("one instruction", new SoftwareOptions { OneInstruction = true }, 4),
        new("each access by itself", new SoftwareOptions { Apart = true }, 4), new("all at once", new SoftwareOptions { Plain = true, OnePage = true, OneInstruction = true }, 4),
    ];

    protected override int Bits => 64;

    [TestCase(1, 1, 8000)]
    [TestCase(2, 5, 2000)]
    public void Random_instructions_do_what_they_do_on_the_host(int seed, int length, int rounds) =>
        TestContext.Out.WriteLine($"{Compare(seed, length, rounds).Count} of {RandomInstructions.Count} instructions");

    protected override bool TryCreate(Random random, out Instruction instruction) => RandomInstructions.TryCreate(random.Next(RandomInstructions.Count), random, out instruction);

    protected override ulong Value(Random random) => random.Next(4) switch
    {
        0 => (ulong)random.Next(16),
        1 => (ulong)-random.Next(1, 16),
        2 => 1UL << random.Next(64),
        _ => (ulong)random.NextInt64(long.MinValue, long.MaxValue),
    };
}
