namespace Tessera;

/// <summary>The CPU engines that tests of guests run on: each that this host can use, and the others skipped with the reason.</summary>
internal static class Engines
{
    public const string Kvm = "kvm";
    public const string Software = "software";

    /// <summary>Names the engines to test, with commas between; all without it.</summary>
    private const string Variable = "TESSERA_TEST_ENGINES";

    /// <summary>For fixtures that run on each engine.</summary>
    public static IEnumerable<TestFixtureData> Each =>
        [.. Wanted.Select(static engine => WhyNot(engine) is { } reason ? new TestFixtureData(engine).Ignore(reason) : new TestFixtureData(engine))];

    /// <summary>For single tests that run on each engine.</summary>
    public static IEnumerable<TestCaseData> Cases =>
        [.. Wanted.Select(static engine => WhyNot(engine) is { } reason ? new TestCaseData(engine).Ignore(reason) : new TestCaseData(engine))];

    /// <summary>For fixtures that run on each engine with each of these, their second argument.</summary>
    public static IEnumerable<TestFixtureData> EachWith(params IEnumerable<string> others) =>
        [.. from engine in Wanted from other in others select WhyNot(engine) is { } reason ? new TestFixtureData(engine, other).Ignore(reason) : new TestFixtureData(engine, other)];

    /// <summary>For fixtures that take too long for each engine: the first that can be used.</summary>
    public static IEnumerable<TestFixtureData> First => [new TestFixtureData(FirstUsable)];

    /// <summary>The first engine that can be used; the software engine, which is last, can be used anywhere.</summary>
    public static string FirstUsable => Array.Find(Wanted, static engine => WhyNot(engine) is null) ?? Wanted[^1];

    private static string[] Wanted =>
        Environment.GetEnvironmentVariable(Variable) is { Length: > 0 } list ? list.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries) : [Kvm, Software];

    /// <summary>Why this host cannot use an engine; null where it can.</summary>
    public static string? WhyNot(string engine)
    {
        if (engine != Kvm)
            return null;
        string device = Environment.GetEnvironmentVariable("TESSERA_KVM_DEVICE") is { Length: > 0 } path ? path : "/dev/kvm";
        try
        {
            using FileStream opened = new(device, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite);
            return null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return $"{device} cannot be used: {e.Message}";
        }
    }

    /// <summary>Skips a test of what only KVM has, where this host has none.</summary>
    public static void RequireKvm()
    {
        if (WhyNot(Kvm) is { } reason)
            Assert.Ignore(reason);
    }
}
