using System.Text.RegularExpressions;

namespace Tessera.Architecture.Tests;

/// <summary>What may stand where in the source.</summary>
internal sealed partial class SourceTests
{
    /// <summary>A file longer than this holds more than one concern.</summary>
    private const int MostLines = 500;

    private static readonly IReadOnlyList<string> Sources = Repository.Files("*.cs", Repository.Rooms);

    [Test]
    public void Native_calls_are_declared_only_in_Native_folders_and_classes() => Nowhere(
        file => Repository.Code(file).Any(line => NativeImport().IsMatch(line))
            && !file.Split('/').Contains("Native")
            && !Repository.Code(file).Any(line => NativeClass().IsMatch(line)),
        "imports native calls outside a Native folder and outside a static partial class whose name has Native");

    [Test]
    public void Native_calls_are_source_generated() => Nowhere(
        file => Repository.Code(file).Any(line => line.Contains("[DllImport", StringComparison.Ordinal)),
        "uses DllImport; LibraryImport is generated at build time");

    [Test]
    public void The_SDK_has_no_native_or_unsafe_code() => Nowhere(
        file => file.StartsWith("Sdk/Tessera.Sdk/", StringComparison.Ordinal) && Repository.Code(file).Any(line => NativeImport().IsMatch(line) || Unsafe().IsMatch(line)),
        "is in the SDK");

    [Test]
    public void Unsafe_code_says_why_it_is_safe() => Nowhere(
        file => Repository.Code(file).Any(line => Unsafe().IsMatch(line)) && !Repository.Lines(file).Any(line => line.Contains("// SAFETY:", StringComparison.Ordinal)),
        "has unsafe code and no // SAFETY: comment");

    [Test]
    public void Files_are_small_enough_to_hold_in_the_head() => Nowhere(file => Repository.Lines(file).Length > MostLines, $"has more than {MostLines} lines");

    [Test]
    public void Nothing_is_left_to_do() => Nowhere(
        file => Repository.Lines(file).Any(line => Unfinished().IsMatch(line)),
        "has a TODO, FIXME or NotImplementedException");

    private static void Nowhere(Predicate<string> wrong, string what)
    {
        Assert.That(Sources, Is.Not.Empty);
        Assert.That(Sources.Where(file => wrong(file)), Is.Empty, what);
    }

    [GeneratedRegex(@"\[(LibraryImport|DllImport)\b")]
    private static partial Regex NativeImport();

    [GeneratedRegex(@"\bstatic\s+(unsafe\s+)?partial\s+class\s+\w*Native")]
    private static partial Regex NativeClass();

    // A partial method's declaration only names pointer types; its callers are the ones to argue.
    [GeneratedRegex(@"(^|\s)unsafe(\s|$)(?!partial\s+(?!class|struct|record))")]
    private static partial Regex Unsafe();

    [GeneratedRegex(@"\b(TODO|FIXME|NotImplementedException)\b")]
    private static partial Regex Unfinished();
}
