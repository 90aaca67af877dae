using System.Text;
using Tessera.Guests;
using Tessera.Images;

namespace Tessera.Kernel.Tests.Oracle;

/// <summary>
/// The probe's answers against those of a real Xen, which bench/xen-oracle/run.py has kept in bench/xen-oracle: each is the same, or the
/// table in
/// docs/xen-abi.md says why not.
/// </summary>
[TestFixtureSource(typeof(Engines), nameof(Engines.Each))]
[NonParallelizable]
internal sealed class XenAnswers(string engine)
{
    private const string Kept = "bench/xen-oracle/xen-4.17.txt";
    private const string Page = "docs/xen-abi.md";

    /// <summary>The memory that Xen gave the probe.</summary>
    private const long MemoryBytes = 16L << 20;

    /// <summary>What depends on the processor, and on the slots of the level-4 table that the host leaves free: only the software engine
    /// answers it the same everywhere.</summary>
    private static readonly string[] OfTheHost = ["instruction ", "start ", "memory_op machphys_mapping"];

    [Test]
    public void Each_is_Xens_or_argued()
    {
        IReadOnlyDictionary<string, string> xen = AnswerSheet.Parse(File.ReadLines(InTree(Kept)));
        IReadOnlyDictionary<string, string> tessera = AnswerSheet.Parse(Ask());
        IReadOnlyList<ArguedDifference> argued = ArguedDifference.Read(File.ReadAllText(InTree(Page)));
        Assert.That(tessera.Keys, Is.EqualTo(xen.Keys),
            $"the probe has changed: take Xen's answers again with bench/xen-oracle/run.py --keep");
        List<string> wrong = [];
        HashSet<ArguedDifference> used = [];
        foreach ((string name, string expected) in xen)
        {
            if (AnswerSheet.Matches(expected, tessera[name]) || (engine != Engines.Software && OfTheHost.Any(name.StartsWith)))
                continue;
            if (argued.FirstOrDefault(row => row.Covers(name, expected, tessera[name])) is { } row)
                used.Add(row);
            else
                wrong.Add($"{name}: Xen {expected}, Tessera {tessera[name]}");
        }

        Assert.That(wrong, Is.Empty,
            () => $"{wrong.Count} answers differ from Xen's, and {Page} does not say why:\n{string.Join('\n', wrong)}");
        if (engine == Engines.Software)
            Assert.That(argued.Except(used).Select(static row => row.Case), Is.Empty,
                $"these rows of {Page} speak of answers that are Xen's");
    }

    [Test]
    public void A_row_covers_what_it_names_and_no_more()
    {
        ArguedDifference row = new("msr read c001*", "ok 0", "fault d 0", "why");
        Assert.That(row.Covers("msr read c0010000", "ok 0", "fault d 0"), Is.True);
        Assert.That(row.Covers("msr read c0010000", "ok 1", "fault d 0"), Is.False);
        Assert.That(row.Covers("msr read c0010000", "ok 0", "ok 0"), Is.False);
        Assert.That(row.Covers("msr write c0010000", "ok 0", "fault d 0"), Is.False);
        Assert.That(AnswerSheet.Matches("ok * 3", "ok 2 3"), Is.True);
        Assert.That(AnswerSheet.Matches("ok * 3", "ok 2 4"), Is.False);
        Assert.That(AnswerSheet.Matches("ok *", "ok"), Is.False);
    }

    private string[] Ask()
    {
        using TestMachine machine = TestMachine.Start(engine);
        Domain probe = machine.Machine.CreateDomain(new DomainConfiguration
        {
            Name = "probe",
            Image = KernelImage.Load(BuiltinGuests.Build("probe"), "probe"),
            MemoryBytes = MemoryBytes,
            Weight = 256,
        });
        StringBuilder output = new();
        probe.Console.Output = piece => output.Append(Encoding.ASCII.GetString(piece.Span));
        machine.Machine.Start(probe);
        machine.WaitForEnd(probe);
        Assert.That((probe.ExitReason, TestMachine.ReportOf(probe).Progress), Is.EqualTo(("poweroff", GuestProgress.Finished)),
            TestMachine.Describe(probe));
        return output.ToString().Split('\n');
    }

    private static string InTree(string path)
    {
        string? folder = AppContext.BaseDirectory;
        while (folder is not null && !File.Exists(Path.Combine(folder, "Tessera.slnx")))
            folder = Path.GetDirectoryName(folder);
        return Path.Combine(folder ?? throw new InvalidOperationException($"Tessera.slnx is in no folder above {AppContext.BaseDirectory}."), path);
    }
}
