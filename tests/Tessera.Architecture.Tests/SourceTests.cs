using System.Text.RegularExpressions;

namespace Tessera.Architecture.Tests;

/// <summary>What may stand where in the source.</summary>
internal sealed partial class SourceTests
{
    /// <summary>A file longer than this holds more than one concern.</summary>
    private const int MostLines = 500;

    private static readonly IReadOnlyList<string> Sources = Repository.Files("*.cs", Repository.Rooms);

    /// <summary>Bindings of our own, each to one library that no package binds. Linux's own calls are Tmds.LibC's.</summary>
    private static readonly string[] Bindings =
    [
        "Plugins/Block/Nbd/Native/LibnbdNative.cs",
        "Plugins/Net/Nat/Native/SlirpNative.cs",
    ];

    [Test]
    public void Native_calls_are_declared_only_for_libraries_that_no_package_binds() => Nowhere(
        file => Repository.Code(file).Any(line => NativeImport().IsMatch(line)) && !Bindings.Contains(file),
        "imports native calls: take Tmds.LibC's, or its syscall(2)");

    [Test]
    public void Bindings_bind_one_library_each_and_never_the_C_library() => Nowhere(
        file => Bindings.Contains(file)
            && Repository.Code(file).Any(line => line.Contains("\"libc", StringComparison.Ordinal)),
        "imports from libc: take Tmds.LibC's, or its syscall(2)");

    [Test]
    public void Nothing_needs_OpenSSL() => Nowhere(
        file => Repository.Code(file).Any(line => line.Contains("System.Security.Cryptography", StringComparison.Ordinal)),
        "uses .NET's cryptography, which ends the process on a host without OpenSSL");

    [Test]
    public void Native_calls_are_source_generated() => Nowhere(
        file => Repository.Code(file).Any(line => line.Contains("[DllImport", StringComparison.Ordinal)),
        "uses DllImport; LibraryImport is generated at build time");

    [Test]
    public void The_SDK_has_no_native_or_unsafe_code() => Nowhere(
        file => file.StartsWith("Sdk/Tessera.Sdk/", StringComparison.Ordinal) && Repository.Code(file).Any(line => NativeImport().IsMatch(line) || line.Contains("Tmds.", StringComparison.Ordinal) || Unsafe().IsMatch(line)),
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

    [Test]
    public void No_merge_was_left_half_done()
    {
        string[] texts = [.. Repository.Files("*", "Sdk", "Kernel", "Plugins", "Cli", "tests", "bench", "docs", "samples", "templates", ".ci")
            .Concat(["README.md", "test.sh", "tessera", "Tessera.slnx"])
            .Where(file => Path.GetExtension(file) is ".cs" or ".csproj" or ".md" or ".json" or ".js" or ".css" or ".py" or ".sh" or ".txt" or ".slnx" or "")];
        Assert.That(texts, Has.Length.GreaterThan(1000));
        Assert.That(texts.Where(file => Repository.Lines(file).Any(line => MergeMark().IsMatch(line))), Is.Empty, "has marks of a merge");
    }

    private static void Nowhere(Predicate<string> wrong, string what)
    {
        Assert.That(Sources, Is.Not.Empty);
        Assert.That(Sources.Where(file => wrong(file)), Is.Empty, what);
    }

    [GeneratedRegex("^(<{7}|>{7}|[|]{7})( |$)")]
    private static partial Regex MergeMark();

    [GeneratedRegex(@"\[(LibraryImport|DllImport)\b")]
    private static partial Regex NativeImport();

    // A partial method's declaration only names pointer types; its callers are the ones to argue.
    [GeneratedRegex(@"(^|\s)unsafe(\s|$)(?!partial\s+(?!class|struct|record))")]
    private static partial Regex Unsafe();

    [GeneratedRegex(@"\b(TODO|FIXME|NotImplementedException)\b")]
    private static partial Regex Unfinished();
}
