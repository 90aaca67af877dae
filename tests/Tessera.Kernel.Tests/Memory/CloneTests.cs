using Tessera.Guests;
using Tessera.Kernel.Memory;
using Tessera.Sdk;
using Tessera.Sdk.Memory;

namespace Tessera.Kernel.Tests;

/// <summary>A domain's frames have the same numbers in every domain, so that its memory means the same in another.</summary>
[TestFixtureSource(typeof(Engines), nameof(Engines.Each))]
internal sealed class CloneTests(string engine)
{
    [TestCase(FastPathMode.Auto)]
    [TestCase(FastPathMode.Off)]
    public void A_paused_domains_memory_copied_as_it_is_runs_on_in_another(FastPathMode fastPaths)
    {
        using TestMachine machine = TestMachine.Start(engine, fastPaths: fastPaths);
        Domain source = machine.Run("spin"), clone = machine.Run("spin");
        // The copy is not the first of its kind in this domain: what the engine keeps of its own life must go, too.
        machine.WaitForUnits(clone, 1);
        machine.WaitForUnits(source, 2000);
        Cloning.Pause(machine, source);
        Cloning.Pause(machine, clone);
        ulong units = TestMachine.ReportOf(source).Units;
        Assert.That(Tables(clone), Is.EqualTo(Tables(source)), "the same frames are tables, and hold the same");

        Copy(source, clone);
        byte[][] tables = Tables(source);
        Assert.That(TestMachine.ReportOf(clone).Units, Is.EqualTo(units));
        machine.Machine.Resume(clone);
        bool moved = machine.WaitFor(() => ReportPage.UnitsOf(clone.ReadReportPage()) != units, Cloning.Moment);
        Assert.That(moved, Is.True, TestMachine.Describe(clone));
        Assert.That(TestMachine.ReportOf(clone).Units, Is.GreaterThan(units), "it goes on where the other was");
        machine.WaitForUnits(clone, units + 2000);
        Assert.That(ReportPage.UnitsOf(source.ReadReportPage()), Is.EqualTo(units), "and is another domain");
        Cloning.Pause(machine, clone);
        Assert.That(Tables(clone), Is.EqualTo(tables), "no table was rewritten");

        machine.Machine.Resume(source);
        machine.WaitForUnits(source, units + 1000);
        machine.Machine.Destroy(source);
        machine.Machine.Destroy(clone);
        Assert.That((source.HadFalseAccounts, clone.HadFalseAccounts), Is.EqualTo((false, false)), "the accounts fit the tables");
    }

    private static void Copy(Domain from, Domain to)
    {
        for (Mfn frame = DomainMemory.First; frame.Value <= from.Memory.Last.Value; frame += 1)
            Cloning.CopyFrame(from, to, frame);
        Cloning.CopyCpu(from, to);
    }

    /// <summary>What each frame holds if it is a page table, but for the CPU's own marks; nothing for the others.</summary>
    private static byte[][] Tables(Domain domain)
    {
        const byte Unmarked = 0x9f; // accessed and dirty are bits 5 and 6 of an entry's first byte
        List<byte[]> tables = [];
        for (Mfn frame = DomainMemory.First; frame.Value <= domain.Memory.Last.Value; frame += 1)
        {
            bool isTable = domain.Frames.TypeOf(frame).Type is >= FrameType.L1 and <= FrameType.L4;
            byte[] entries = isTable ? domain.Memory.Frame(frame).ToArray() : [];
            for (int entry = 0; entry < entries.Length; entry += sizeof(ulong))
                entries[entry] &= Unmarked;
            tables.Add(entries);
        }

        return [.. tables];
    }
}
