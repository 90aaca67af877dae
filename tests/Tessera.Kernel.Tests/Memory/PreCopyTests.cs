using Tessera.Guests;
using Tessera.Kernel.Memory;
using Tessera.Sdk;

namespace Tessera.Kernel.Tests;

/// <summary>A running domain's memory is copied while it runs, and again what it has written meanwhile, by the log of its writes.</summary>
[TestFixtureSource(typeof(Engines), nameof(Engines.Each))]
internal sealed class PreCopyTests(string engine)
{
    private const int Rounds = 5;

    [TestCase(FastPathMode.Auto)]
    [TestCase(FastPathMode.Off)]
    public void A_domain_that_is_copied_while_it_runs_goes_on_in_another(FastPathMode fastPaths)
    {
        using TestMachine machine = TestMachine.Start(engine, fastPaths: fastPaths);
        Domain source = machine.Run("spin"), clone = machine.Run("spin");
        machine.WaitForUnits(clone, 1);
        machine.WaitForUnits(source, 1);
        Cloning.Pause(machine, clone);
        Cloning.Pause(machine, source);
        using DirtyLog log = source.StartLog()!;
        ulong[] dirty = new ulong[log.Elements];
        Array.Fill(dirty, ulong.MaxValue);
        for (int round = 0; round < Rounds; round++)
        {
            ulong units = TestMachine.ReportOf(source).Units;
            machine.Machine.Resume(source);
            int copied = Copy(source, clone, dirty);
            machine.WaitForUnits(source, units + 100);
            Cloning.Pause(machine, source);
            Assert.That(copied, round == 0 ? Is.EqualTo(source.Memory.TotalFrames) : Is.LessThan(source.Memory.TotalFrames / 2), "few frames are written");
            log.Take(dirty);
            Assert.That(IsIn(dirty, PageOf(source)), Is.True, "its report page has changed");
        }

        _ = Copy(source, clone, dirty);
        Assert.That(Differing(source, clone), Is.Empty, "frames that were written and are not in the log");
        log.Take(dirty);
        Assert.That(IsIn(dirty, PageOf(source)), Is.False, "nothing runs any more");

        Cloning.CopyCpu(source, clone);
        ulong reached = TestMachine.ReportOf(source).Units;
        machine.Machine.Resume(clone);
        machine.WaitForUnits(clone, reached + 1000);
        Assert.That(ReportPage.UnitsOf(source.ReadReportPage()), Is.EqualTo(reached), "it is another domain");
        log.Dispose();
        machine.Machine.Resume(source);
        machine.WaitForUnits(source, reached + 1000);
        machine.Machine.Destroy(source);
        machine.Machine.Destroy(clone);
        Assert.That((source.HadFalseAccounts, clone.HadFalseAccounts), Is.EqualTo((false, false)), "the accounts fit the tables");
    }

    private static int Copy(Domain from, Domain to, ulong[] dirty)
    {
        int copied = 0;
        for (Mfn frame = DomainMemory.First; frame.Value <= from.Memory.Last.Value; frame += 1)
        {
            if (!IsIn(dirty, frame))
                continue;
            Cloning.CopyFrame(from, to, frame);
            copied++;
        }

        return copied;
    }

    private static bool IsIn(ulong[] dirty, Mfn frame)
    {
        long index = frame.Value - DomainMemory.First.Value;
        return (dirty[index / 64] & (1UL << (int)(index % 64))) != 0;
    }

    private static Mfn PageOf(Domain domain) => new((long)(domain.ReportPage >> 12));

    private static List<Mfn> Differing(Domain one, Domain other)
    {
        List<Mfn> frames = [];
        for (Mfn frame = DomainMemory.First; frame.Value <= one.Memory.Last.Value; frame += 1)
        {
            if (!one.Memory.Frame(frame).SequenceEqual(other.Memory.Frame(frame)))
                frames.Add(frame);
        }

        return frames;
    }
}
