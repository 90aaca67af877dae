using FsCheck;
using FsCheck.Fluent;
using Microsoft.FSharp.Core;
using NUnit.Framework;
using Tessera.Sdk.Devices;

namespace Tessera.Sdk.Conformance.Block;

/// <summary>
/// Derive from this, say where a backend stores a small disk, and get the conformance suite of block backends as NUnit tests: random
/// operations beside a model, the smallest failing case printed with its seed.
/// </summary>
/// <example>
/// <code>
/// [TestFixture]
/// public sealed class MyBackendConformance : BlockConformance
/// {
///     protected override BlockStorage NewStorage() => new VolatileBlockStorage(() => new MyBackend(new MyOptions()));
/// }
/// </code>
/// </example>
public abstract class BlockConformance
{
    /// <summary>A new place for a disk.</summary>
    protected abstract BlockStorage NewStorage();

    /// <summary>How thorough to be; only the cases and their length count.</summary>
    protected virtual ConformanceOptions Options => new() { Scenarios = 60, Steps = 60 };

    /// <summary>Every read returns the last write, however segments lie.</summary>
    [Test]
    public void Reads_return_what_was_written_last() => Hold(BlockStepKind.Read, BlockStepKind.Write, BlockStepKind.Write, BlockStepKind.Flush);

    /// <summary>Zeroes are zero, and a discard leaves what was or zeroes.</summary>
    [Test]
    public void Zeroes_and_discards_touch_their_range_only() =>
        Hold(BlockStepKind.Read, BlockStepKind.Write, BlockStepKind.Write, BlockStepKind.Zero, BlockStepKind.Discard, BlockStepKind.Flush);

    /// <summary>Neighbouring requests at once do not spoil each other.</summary>
    [Test]
    public void Requests_at_the_same_time_do_not_disturb_each_other() => Hold(BlockStepKind.Burst, BlockStepKind.Burst, BlockStepKind.Burst, BlockStepKind.Read, BlockStepKind.Flush);

    /// <summary>Requests outside the disk do nothing.</summary>
    [Test]
    public void Requests_outside_the_disk_are_refused_and_change_nothing() => Hold(BlockStepKind.Stray, BlockStepKind.Write, BlockStepKind.Read);

    /// <summary>A disk is the same after it was closed.</summary>
    [Test]
    public void A_closed_disk_is_the_same_when_opened_again()
    {
        using (BlockStorage storage = NewStorage())
        {
            if (!storage.IsPersistent)
                Assert.Pass("not persistent, so nothing to keep");
        }

        Hold(BlockStepKind.Write, BlockStepKind.Burst, BlockStepKind.Zero, BlockStepKind.Discard, BlockStepKind.Reopen);
    }

    /// <summary>A crash keeps what was flushed, and of each sector something that was written since or before.</summary>
    [Test]
    public void A_crash_keeps_what_was_flushed()
    {
        using (BlockStorage storage = NewStorage())
        {
            if (!storage.CanCrash)
                Assert.Pass("no faults are injected into this storage");
        }

        Hold(BlockStepKind.Write, BlockStepKind.Write, BlockStepKind.Burst, BlockStepKind.Zero, BlockStepKind.Discard, BlockStepKind.Flush, BlockStepKind.Crash, BlockStepKind.Reopen);
    }

    /// <summary>A disk opened for reading refuses to change.</summary>
    [Test]
    public void A_disk_opened_for_reading_refuses_to_be_changed()
    {
        using BlockStorage storage = NewStorage();
        if (storage.IsPersistent)
        {
            // Made and closed once, so that there is a disk to read.
            using IBlockBackend first = storage.Make();
            _ = first.Open(BlockAccess.ReadWrite);
        }

        using IBlockBackend backend = storage.Make();
        BlockGeometry geometry = backend.Open(BlockAccess.ReadOnly);
        BlockDriver driver = new(backend);
        byte[] before = driver.Read(0, (int)geometry.Size);
        Assert.Multiple(() =>
        {
            Assert.That(geometry.ReadOnly, Is.True);
            Assert.That(driver.Run(BlockOperation.Write, 0, 0, new byte[geometry.SectorSize]), Is.EqualTo(BlockStatus.ReadOnly));
            Assert.That(driver.Run(BlockOperation.WriteZeroes, 0, geometry.SectorSize), Is.EqualTo(BlockStatus.ReadOnly));
            Assert.That(driver.Run(BlockOperation.Discard, 0, geometry.SectorSize), Is.EqualTo(BlockStatus.ReadOnly));
            Assert.That(driver.Run(BlockOperation.Flush, 0, 0), Is.EqualTo(BlockStatus.Ok));
            Assert.That(driver.Read(0, (int)geometry.Size), Is.EqualTo(before));
        });
    }

