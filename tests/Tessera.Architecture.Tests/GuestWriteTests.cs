using System.Text.RegularExpressions;

namespace Tessera.Architecture.Tests;

/// <summary>
/// The VMM writes a domain's memory through one door, and docs/security.md names everybody who does, with what makes it safe. Who is not named there
/// may not ask for a pointer or a span that can be written.
/// </summary>
internal sealed partial class GuestWriteTests
{
    private const string Kernel = "Kernel/Tessera.Kernel/";
    private const string Page = "docs/security.md";

    private static readonly IReadOnlyList<string> Sources = Repository.Files("*.cs", Kernel);

    [Test]
    public void Only_those_that_the_security_page_names_take_writable_guest_memory()
    {
        string[] taking = [.. Sources.Where(file => Repository.Code(file).Any(line => Writable().IsMatch(line))).Select(file => file[Kernel.Length..]).Order(StringComparer.Ordinal)];
        string[] named = [.. Named()];
        Assert.That(taking, Is.Not.Empty);
        Assert.That(taking.Except(named), Is.Empty, $"take writable guest memory and are not in {Page}, \"What the VMM writes\": use GuestWrites.TryWrite, or say there what makes it safe");
        Assert.That(named.Except(taking), Is.Empty, $"are in {Page} and take no writable guest memory");
    }

    [Test]
    public void Guest_memory_itself_is_known_to_one_class() => Assert.That(
        Sources.Where(file => Repository.Code(file).Any(line => Mapping().IsMatch(line))).Select(file => file[Kernel.Length..]),
        Is.EquivalentTo(["Memory/DomainMemory.cs", "FastPath/FastPathMemory.cs"]),
        "make mappings of memory that guests see");

    private static IEnumerable<string> Named()
    {
        string[] lines = Repository.Lines(Page);
        int start = Array.FindIndex(lines, line => line == "## What the VMM writes");
        Assert.That(start, Is.Not.Negative, $"{Page} has no section \"What the VMM writes\"");
        return lines[(start + 1)..].TakeWhile(line => !line.StartsWith("## ", StringComparison.Ordinal)).Where(line => line.StartsWith("| `", StringComparison.Ordinal))
            .SelectMany(line => Name().Matches(line.Split('|')[1]).Select(match => match.Groups[1].Value)).Order(StringComparer.Ordinal);
    }

    // Pointers and spans from the memory itself, the door, the MMU's host and a grant's pin; and what turns a page for reading into one for writing.
    [GeneratedRegex(@"\b(PageForWriting|MmuPageForWriting|BeforeBoot)\(|[wW]rites\.Page\(|\b[mM]muHost\.Table\(|\b[pP]in\.Address\b|\bMemory\.Discard\(|\bmemory\.Discard\(|\bMemoryMarshal\.(AsMemory|GetReference)\(")]
    private static partial Regex Writable();

    [GeneratedRegex(@"\bnew\s+HostMemory\(")]
    private static partial Regex Mapping();

    [GeneratedRegex(@"`([\w/.]+\.cs)`")]
    private static partial Regex Name();
}
