using Iced.Intel;
using Tessera.Plugins.Cpu.Software;

namespace Tessera.Engine.Software.Tests;

/// <summary>
/// The host's processor is the oracle: random instructions with random registers, flags and memory leave the same behind as there, exceptions included. Each program is translated once and
/// run with many sets of operands.
/// </summary>
[System.Runtime.Versioning.SupportedOSPlatform("linux")]
internal abstract class OracleFixture(EngineWay way)
{
    /// <summary>With what this processor has, without, and with what makes the rare ways the common ones.</summary>
    internal static readonly EngineWay[] Ways =
    [
        new("usual", new SoftwareOptions(), 1), new("plain", new SoftwareOptions { Plain = true }, 1), new("one page", new SoftwareOptions { OnePage = true }, 4),
        new("one instruction", new SoftwareOptions { OneInstruction = true }, 4),
        new("each access by itself", new SoftwareOptions { Apart = true }, 4), new("all at once", new SoftwareOptions { Plain = true, OnePage = true, OneInstruction = true }, 4),
    ];

    /// <summary>Sets of operands a program is run with, where as much as said is compared.</summary>
    private const int ManySets = 512;

    /// <summary>And in a usual run.</summary>
    private const int FewSets = 16;

    /// <summary>After so many programs that differ the others are let be.</summary>
    private const int MostFailures = 20;

    /// <summary>Compares random programs.</summary>
    /// <param name="kind">How they begin and end.</param>
    /// <param name="seed">The first one's seed.</param>
    /// <param name="programs">How many in a usual run.</param>
    /// <param name="percent">Which part of all instructions this test has in a run of so many.</param>
    /// <param name="make">Makes one.</param>
    /// <returns>Sets of operands, those that ended with an exception, and which instructions there were.</returns>
    protected (long Sets, long Exceptions, HashSet<Code> Kinds) Compare(ProgramKind kind, long seed, int programs, int percent, Func<Random, (List<Instruction> Body, Wishes Wishes)> make)
    {
        using Oracle oracle = new(way.Options);
        HashSet<Code> kinds = [];
        List<string> failures = [];
        seed = OracleTally.Seed ?? seed * 1_000_000;
        long? wanted = OracleTally.Wanted * percent / 100 / way.Share / (long)Ways.Sum(other => 1.0 / other.Share);
        if (OracleTally.Seed is not null)
            programs = way.Share;
        for (long program = 0; wanted is null ? program < programs / way.Share : oracle.Instructions < wanted; program++)
        {
            (List<Instruction> body, Wishes wishes) = make(new Random((int)(seed + program)));
            if (oracle.Compare(new OracleProgram(kind, body, wishes), seed + program, OracleTally.IsUsual ? FewSets : ManySets) is { } failure)
                failures.Add(failure);
            if (failures.Count == MostFailures)
                break;
            foreach (Instruction instruction in body)
                kinds.Add(instruction.Code);
        }

        OracleTally.Add(oracle, kinds);
        TestContext.Out.WriteLine($"from TESSERA_ORACLE_SEED={seed} on: {oracle.Instructions} instructions of {kinds.Count} kinds, {oracle.Sets} sets of operands, {oracle.Exceptions} exceptions");
        Assert.That(failures, Is.Empty, string.Join('\n', failures));
        return (oracle.Sets, oracle.Exceptions, kinds);
    }
}
