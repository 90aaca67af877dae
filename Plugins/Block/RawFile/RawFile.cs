using System.Runtime.InteropServices;
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

    [Option("The size of the guest's sectors in bytes: 512, 1024, 2048 or 4096; 0 for those of the block device, and 512 for a file.", Min = "0", Max = "4096")]
    public int SectorSize { get; init; }

    [Option("Take it for a disk byte for byte, even if it begins like an image of another format (qcow2, vmdk …) or a packed file.")]
    public bool Raw { get; init; }

    [Option("Threads that carry out requests: how many of them wait for storage at once.", Min = "1", Max = "64")]
    public int Workers { get; init; } = 4;
}

/// <summary>
/// A disk in a file or block device. Reads that the host has in memory are answered at once; everything else is done by a few threads
/// with calls on the guest's own memory. A flush is fdatasync, a discard a hole punched. The file is locked (flock): one writer, or any readers.
/// </summary>
[Plugin("raw-file", PluginKind.BlockBackend, "1.1.0", Summary = "A disk in a file or block device of the host, byte for byte.", Options = typeof(RawFileOptions))]
public sealed class RawFile : IBlockBackend, IGrowingStorage
{
    /// <summary>The largest read tried at once on the submitting thread: copying more would keep other requests waiting.</summary>
    private const int MostAtOnce = 128 << 10;

    private const int Page = 4096;

    private const string What = "raw-file: the disk's file";

    private readonly RawFileOptions _options;
    private readonly Func<(int Logical, int Physical, int DiscardGranularity)>? _described;
    private readonly IThreadDuties? _duties;
    private readonly Lock _atOnceGate = new();
    private VectorIo[] _io = [];
    private VectorIo? _atOnce;
    private BlockWorkers? _workers;
    private SafeFileHandle? _file;
    private volatile BlockGeometry _geometry = new() { Size = 0 };
    private bool _zeroRangeWorks = true;

    /// <summary>What the storage clears at once, bytes.</summary>
    private int _unit = 1;

    /// <summary>Prepares a disk.</summary>
    /// <param name="options">Its options.</param>
    /// <param name="duties">Takes from its threads what they do not need.</param>
    public RawFile(RawFileOptions options, IThreadDuties? duties = null)
        : this(options, null, duties)
    {
    }

    /// <summary>The same for a file that stands for a block device, which somebody else describes; null for what the file itself says.</summary>
    internal RawFile(RawFileOptions options, Func<(int Logical, int Physical, int DiscardGranularity)>? described, IThreadDuties? duties = null) =>
        (_options, _described, _duties) = (options, described, duties);

    /// <inheritdoc/>
    public BlockGeometry Open(BlockAccess access)
    {
        if (_options.Path.Length == 0)
            throw new BackendException("raw-file: the option path is missing.", "Name the file or block device that holds the disk.");
        if (_options.Create.Bytes > 0 && access == BlockAccess.ReadWrite)
            CreateMissing();
        _file = StorageFile.Open(_options.Path, access, _options.Direct, What);
        if (!_options.Raw)
            ImageFormat.Refuse(_file, _options.Path, What);
        int alignment = _options.Direct ? DirectIo.Alignment(_file) : 1;
        DeviceLimits? device = _described?.Invoke() is { } told ? new(told.Logical, told.Physical, told.DiscardGranularity) : DeviceLimits.Of(_file, _options.Path);
        int sector = DeviceLimits.Sector(device, _options.SectorSize, alignment, $"{What} {_options.Path}");
        long size = StorageFile.Size(_file, _options.Path, What);
        if (size == 0)
            throw new BackendException($"{What} {_options.Path} is empty.", "Give it a size (truncate -s 1G), or set the option create.");
        DeviceLimits.RefusePartial(size, sector, _options.Path, What);
        _unit = device?.Logical ?? 1;
        _geometry = new BlockGeometry
        {
            Size = size,
            SectorSize = sector,
            PhysicalSectorSize = Math.Max(sector, device?.Physical ?? Page),
            ReadOnly = access == BlockAccess.ReadOnly,
            DiscardGranularity = access == BlockAccess.ReadOnly ? 0 : device?.DiscardGranularity ?? Page,
            QueueDepth = 4 * _options.Workers,
        };
        _io = [.. Enumerable.Range(0, _options.Workers).Select(_ => new VectorIo(alignment))];
        _atOnce = _options.Direct ? null : new VectorIo(alignment);
        _workers = new BlockWorkers("tessera-raw-file", _options.Workers, Execute, _duties);
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
        long size = StorageFile.Size(_file!, _options.Path, What);
        DeviceLimits.RefusePartial(size, geometry.SectorSize, _options.Path, What);
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

    private BlockStatus Discard(SafeFileHandle file, BlockRequest request)
    {
        // A device whose sectors are larger than the guest's keeps what is not whole sectors of its own.
        long from = (request.Offset + _unit - 1) / _unit * _unit;
        long to = (request.Offset + request.Length) / _unit * _unit;
        if (to <= from)
            return BlockStatus.Ok;
        int error = FileNative.Allocate(file, FileNative.PunchHole | FileNative.KeepSize, from, to - from);
        return error == 0 ? BlockStatus.Ok : VectorIo.StatusOf(error);
    }

    private BlockStatus WriteZeroes(SafeFileHandle file, BlockRequest request, VectorIo io)
    {
        if (_zeroRangeWorks && (request.Offset | request.Length) % _unit == 0)
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
        int error = FileNative.Open(_options.Path, FileNative.OpenReadWrite | FileNative.OpenCreate | FileNative.OpenExclusive, 0x1a4, out SafeFileHandle file);
        using (file)
        {
            if (error == -FileNative.Exists)
                return;
            if (error == 0)
                error = FileNative.Truncate(file, _options.Create.Bytes);
            if (error == 0)
                error = FileNative.SynchronizeAll(file);
        }

        if (error < 0)
            throw new BackendException($"{What} {_options.Path} cannot be created with {_options.Create} ({Marshal.GetPInvokeErrorMessage(-error)}).", "Check its folder and the space there.");
    }
}
