using System.Buffers.Binary;
using System.Runtime.InteropServices;
using FsCheck;
using FsCheck.Fluent;
using Tessera.Guests;
using Tessera.Kernel.Memory;
using Tessera.Kernel.Snapshots;
using Tessera.Sdk;
using Tessera.Sdk.Cpu.X64;
using Tessera.Sdk.Memory;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Tests.Snapshots;

/// <summary>
/// A snapshot that was altered is refused. One that was forged, its checksum with it, is refused or makes a domain that has nothing but its own frames; neither the VMM nor a neighbour comes
/// to harm of it.
/// </summary>
[TestFixtureSource(typeof(Engines), nameof(Engines.Each))]
internal sealed class DamagedSnapshots(string engine)
{
    private const int SumBytes = 8;
    private const int StateAt = 16; // mark, length of the state

    private TestMachine _machine = null!;
    private Domain _neighbour = null!;
    private (Domain Domain, byte[] Snapshot)[] _saved = [];

    [OneTimeSetUp]
    public void Save()
    {
        _machine = TestMachine.Start(engine);
        _neighbour = _machine.Run("spin");
        Domain paging = _machine.Run("paging"), beat = _machine.Run("beat"), talker = TalkingGuest.Start(_machine);
        _machine.WaitForUnits(paging, 20);
        _machine.WaitForUnits(beat, 20);
        Assert.That(_machine.WaitFor(() => TalkingGuest.CountOf(talker) > 20, Hang.Limit), Is.True);
        _saved = [(paging, _machine.Save(paging)), (beat, _machine.Save(beat)), (talker, _machine.Save(talker))];
    }

    [OneTimeTearDown]
    public void End() => _machine.Dispose();

    [Test]
    public void A_snapshot_that_was_altered_or_cut_is_refused() => Prop.ForAll(Arb.From(Gen.ArrayOf(Gen.Choose(0, int.MaxValue), 3)), numbers =>
    {
        (Domain domain, byte[] snapshot) = _saved[numbers[0] % _saved.Length];
        byte[] altered = (byte[])snapshot.Clone();
        int at = numbers[1] % (numbers[2] % 2 == 0 ? snapshot.Length : StateLength(snapshot));
        if (numbers[0] % 3 == 0)
            altered = altered[..at];
        else
            altered[at] ^= (byte)(1 << (numbers[2] % 8));
        Assert.That(() => _machine.Restored(domain, altered), Throws.TypeOf<SnapshotException>().With.Message.Contains("napshot"));
    }).QuickCheckThrowOnFailure();

    [Test]
    public void A_forged_snapshot_is_refused_or_makes_a_domain_of_its_own_frames()
    {
        int made = 0, refused = 0;
        Prop.ForAll(Arb.From(Gen.ArrayOf(Gen.Choose(0, int.MaxValue))), numbers =>
        {
            Random random = new(HashCode.Combine(numbers.Length, numbers.FirstOrDefault()));
            (Domain domain, byte[] snapshot) = _saved[random.Next(_saved.Length)];
            byte[] forged = Forge(domain, snapshot, numbers, random);
            Domain next;
            try
            {
                next = _machine.Restored(domain, forged);
            }
            catch (SnapshotException)
            {
                refused++;
                return;
            }

            made++;
            RequireOwnFrames(next);
            _machine.Machine.Start(next);
            _ = _machine.WaitFor(() => TestMachine.HasEnded(next), TimeSpan.FromMilliseconds(3));
            // Throws if the accounts of its frames are wrong.
            _machine.Machine.Destroy(next);
        }).QuickCheckThrowOnFailure();
        TestContext.Out.WriteLine($"{made} made, {refused} refused");
        Assert.That(made > 5 && refused > 5, $"the forgeries are all too good or all too bad: {made} made, {refused} refused");
        Assert.That(_machine.Machine.Domains, Has.Count.EqualTo(_saved.Length + 1), "nothing is left of those that were refused");
        _machine.WaitForUnits(_neighbour, TestMachine.ReportOf(_neighbour).Units + 1000);
    }

    private static int StateLength(byte[] snapshot) => StateAt + (int)BinaryPrimitives.ReadInt64LittleEndian(snapshot.AsSpan(8));

