using Tessera.Sdk.Devices;

namespace Tessera.Sdk.Conformance.Block;

/// <summary>
/// The conformance suite of block backends: random operations beside a model, the smallest failing case told with its seed.
/// </summary>
/// <param name="backend">The backend's name in the report.</param>
/// <param name="newStorage">Makes a new place for a disk.</param>
/// <param name="options">How thorough to be; only the cases and their length count.</param>
public sealed class BlockSuite(string backend, Func<BlockStorage> newStorage, ConformanceOptions? options = null)
    : MethodSuite(backend, HangLimit)
{
    private static readonly TimeSpan HangLimit = TimeSpan.FromMinutes(15);

    private readonly ConformanceOptions _options = options ?? Usual;

    /// <summary>As thorough as a disk's speed allows.</summary>
    public static ConformanceOptions Usual { get; } = new() { Scenarios = 60, Steps = 60 };

    /// <summary>The checks of every block backend, in the order of a report card.</summary>
    public static IReadOnlyList<CheckInfo> AllChecks { get; } =
        [.. CheckMethod.Of(typeof(BlockSuite)).Select(static method => method.Info)];

    [Check("Every read returns the last write, however segments lie.")]
    private void Reads_return_what_was_written_last() =>
        Hold(BlockStepKind.Read, BlockStepKind.Write, BlockStepKind.Write, BlockStepKind.Flush);

    [Check("Zeroes are zero, and a discard leaves what was or zeroes.")]
    private void Zeroes_and_discards_touch_their_range_only() =>
        Hold(BlockStepKind.Read, BlockStepKind.Write, BlockStepKind.Write, BlockStepKind.Zero, BlockStepKind.Discard, BlockStepKind.Flush);

    [Check("Neighbouring requests at once do not spoil each other.")]
    private void Requests_at_the_same_time_do_not_disturb_each_other() =>
        Hold(BlockStepKind.Burst, BlockStepKind.Burst, BlockStepKind.Burst, BlockStepKind.Read, BlockStepKind.Flush);

    [Check("Requests outside the disk do nothing.")]
    private void Requests_outside_the_disk_are_refused_and_change_nothing() =>
        Hold(BlockStepKind.Stray, BlockStepKind.Write, BlockStepKind.Read);

    [Check("A disk is the same after it was closed.")]
    private void A_closed_disk_is_the_same_when_opened_again()
    {
        using (BlockStorage storage = newStorage())
        {
            if (!storage.IsPersistent)
                throw new NotPromisedException("not persistent, so nothing to keep");
        }

        Hold(BlockStepKind.Write, BlockStepKind.Burst, BlockStepKind.Zero, BlockStepKind.Discard, BlockStepKind.Reopen);
    }

    [Check("A crash keeps what was flushed, and of each sector something that was written since or before.")]
    private void A_crash_keeps_what_was_flushed()
    {
        using (BlockStorage storage = newStorage())
        {
            if (!storage.CanCrash)
                throw new NotPromisedException("no faults are injected into this storage");
        }

        Hold(
            BlockStepKind.Write, BlockStepKind.Write, BlockStepKind.Burst, BlockStepKind.Zero, BlockStepKind.Discard, BlockStepKind.Flush,
            BlockStepKind.Crash, BlockStepKind.Reopen);
    }

    [Check("A disk opened for reading refuses to change.")]
    private void A_disk_opened_for_reading_refuses_to_be_changed()
    {
        using BlockStorage storage = newStorage();
        if (storage.IsPersistent)
        {
            // Made and closed once, so that there is a disk to read.
            using IBlockBackend first = storage.Make();
            _ = first.Open(BlockAccess.ReadWrite);
        }

        using IBlockBackend backend = storage.Make();
        BlockGeometry geometry = backend.Open(BlockAccess.ReadOnly);
        BlockDriver driver = new(backend);
        int bytes = (int)Math.Min(geometry.Size, 1 << 20);
        byte[] before = driver.Read(0, bytes);
        Expect.True(geometry.ReadOnly);
        Expect.Equal(driver.Run(BlockOperation.Write, 0, 0, new byte[geometry.SectorSize]), BlockStatus.ReadOnly);
        Expect.Equal(driver.Run(BlockOperation.WriteZeroes, 0, geometry.SectorSize), BlockStatus.ReadOnly);
        Expect.Equal(driver.Run(BlockOperation.Discard, 0, geometry.SectorSize), BlockStatus.ReadOnly);
        Expect.Equal(driver.Run(BlockOperation.Flush, 0, 0), BlockStatus.Ok);
        Expect.Equal(driver.Read(0, bytes), before);
    }

    [Check("The geometry is one that guests can work with.")]
    private void The_geometry_makes_sense()
    {
        using BlockStorage storage = newStorage();
        using IBlockBackend backend = storage.Make();
        BlockGeometry geometry = backend.Open(BlockAccess.ReadWrite);
        Expect.True(geometry.SectorSize is 512 or 1024 or 2048 or 4096);
        Expect.Equal(geometry.Size % geometry.SectorSize, 0);
        Expect.True(geometry.Size > 0);
        Expect.Equal(geometry.PhysicalSectorSize % geometry.SectorSize, 0);
        Expect.Equal(geometry.DiscardGranularity % geometry.SectorSize, 0);
        Expect.True(geometry.QueueDepth > 0);
    }

    [Check("No request costs the submitting thread an allocation.")]
    private void A_request_allocates_nothing_on_the_thread_that_submits_it()
    {
        using BlockStorage storage = newStorage();
        using IBlockBackend backend = storage.Make();
        BlockGeometry geometry = backend.Open(BlockAccess.ReadWrite);
        using ManualResetEventSlim done = new();
        BlockRequest request = new(2, _ => done.Set());
        Memory<byte> first = GC.AllocateArray<byte>(geometry.SectorSize, pinned: true);
        Memory<byte> second = GC.AllocateArray<byte>(geometry.SectorSize, pinned: true);
        // The first ones fill pools and meet the compiler; of the others one round in several is enough, as in Expect.AllocatesNothing.
        long least = Allocated(1000);
        for (int round = 0; round < 5 && least > 0; round++)
            least = Math.Min(least, Allocated(1000));
        Expect.Equal(least, 0L, "bytes that 1000 requests allocated");

        long Allocated(int requests)
        {
            long allocated = 0;
            for (int number = 0; number < requests; number++)
            {
                long before = GC.GetAllocatedBytesForCurrentThread();
                done.Reset();
                request.Prepare(number % 2 == 0 ? BlockOperation.Write : BlockOperation.Read, 0);
                request.Append(first);
                request.Append(second);
                backend.Submit(request);
                allocated += GC.GetAllocatedBytesForCurrentThread() - before;
                done.Wait();
            }

            return allocated;
        }
    }

    private void Hold(params BlockStepKind[] kinds)
    {
        string? problem = null;
        BlockStep[]? smallest = RandomSearch.Find(
            _options,
            (random, steps) => RandomSearch.Items(
                random, steps, step => new BlockStep(kinds[step.Below(kinds.Length)], (int)step.Below(int.MaxValue))),
            RandomSearch.Fewer,
            steps =>
            {
                string? found = BlockRun.Execute(newStorage, steps);
                problem = found ?? problem;
                return found is not null;
            });
        if (smallest is not null)
            Expect.Fail($"{problem}\nSeed {_options.Seed}; the smallest case found: {string.Join(", ", smallest)}");
        Note($"{_options.Scenarios} random cases");
    }
}
