using System.Diagnostics;
using System.Globalization;
using Iced.Intel;

namespace Tessera.Engine.Software.Tests;

/// <summary>
/// How much the oracle is asked. A usual run takes a share that is always the same; TESSERA_ORACLE says how many instructions all of its tests compare together instead
/// (bench/guests/oracle.sh), and TESSERA_ORACLE_SEED with which program each begins: a failure names its own, and with that alone each test runs that one program again.
/// </summary>
[System.Runtime.Versioning.SupportedOSPlatform("linux")]
[SetUpFixture]
internal sealed class OracleTally
{
    private static readonly Lock Gate = new();
    private static readonly HashSet<Code> Kinds = [];
    private static readonly Stopwatch Time = Stopwatch.StartNew();
    private static long s_instructions;
    private static long s_sets;
    private static long s_exceptions;
    private static long s_retracted;

    /// <summary>Instructions in all; null in a usual run.</summary>
    public static long? Wanted => Setting("TESSERA_ORACLE");

    /// <summary>The first program's seed.</summary>
    public static long? Seed => Setting("TESSERA_ORACLE_SEED");

    /// <summary>Whether neither is said.</summary>
    public static bool IsUsual => Wanted is null && Seed is null;

    /// <summary>Adds what was compared.</summary>
    public static void Add(Oracle oracle, IEnumerable<Code> kinds)
    {
        lock (Gate)
        {
            Kinds.UnionWith(kinds);
            s_instructions += oracle.Instructions;
            s_sets += oracle.Sets;
            s_exceptions += oracle.Exceptions;
            s_retracted += oracle.Retracted;
        }
    }

    [OneTimeTearDown]
    public void Say()
    {
        if (Wanted is not null)
            TestContext.Progress.WriteLine(string.Create(CultureInfo.InvariantCulture, $"oracle: {s_instructions:N0} instructions of {Kinds.Count:N0} kinds with {s_sets:N0} sets of operands, {s_exceptions:N0} exceptions among them, {s_retracted:N0} answers that the host did not give again, in {Time.Elapsed.TotalMinutes:F1} min"));
    }

    private static long? Setting(string name) => long.TryParse(Environment.GetEnvironmentVariable(name), NumberStyles.None, CultureInfo.InvariantCulture, out long value) ? value : null;
}
