using System.Diagnostics;
using System.Runtime.InteropServices;
using Tessera.Guests;
using Tessera.Kernel.Memory;
using Tessera.Kernel.Snapshots;
using Tessera.Plugins.Schedulers.RoundRobin;
using Tessera.Sdk;
using Tessera.Sdk.Memory;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Tests.Snapshots;

/// <summary>Built-in guests are saved at random moments while others run, and go on in another domain, of the same machine or of another.</summary>
[TestFixtureSource(typeof(Engines), nameof(Engines.Each))]
internal sealed class GuestSnapshots(string engine)
{
    private const int Lives = 4;

    private static readonly TestCaseData[] Guests =
    [
        new("spin", null, FastPathMode.Auto),
        new("spin", null, FastPathMode.Off),
        new("beat", new BeatOptions { Period = Nanoseconds.FromMilliseconds(1) }, FastPathMode.Auto),
        new("burst", new BurstOptions { Period = Nanoseconds.FromMilliseconds(4) }, FastPathMode.Auto),
        new("paging", null, FastPathMode.Auto),
        new("paging", null, FastPathMode.Off),
    ];

    [TestCaseSource(nameof(Guests))]
    public void A_guest_goes_on_from_life_to_life(string guest, object? options, FastPathMode fastPaths)
    {
        int seed = Random.Shared.Next();
        Random random = new(seed);
        TestContext.Out.WriteLine($"seed {seed}");
        using TestMachine one = TestMachine.Start(engine, fastPaths: fastPaths), two = TestMachine.Start(engine, fastPaths: fastPaths);
        (TestMachine here, TestMachine other) = (one, two);
        _ = one.Run("spin");
        _ = two.Run("beat");
        Domain domain = here.Run(guest, options);
        for (int life = 0; life < Lives; life++)
        {
            here.WaitForUnits(domain, TestMachine.ReportOf(domain).Units + 1);
            _ = here.WaitFor(() => false, TimeSpan.FromMicroseconds(random.Next(20_000)));
            byte[] snapshot = here.Save(domain);
            ulong units = TestMachine.ReportOf(domain).Units;
            byte[][] tables = Tables(domain);
            if (life % 2 == 1)
                (here, other) = (other, here);
            Domain next = here.Restored(domain, snapshot);
            Assert.That(TestMachine.ReportOf(next).Units, Is.EqualTo(units));
            // One whose validation had gone on for long, and which the guest was about to ask for again, is none yet.
            byte[][] validated = Tables(next);
            Assert.That(validated, Is.EqualTo(tables.Select((table, frame) => validated[frame].Length == 0 ? [] : table)), "no table was rewritten");
            Assert.That(validated.Count(table => table.Length > 0), Is.GreaterThan(3), "and there are some");
            here.Machine.Start(next);
            here.WaitForUnits(next, units + 2);
            Assert.That(TestMachine.ReportOf(domain).Units, Is.EqualTo(units), "it is another domain");
            TestMachine was = life % 2 == 1 ? other : here;
            was.Machine.Resume(domain);
            was.WaitForUnits(domain, units + 2);
            was.Machine.Destroy(domain);
            Assert.That(domain.HadFalseAccounts, Is.False, "the accounts fit the tables");
            domain = next;
        }

        here.Machine.Destroy(domain);
        Assert.That(domain.HadFalseAccounts, Is.False, "the accounts fit the tables");
    }

