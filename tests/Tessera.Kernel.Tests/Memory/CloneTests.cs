using Tessera.Guests;
using Tessera.Kernel.Memory;
using Tessera.Sdk;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Memory;

namespace Tessera.Kernel.Tests;

/// <summary>A domain's frames have the same numbers in every domain, so that its memory means the same in another.</summary>
[TestFixtureSource(typeof(Engines), nameof(Engines.Each))]
internal sealed class CloneTests(string engine)
{
    private static readonly TimeSpan Moment = TimeSpan.FromSeconds(30);

    [TestCase(FastPathMode.Auto)]
    [TestCase(FastPathMode.Off)]
    public void A_paused_domains_memory_copied_as_it_is_runs_on_in_another(FastPathMode fastPaths)
    {
        using TestMachine machine = TestMachine.Start(engine, fastPaths: fastPaths);
        Domain source = machine.Run("spin"), clone = machine.Run("spin");
        // The copy is not the first of its kind in this domain: what the engine keeps of its own life must go, too.
        machine.WaitForUnits(clone, 1);
        machine.WaitForUnits(source, 2000);
        Pause(machine, source);
        Pause(machine, clone);
        ulong units = TestMachine.ReportOf(source).Units;
        Assert.That(Tables(clone), Is.EqualTo(Tables(source)), "the same frames are tables, and hold the same");

        Copy(source, clone);
        byte[][] tables = Tables(source);
        Assert.That(TestMachine.ReportOf(clone).Units, Is.EqualTo(units));
        machine.Machine.Resume(clone);
        bool moved = machine.WaitFor(() => ReportPage.UnitsOf(clone.ReadReportPage()) != units, Moment);
        Assert.That(moved, Is.True, TestMachine.Describe(clone));
        Assert.That(TestMachine.ReportOf(clone).Units, Is.GreaterThan(units), "it goes on where the other was");
        machine.WaitForUnits(clone, units + 2000);
        Assert.That(ReportPage.UnitsOf(source.ReadReportPage()), Is.EqualTo(units), "and is another domain");
        Pause(machine, clone);
        Assert.That(Tables(clone), Is.EqualTo(tables), "no table was rewritten");

        machine.Machine.Resume(source);
        machine.WaitForUnits(source, units + 1000);
        machine.Machine.Destroy(source);
        machine.Machine.Destroy(clone);
        Assert.That((source.HadFalseAccounts, clone.HadFalseAccounts), Is.EqualTo((false, false)), "the accounts fit the tables");
    }

    /// <summary>Between two instructions, not in the middle of a trap's delivery.</summary>
    private static void Pause(TestMachine machine, Domain domain)
    {
        bool paused = machine.WaitFor(
            () =>
            {
                machine.Machine.Pause(domain);
                bool still = SpinWait.SpinUntil(() => !domain.Vcpus[0].IsOnPcpu, Moment);
                if (still && !domain.Vcpus[0].MidDelivery)
                    return true;
                machine.Machine.Resume(domain);
                return false;
            },
            Moment);
        Assert.That(paused, Is.True, $"{domain.Name} could not be paused");
    }

    private static unsafe void Copy(Domain from, Domain to)
    {
        for (Mfn frame = DomainMemory.First; frame.Value <= from.Memory.Last.Value; frame += 1)
        {
            // SAFETY: a whole frame of a domain that is paused.
            from.Memory.Frame(frame).CopyTo(new Span<byte>(to.Memory.PageForWriting(frame), 4096));
            to.Writes.Written(frame);
        }

        to.Vcpus[0].Cpu.State = from.Vcpus[0].Cpu.State;
        ICapturesCpu vectors = (ICapturesCpu)from.Vcpus[0].Cpu;
        byte[] area = new byte[vectors.CaptureBytes];
        vectors.Capture(area);
        ((ICapturesCpu)to.Vcpus[0].Cpu).Restore(area);
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
