using Microsoft.Win32.SafeHandles;
using Tessera.Plugins.Block.Native;
using Tessera.Sdk.Devices;
using Tessera.Sdk.Plugins;

namespace Tessera.Plugins.Block.RawFile;

/// <summary>Options of the raw-file backend.</summary>
public sealed record RawFileOptions
{
    [Option("The file or block device that holds the disk, byte for byte.", IsPath = true)]
    public string Path { get; init; } = "";

    [Option("Create the file, sparse and of this size, when it is not there; 0 for never.", Min = "0 B", Max = "1024 TiB")]
    public ByteSize Create { get; init; }

    [Option("Go past the host's page cache (O_DIRECT); sectors are then as large as the file system wants them.")]
    public bool Direct { get; init; }

    [Option("Threads that carry out requests: how many of them wait for storage at once.", Min = "1", Max = "64")]
    public int Workers { get; init; } = 4;
}

/// <summary>
/// A disk in a file or block device. Reads that the host has in memory are answered at once; everything else is done by a few threads
/// with calls on the guest's own memory. A flush is fdatasync, a discard a hole punched. The file is locked (flock): one writer, or any readers.
/// </summary>
/// <param name="options">Its options.</param>
[Plugin("raw-file", PluginKind.BlockBackend, "1.0.0", Summary = "A disk in a file or block device of the host, byte for byte.", Options = typeof(RawFileOptions))]
public sealed class RawFile(RawFileOptions options) : IGrowingBlockBackend
{
    /// <summary>The largest read tried at once on the submitting thread: copying more would keep other requests waiting.</summary>
    private const int MostAtOnce = 128 << 10;

    private const string What = "raw-file: the disk's file";

    private readonly Lock _atOnceGate = new();
    private VectorIo[] _io = [];
    private VectorIo? _atOnce;
    private BlockWorkers? _workers;
    private SafeFileHandle? _file;
    private volatile BlockGeometry _geometry = new() { Size = 0 };
    private bool _zeroRangeWorks = true;

    /// <inheritdoc/>
    public BlockGeometry Open(BlockAccess access)
    {
        if (options.Path.Length == 0)
            throw new BackendException("raw-file: the option path is missing.", "Name the file or block device that holds the disk.");
        if (options.Create.Bytes > 0 && access == BlockAccess.ReadWrite)
            CreateMissing();
        _file = StorageFile.Open(options.Path, access, options.Direct, What);
        int alignment = options.Direct ? DirectIo.Alignment(_file) : 1;
        int sector = Math.Max(BlockGeometry.SmallestSector, alignment);
        long size = StorageFile.Size(_file, options.Path, What) / sector * sector;
        if (size == 0)
            throw new BackendException($"{What} {options.Path} is empty.", "Give it a size (truncate -s 1G), or set the option create.");
        _geometry = new BlockGeometry
        {
            Size = size,
            SectorSize = sector,
            PhysicalSectorSize = Math.Max(sector, 4096),
            ReadOnly = access == BlockAccess.ReadOnly,
            DiscardGranularity = access == BlockAccess.ReadOnly ? 0 : 4096,
            QueueDepth = 4 * options.Workers,
        };
        _io = [.. Enumerable.Range(0, options.Workers).Select(_ => new VectorIo(alignment))];
        _atOnce = options.Direct ? null : new VectorIo(alignment);
        _workers = new BlockWorkers("tessera-raw-file", options.Workers, Execute);
        return _geometry;
    }

    /// <inheritdoc/>
    public void Submit(BlockRequest request)
    {
        BlockStatus status = _geometry.Check(request);
        if (status != BlockStatus.Ok)
            request.Complete(status);
        else if (request.Operation == BlockOperation.Read && request.Length <= MostAtOnce && ReadAtOnce(request))
            request.Complete(BlockStatus.Ok);
        else
            _workers!.Submit(request);
    }

    /// <inheritdoc/>
    public long Grow()
    {
        BlockGeometry geometry = _geometry;
        long size = StorageFile.Size(_file!, options.Path, What) / geometry.SectorSize * geometry.SectorSize;
        if (size > geometry.Size)
            _geometry = geometry with { Size = size };
        return _geometry.Size;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _workers?.Dispose();
        foreach (VectorIo io in _io)
            io.Dispose();
        _atOnce?.Dispose();
        _io = [];
        _file?.Dispose();
    }

    private bool ReadAtOnce(BlockRequest request)
    {
        if (_atOnce is null || !_atOnceGate.TryEnter())
            return false;
        try
        {
            return _atOnce.TryReadCached(_file!, request.Offset, request.Segments, request.Length);
        }
        finally
        {
            _atOnceGate.Exit();
        }
    }

    private BlockStatus Execute(BlockRequest request, int worker)
    {
        SafeFileHandle file = _file!;
        switch (request.Operation)
        {
            case BlockOperation.Read:
                return _io[worker].Read(file, request.Offset, request.Segments, 0, request.Length);
            case BlockOperation.Write:
                return _io[worker].Write(file, request.Offset, request.Segments, 0, request.Length);
            case BlockOperation.Flush:
                int error = _geometry.ReadOnly ? 0 : FileNative.Synchronize(file);
                return error == 0 ? BlockStatus.Ok : VectorIo.StatusOf(error);
            case BlockOperation.Discard:
                return request.Length == 0 ? BlockStatus.Ok : Discard(file, request);
            default:
                return request.Length == 0 ? BlockStatus.Ok : WriteZeroes(file, request, _io[worker]);
        }
    }

    private static BlockStatus Discard(SafeFileHandle file, BlockRequest request)
    {
        int error = FileNative.Allocate(file, FileNative.PunchHole | FileNative.KeepSize, request.Offset, request.Length);
        return error == 0 ? BlockStatus.Ok : VectorIo.StatusOf(error);
    }

    private BlockStatus WriteZeroes(SafeFileHandle file, BlockRequest request, VectorIo io)
    {
        if (_zeroRangeWorks)
        {
            int error = FileNative.Allocate(file, FileNative.ZeroRange | FileNative.KeepSize, request.Offset, request.Length);
            if (error == -FileNative.NotSupported)
                error = FileNative.Allocate(file, FileNative.PunchHole | FileNative.KeepSize, request.Offset, request.Length);
            if (error == 0)
                return BlockStatus.Ok;
            if (error != -FileNative.NotSupported)
                return VectorIo.StatusOf(error);
            _zeroRangeWorks = false;
        }

        return io.WriteZeroes(file, request.Offset, request.Length);
    }

    private void CreateMissing()
    {
        int error = FileNative.Open(options.Path, FileNative.OpenReadWrite | FileNative.OpenCreate | FileNative.OpenExclusive, 0x1a4, out SafeFileHandle file);
        using (file)
        {
            if (error == -FileNative.Exists)
                return;
            if (error == 0)
                error = FileNative.Truncate(file, options.Create.Bytes);
            if (error == 0)
                error = FileNative.SynchronizeAll(file);
        }

        if (error < 0)
            throw new BackendException($"{What} {options.Path} cannot be created with {options.Create} (errno {-error}).", "Check its folder and the space there.");
    }
}