    /// <summary>Whoever wakes at fixed times of its own measures how late it is: neither a year nor for ever.</summary>
    [Test]
    public void Time_goes_on_from_where_it_was()
    {
        using TestMachine old = TestMachine.Start(engine);
        Domain beat = old.Run("beat", new BeatOptions { Period = Nanoseconds.FromMilliseconds(2) });
        old.WaitForUnits(beat, 100);
        Stopwatch passed = Stopwatch.StartNew();
        Nanoseconds time = beat.Now;
        byte[] snapshot = old.Save(beat);
        using TestMachine young = TestMachine.Start(engine);
        // The time between counts for no guest.
        _ = young.WaitFor(() => false, TimeSpan.FromMilliseconds(50));
        Domain first = young.Restore(beat, snapshot);
        Assert.That((first.Now - time).Value, Is.InRange(0, (passed.Elapsed.Ticks * 101) + 1_000_000), "a clock's rate is known to better than a hundredth");
        ReadOnlySpan<byte> before = beat.Vcpus[0].Context.Info.Time, now = first.Vcpus[0].Context.Info.Time;
        Assert.That(MemoryMarshal.Read<long>(now[VcpuTimeInfo.SystemTime..]), Is.EqualTo(first.TimeAhead.Value), "what the guest computes its time from");
        Assert.That(MemoryMarshal.Read<int>(now[VcpuTimeInfo.Version..]) - MemoryMarshal.Read<int>(before[VcpuTimeInfo.Version..]), Is.EqualTo(2), "whoever was reading it reads again");
        GuestReport report = TestMachine.ReportOf(first);
        young.WaitForUnits(first, report.Units + 100);
        // Late by the time that it did not run, at most.
        Assert.That(TestMachine.ReportOf(first).Overruns, Is.LessThan(report.Overruns + (ulong)((first.Now - time).Value / 2_000_000) + 1));
        Domain second = old.Restore(beat, young.Save(first));
        Assert.That(second.Now, Is.GreaterThan(time).And.LessThan(old.Machine.Now), "less has passed for it than for the machine where it began");
        old.WaitForUnits(second, TestMachine.ReportOf(second).Units + 100);
    }

    [Test]
    public void Guests_go_from_engine_to_engine([Values("beat", "paging")] string guest)
    {
        Engines.RequireKvm();
        using TestMachine here = TestMachine.Start(engine), there = TestMachine.Start(engine == Engines.Kvm ? Engines.Software : Engines.Kvm);
        Domain domain = here.Run(guest);
        here.WaitForUnits(domain, 10);
        byte[] snapshot = here.Save(domain);
        if (here.Machine.Engine.Facts.FreeSlots[0] != there.Machine.Engine.Facts.FreeSlots[0])
        {
            Assert.That(() => there.Restore(domain, snapshot), Throws.TypeOf<SnapshotException>().With.Message.Contains("Restore it on the engine"));
            return;
        }

        Domain next = there.Restore(domain, snapshot);
        there.WaitForUnits(next, TestMachine.ReportOf(domain).Units + 10);
        Assert.That(TestMachine.ReportOf(domain).Units, Is.LessThan(TestMachine.ReportOf(next).Units));
    }

    [Test]
    public void Domains_of_a_machine_in_virtual_time_are_saved_and_go_on()
    {
        if (engine != Engines.Software)
            Assert.Ignore("Only the software engine owns time.");
        using TestMachine one = TestMachine.StartInVirtualTime(new RoundRobinScheduler(new())), two = TestMachine.StartInVirtualTime(new RoundRobinScheduler(new()));
        Domain beat = one.Run("beat"), paging = one.Run("paging");
        one.Machine.RunUntil(Nanoseconds.FromMilliseconds(50));
        foreach (Domain domain in new[] { beat, paging })
        {
            byte[] snapshot = one.Save(domain);
            Domain next = two.Restore(domain, snapshot);
            one.Machine.Resume(domain);
            ulong units = TestMachine.ReportOf(next).Units;
            two.Machine.RunUntil(two.Machine.Now + Nanoseconds.FromMilliseconds(50));
            Assert.That(TestMachine.ReportOf(next).Units, Is.GreaterThan(units));
        }

        ulong before = TestMachine.ReportOf(paging).Units;
        one.Machine.RunUntil(Nanoseconds.FromMilliseconds(100));
        Assert.That(TestMachine.ReportOf(paging).Units, Is.GreaterThan(before), "and the original goes on");
    }

    /// <summary>What each frame holds if it is a page table, but for the CPU's own marks and the VMM's own slots; nothing for the others.</summary>
    private static byte[][] Tables(Domain domain)
    {
        const byte Unmarked = 0x9f; // accessed and dirty are bits 5 and 6 of an entry's first byte
        List<byte[]> tables = [];
        for (Mfn frame = DomainMemory.First; frame.Value <= domain.Memory.Last.Value; frame += 1)
        {
            FrameType type = domain.Frames.TypeOf(frame).Type;
            byte[] entries = type is >= FrameType.L1 and <= FrameType.L4 ? domain.Memory.Frame(frame).ToArray() : [];
            if (type == FrameType.L4)
                entries.AsSpan(HypervisorRange.FirstSlot * sizeof(ulong), 16 * sizeof(ulong)).Clear();
            for (int entry = 0; entry < entries.Length; entry += sizeof(ulong))
                entries[entry] &= Unmarked;
            tables.Add(entries);
        }

        return [.. tables];
    }
}