    private static byte[] Forge(Domain domain, byte[] snapshot, int[] numbers, Random random)
    {
        byte[] forged = (byte[])snapshot.Clone();
        int words = (StateLength(snapshot) - StateAt) / 8;
        foreach (int number in numbers.Take(2))
        {
            // Most of the state is the trap table; the rest of it, tables' entries and other frames get their share.
            int at = (number % 4) switch
            {
                0 => StateAt + (8 * random.Next(words)),
                1 => StateAt + (8 * random.Next(Math.Min(words, 120))),
                2 => StateAt + (8 * (words - 1 - random.Next(Math.Min(words, 60)))),
                _ => EntryAt(domain, snapshot, random),
            };
            BinaryPrimitives.WriteUInt64LittleEndian(forged.AsSpan(at), Value(domain, BinaryPrimitives.ReadUInt64LittleEndian(forged.AsSpan(at)), random));
        }

        BinaryPrimitives.WriteInt64LittleEndian(forged.AsSpan(^SumBytes..), SnapshotStream.Sum(forged.AsSpan(..^SumBytes), 0));
        return forged;
    }

    /// <summary>Where an entry of one of the saved page tables is; anywhere, when that table's frame is all zero.</summary>
    private static int EntryAt(Domain domain, byte[] snapshot, Random random)
    {
        Mfn[] tables = [.. Frames(domain).Where(frame => LevelOf(domain, frame) > 0)];
        long wanted = tables[random.Next(tables.Length)].Value - DomainMemory.First.Value;
        for (int at = StateLength(snapshot); at + 8 + 4096 < snapshot.Length; at += 8 + 4096)
        {
            long index = BinaryPrimitives.ReadInt64LittleEndian(snapshot.AsSpan(at));
            if (index == wanted)
                return at + 8 + (8 * random.Next(PageTableEntry.EntriesPerTable));
            if (index is < 0 or > 1 << 20)
                break;
        }

        return random.Next(StateAt, snapshot.Length - SumBytes - 8);
    }

    private static ulong Value(Domain domain, ulong old, Random random)
    {
        ulong frame = (ulong)(DomainMemory.First.Value + random.NextInt64(-2, domain.Memory.TotalFrames + 2));
        return random.Next(8) switch
        {
            0 => 0,
            1 => ulong.MaxValue,
            2 => old ^ (1UL << random.Next(64)),
            3 => old + (ulong)random.Next(-2, 3),
            4 => frame,
            5 => (frame << 12) | 0x67,
            6 => (ulong)random.Next(4096),
            _ => (ulong)random.NextInt64(),
        };
    }

    private static void RequireOwnFrames(Domain domain)
    {
        foreach (Mfn frame in Frames(domain))
        {
            int level = LevelOf(domain, frame);
            if (level == 0)
                continue;
            ReadOnlySpan<ulong> entries = MemoryMarshal.Cast<byte, ulong>(domain.Memory.Frame(frame));
            for (int index = 0; index < entries.Length; index++)
            {
                ulong entry = entries[index];
                if (!PageTableEntry.IsPresent(entry) || (level == 4 && index is >= HypervisorRange.FirstSlot and < HypervisorRange.FirstSlot + 16))
                    continue;
                Mfn target = PageTableEntry.FrameOf(entry);
                FrameType type = domain.Frames.TypeOf(target).Type;
                bool isRight = domain.Frames.Has(target) && (level > 1 ? type == (FrameType)(level - 1) : type == FrameType.Writable || (entry & PageTableEntry.Writable) == 0);
                Assert.That(isRight, $"entry {index} of {frame}, a table of level {level}, is 0x{entry:x}, of a frame of type {type}");
            }
        }
    }

    private static int LevelOf(Domain domain, Mfn frame) => domain.Frames.TypeOf(frame).Type is var type and >= FrameType.L1 and <= FrameType.L4 ? (int)type : 0;

    private static IEnumerable<Mfn> Frames(Domain domain) => Enumerable.Range(0, (int)domain.Memory.TotalFrames).Select(index => DomainMemory.First + index);
}