    /// <summary>The geometry is one that guests can work with.</summary>
    [Test]
    public void The_geometry_makes_sense()
    {
        using BlockStorage storage = NewStorage();
        using IBlockBackend backend = storage.Make();
        BlockGeometry geometry = backend.Open(BlockAccess.ReadWrite);
        Assert.Multiple(() =>
        {
            Assert.That(geometry.SectorSize, Is.AnyOf(512, 1024, 2048, 4096));
            Assert.That(geometry.Size % geometry.SectorSize, Is.Zero);
            Assert.That(geometry.Size, Is.Positive);
            Assert.That(geometry.PhysicalSectorSize % geometry.SectorSize, Is.Zero);
            Assert.That(geometry.DiscardGranularity % geometry.SectorSize, Is.Zero);
            Assert.That(geometry.QueueDepth, Is.Positive);
        });
    }

    /// <summary>No request costs the submitting thread an allocation.</summary>
    [Test]
    public virtual void A_request_allocates_nothing_on_the_thread_that_submits_it()
    {
        using BlockStorage storage = NewStorage();
        using IBlockBackend backend = storage.Make();
        BlockGeometry geometry = backend.Open(BlockAccess.ReadWrite);
        using ManualResetEventSlim done = new();
        BlockRequest request = new(2, _ => done.Set());
        Memory<byte> first = GC.AllocateArray<byte>(geometry.SectorSize, pinned: true);
        Memory<byte> second = GC.AllocateArray<byte>(geometry.SectorSize, pinned: true);
        long allocated = 0;
        for (int round = 0; round < 2000; round++)
        {
            long before = GC.GetAllocatedBytesForCurrentThread();
            done.Reset();
            request.Prepare(round % 2 == 0 ? BlockOperation.Write : BlockOperation.Read, 0);
            request.Append(first);
            request.Append(second);
            backend.Submit(request);
            long after = GC.GetAllocatedBytesForCurrentThread();
            done.Wait();
            // The first rounds fill pools and meet the compiler.
            if (round >= 1000)
                allocated += after - before;
        }

        Assert.That(allocated, Is.Zero, "bytes allocated by 1000 requests");
    }

    private void Hold(params BlockStepKind[] kinds)
    {
        ConformanceOptions options = Options;
        IReadOnlyList<BlockStep>? smallest = null;
        string? problem = null;
        Gen<BlockStep[]> cases = Gen.ArrayOf(
            from kind in Gen.Choose(0, kinds.Length - 1)
            from number in Gen.Choose(0, int.MaxValue - 1)
            select new BlockStep(kinds[kind], number));
        Property property = Prop.ForAll(Arb.From(cases, Smaller), steps =>
        {
            if (BlockRun.Execute(NewStorage, steps) is not { } found)
                return true;

            // FsCheck tries smaller ones of what failed last, so the last that fails is the smallest.
            (smallest, problem) = (steps, found);
            return false;
        });
        Config config = Config.Quick
            .WithMaxTest(options.Scenarios)
            .WithEndSize(options.Steps)
            .WithRunner(new SilentRunner())
            .WithReplay(FSharpOption<Replay>.Some(new Replay(new Rnd((ulong)options.Seed, (0x9E3779B97F4A7C15UL * (ulong)kinds.Length) | 1), FSharpOption<int>.None)));
        FsCheck.Check.One(config, property);
        if (problem is not null)
            Assert.Fail($"{problem}\nSeed {options.Seed}; the smallest case found: {string.Join(", ", smallest!)}");
    }

    private static IEnumerable<BlockStep[]> Smaller(BlockStep[] steps)
    {
        for (int length = (steps.Length + 1) / 2; length >= 1; length = length == 1 ? 0 : (length + 1) / 2)
        {
            for (int from = 0; from < steps.Length; from += length)
                yield return [.. steps.Take(from), .. steps.Skip(from + length)];
        }
    }
}
