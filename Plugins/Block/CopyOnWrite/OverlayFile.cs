using Microsoft.Win32.SafeHandles;
using Tessera.Plugins.Block.Native;
using Tessera.Sdk.Devices;

namespace Tessera.Plugins.Block.CopyOnWrite;

/// <summary>An overlay in a file of the host.</summary>
internal sealed class OverlayFile : IOverlayFile
{
    private readonly SafeFileHandle _file;
    private readonly VectorIo[] _io;
    private readonly VectorIo _atOnce = new(alignment: 1);
    private bool _holesWork = true;

    public OverlayFile(SafeFileHandle file, int workers)
    {
        _file = file;
        _io = [.. Enumerable.Range(0, workers).Select(_ => new VectorIo(alignment: 1))];
    }

    /// <inheritdoc/>
    public BlockStatus Read(long position, ReadOnlySpan<Memory<byte>> segments, long skip, long length, int worker) =>
        _io[worker].Read(_file, position, segments, skip, length);

    /// <inheritdoc/>
    public BlockStatus Write(long position, ReadOnlySpan<Memory<byte>> segments, long skip, long length, int worker) =>
        _io[worker].Write(_file, position, segments, skip, length);

    /// <inheritdoc/>
    public BlockStatus Zero(long position, long length, int worker)
    {
        if (_holesWork)
        {
            int error = FileNative.Allocate(_file, FileNative.PunchHole | FileNative.KeepSize, position, length);
            if (error == 0)
                return BlockStatus.Ok;
            if (error != -FileNative.NotSupported)
                return VectorIo.StatusOf(error);
            _holesWork = false;
        }

        return _io[worker].WriteZeroes(_file, position, length);
    }

    /// <inheritdoc/>
    public BlockStatus Synchronize() => FileNative.Synchronize(_file) is < 0 and var error ? VectorIo.StatusOf(error) : BlockStatus.Ok;

    /// <inheritdoc/>
    public bool TryReadCached(long position, ReadOnlySpan<Memory<byte>> segments, long length) => _atOnce.TryReadCached(_file, position, segments, length);

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (VectorIo io in _io)
            io.Dispose();
        _atOnce.Dispose();
        _file.Dispose();
    }
}
