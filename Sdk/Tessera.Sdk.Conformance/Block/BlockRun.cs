using Tessera.Sdk.Devices;
using Tessera.Sdk.Simulation;

namespace Tessera.Sdk.Conformance.Block;

/// <summary>Carries out the steps of a random case on a backend and on the model beside it.</summary>
internal sealed class BlockRun : IDisposable
{
    private const int MostBurst = 16;
    private const int MostSegments = 12;

    /// <summary>As much of a disk as takes part: of a larger one the beginning.</summary>
    private const int MostBytes = 4 << 20;

    private readonly BlockStorage _storage;
    private IBlockBackend? _backend;
    private BlockDriver _driver;
    private BlockGeometry _geometry;
    private readonly BlockModel _model;

    private BlockRun(BlockStorage storage)
    {
        _storage = storage;
        (_backend, _geometry, _driver) = Open(storage);
        if (_geometry.Size < 4096)
            throw new InvalidOperationException($"The storage of a conformance case is {_geometry.Size} bytes; give it one of 64 KiB to 4 MiB.");
        // What it holds at first counts as stable from here on.
        _driver.Flush();
        _model = new BlockModel(_driver.Read(0, Bytes), _geometry.SectorSize);
    }

    /// <summary>What goes wrong, or null.</summary>
    public static string? Execute(Func<BlockStorage> make, IReadOnlyList<BlockStep> steps)
    {
        using BlockStorage storage = make();
        using BlockRun run = new(storage);
        try
        {
            for (int index = 0; index < steps.Count; index++)
            {
                if (run.Step(steps[index]) is { } problem)
                    return $"step {index + 1} ({steps[index]}): {problem}";
            }

            return run.LookAtAll() is { } last ? $"at the end: {last}" : null;
        }
        catch (Exception exception) when (exception is InvalidOperationException or BackendException)
        {
            return exception.Message;
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _backend?.Dispose();

    private static (IBlockBackend Backend, BlockGeometry Geometry, BlockDriver Driver) Open(BlockStorage storage)
    {
        IBlockBackend backend = storage.Make();
        return (backend, backend.Open(BlockAccess.ReadWrite), new BlockDriver(backend));
    }

    private void Reopen()
    {
        _backend?.Dispose();
        // Not closed twice when another cannot be opened.
        _backend = null;
        (_backend, _geometry, _driver) = Open(_storage);
    }

    private string? Step(BlockStep step)
    {
        SimulationRandom random = step.Random();
        switch (step.Kind)
        {
            case BlockStepKind.Burst:
                return Burst(random);
            case BlockStepKind.Flush:
                _driver.Flush();
                _model.Flush();
                return null;
            case BlockStepKind.Reopen when _storage.IsPersistent:
                Reopen();
                return LookAtAll();
            case BlockStepKind.Crash when _storage.CanCrash:
                _storage.Crash(step.Number);
                // Only its threads: what it writes now reaches nothing.
                Reopen();
                return _model.LookAfterCrash(_driver.Read(0, Bytes));
            case BlockStepKind.Stray:
                return Stray(random);
            case BlockStepKind.Reopen or BlockStepKind.Crash:
                return null;
            default:
                (int first, int count) = Range(random);
                return Begin(step.Kind, first, count, random)();
        }
    }

    private (int First, int Count) Range(SimulationRandom random)
    {
        // Mostly a few sectors, now and then many; the disk's first and last sectors come often.
        int count = random.Below(8) == 0 ? 1 + (int)random.Below(Math.Min(256, _model.Sectors)) : 1 + (int)random.Below(12);
        count = Math.Min(count, _model.Sectors);
        int first = (int)random.Below(4) switch
        {
            0 => (int)random.Below(3),
            1 => _model.Sectors - count - (int)random.Below(3),
            _ => (int)random.Below(_model.Sectors - count + 1),
        };
        return (Math.Clamp(first, 0, _model.Sectors - count), count);
    }

    /// <summary>Submits an operation; what is returned waits for it, and applies it to the model.</summary>
    private Func<string?> Begin(BlockStepKind kind, int first, int count, SimulationRandom random)
    {
        int sector = _model.Sector;
        if (kind is BlockStepKind.Read or BlockStepKind.Write)
        {
            byte[] bytes = new byte[count * sector];
            if (kind == BlockStepKind.Write)
                new Random((int)random.Below(int.MaxValue)).NextBytes(bytes);
            Memory<byte>[] segments = Split(kind == BlockStepKind.Write ? [.. bytes] : bytes, random);
            BlockPending transfer = _driver.Begin(kind == BlockStepKind.Read ? BlockOperation.Read : BlockOperation.Write, (long)first * sector, 0, segments);
            return () =>
            {
                if (transfer.Wait(_driver.Patience) is not BlockStatus.Ok and var bad)
                    return $"{kind} of {count} sectors from {first} on ended with {bad}";
                if (kind == BlockStepKind.Read)
                    return _model.Look(first, bytes);
                _model.Write(first, bytes);
                return null;
            };
        }

        BlockPending pending = _driver.Begin(kind == BlockStepKind.Zero ? BlockOperation.WriteZeroes : BlockOperation.Discard, (long)first * sector, (long)count * sector);
        return () =>
        {
            BlockStatus status = pending.Wait(_driver.Patience);
            BlockStatus wanted = kind == BlockStepKind.Discard && _geometry.DiscardGranularity == 0 ? BlockStatus.NotSupported : BlockStatus.Ok;
            if (status != wanted)
                return $"{kind} of {count} sectors from {first} on ended with {status}";
            if (kind == BlockStepKind.Zero)
                _model.Zero(first, count);
            else if (status == BlockStatus.Ok)
                _model.Discard(first, count);
            return null;
        };
    }

    private static Memory<byte>[] Split(byte[] bytes, SimulationRandom random)
    {
        List<Memory<byte>> segments = [];
        int done = 0;
        while (done < bytes.Length)
        {
            int rest = bytes.Length - done;
            int length = segments.Count == MostSegments - 1 ? rest : 1 + (int)random.Below(Math.Min(rest, random.Below(2) == 0 ? 4096 : rest));
            segments.Add(bytes.AsMemory(done, length));
            done += length;
        }

        return [.. segments];
    }

    private string? Burst(SimulationRandom random)
    {
        List<Func<string?>> waits = [];
        BlockPending? flush = null;
        int next = (int)random.Below(_model.Sectors);
        int operations = 2 + (int)random.Below(MostBurst - 1);
        for (int index = 0; index < operations; index++)
        {
            int count = 1 + (int)random.Below(12);
            if (next + count > _model.Sectors)
                break;
            if (flush is null && random.Below(8) == 0)
                flush = _driver.Begin(BlockOperation.Flush, 0, 0);
            BlockStepKind kind = (int)random.Below(8) switch { 0 => BlockStepKind.Zero, 1 => BlockStepKind.Discard, < 4 => BlockStepKind.Read, _ => BlockStepKind.Write };
            waits.Add(Begin(kind, next, count, random));
            next += count;
        }

        if (flush is not null)
        {
            if (flush.Wait(_driver.Patience) is not BlockStatus.Ok and var status)
                return $"a flush among others ended with {status}";
            // Only what had completed before is certain: the others come into the model afterwards.
            _model.Flush();
        }

        string? problem = null;
        foreach (Func<string?> wait in waits)
            problem ??= wait();
        return problem;
    }

    private string? Stray(SimulationRandom random)
    {
        int sector = _model.Sector;
        (long offset, int length) = (int)random.Below(6) switch
        {
            0 => (_geometry.Size, sector),
            1 => (_geometry.Size - sector, 2 * sector),
            2 => (-sector, sector),
            3 => (long.MaxValue - sector + 1, 2 * sector),
            4 => (1, sector),
            _ => (0L, sector - 1),
        };
        BlockOperation operation = (int)random.Below(4) switch { 0 => BlockOperation.Read, 1 => BlockOperation.WriteZeroes, 2 => BlockOperation.Discard, _ => BlockOperation.Write };
        byte[] bytes = new byte[length];
        BlockStatus status = operation is BlockOperation.Read or BlockOperation.Write ? _driver.Run(operation, offset, 0, bytes) : _driver.Run(operation, offset, length);
        return status == BlockStatus.OutOfRange ? null : $"{operation} of {length} bytes at {offset} on a disk of {_geometry.Size} ended with {status}; OutOfRange is right";
    }

    private string? LookAtAll() => _model.Look(0, _driver.Read(0, Bytes));

    private int Bytes => (int)Math.Min(_geometry.Size, MostBytes);
}
