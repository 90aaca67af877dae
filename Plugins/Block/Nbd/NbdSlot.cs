using System.Buffers;
using System.Runtime.InteropServices;
using Tessera.Plugins.Block.Nbd.Native;
using Tessera.Sdk.Devices;

namespace Tessera.Plugins.Block.Nbd;

/// <summary>
/// One request under way: cut into commands of at most 1 MiB (zeroes and discards: 1 GiB), one after another. Memory in one piece is
/// given to libnbd as it is; scattered memory goes through a buffer, because NBD has no scatter and a command a page costs more than the copy.
/// Used by the connection's thread only.
/// </summary>
internal sealed unsafe class NbdSlot : IDisposable
{
    private const int MostBytes = 1 << 20;
    private const long MostCleared = 1 << 30;

    private byte* _buffer;
    private MemoryHandle _pin;
    private BlockRequest? _request;
    private long _done;
    private long _length;
    private bool _isPinned;

    /// <summary>Begins a request.</summary>
    public void Begin(BlockRequest request)
    {
        _request = request;
        _done = 0;
        _length = 0;
        if (request.Segments.Length == 1)
        {
            _pin = request.Segments[0].Pin();
            _isPinned = true;
        }
        else if (_buffer is null)
        {
            // SAFETY: freed in Dispose, when the connection is closed and libnbd has forgotten it.
            _buffer = (byte*)NativeMemory.Alloc(MostBytes);
        }
    }

    /// <summary>Issues the next command.</summary>
    /// <returns>Its cookie; 0 when the request has none left; -1 for an error.</returns>
    public long Next(NbdHandle handle, bool zeroes)
    {
        BlockRequest request = _request!;
        _done += _length;
        long left = request.Length - _done;
        ulong offset = (ulong)(request.Offset + _done);
        if (request.Operation == BlockOperation.Flush)
        {
            if (_length != 0)
                return 0;
            _length = 1;
            return LibnbdNative.Flush(handle, default, 0);
        }

        if (left == 0)
            return 0;
        switch (request.Operation)
        {
            case BlockOperation.Discard:
                _length = Math.Min(left, MostCleared);
                return LibnbdNative.Trim(handle, (ulong)_length, offset, default, 0);
            case BlockOperation.WriteZeroes when zeroes:
                _length = Math.Min(left, MostCleared);
                return LibnbdNative.Zero(handle, (ulong)_length, offset, default, 0);
            case BlockOperation.WriteZeroes:
                _length = Math.Min(left, MostBytes);
                new Span<byte>(_buffer, (int)_length).Clear();
                return LibnbdNative.Write(handle, _buffer, (nuint)_length, offset, default, 0);
            case BlockOperation.Write:
                _length = Math.Min(left, MostBytes);
                if (!_isPinned)
                    Copy(fromRequest: true);
                return LibnbdNative.Write(handle, Memory, (nuint)_length, offset, default, 0);
            default:
                _length = Math.Min(left, MostBytes);
                return LibnbdNative.Read(handle, Memory, (nuint)_length, offset, default, 0);
        }
    }

    /// <summary>A command has completed well.</summary>
    public void Took()
    {
        if (_request!.Operation == BlockOperation.Read && !_isPinned)
            Copy(fromRequest: false);
    }

    /// <summary>Lets go of the request, to be completed.</summary>
    public BlockRequest End()
    {
        if (_isPinned)
            _pin.Dispose();
        _isPinned = false;
        BlockRequest request = _request!;
        _request = null;
        return request;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        NativeMemory.Free(_buffer);
        _buffer = null;
    }

    private byte* Memory => _isPinned ? (byte*)_pin.Pointer + _done : _buffer;

    private void Copy(bool fromRequest)
    {
        Span<byte> bytes = new(_buffer, (int)_length);
        long skip = _done;
        foreach (ref readonly Memory<byte> segment in _request!.Segments)
        {
            if (skip >= segment.Length)
            {
                skip -= segment.Length;
                continue;
            }

            Span<byte> part = segment.Span[(int)skip..];
            int size = Math.Min(part.Length, bytes.Length);
            if (fromRequest)
                part[..size].CopyTo(bytes);
            else
                bytes[..size].CopyTo(part);
            bytes = bytes[size..];
            skip = 0;
            if (bytes.IsEmpty)
                return;
        }
    }
}
