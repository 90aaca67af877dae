using System.Buffers;
using System.Runtime.InteropServices;
using Tessera.Plugins.Block.Nbd.Native;
using Tessera.Sdk.Devices;

namespace Tessera.Plugins.Block.Nbd;

/// <summary>
/// One request under way: cut into commands of at most 1 MiB (zeroes and discards: 1 GiB), or what the server takes, one after another. Memory in one piece is
/// given to libnbd as it is; scattered memory goes through a buffer, because NBD has no scatter and a command a page costs more than the copy.
/// Used by the connection's thread only.
/// </summary>
internal sealed unsafe class NbdSlot : IDisposable
{
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
            _buffer = (byte*)NativeMemory.Alloc(NbdLimits.MostDataBytes);
        }
    }

    /// <summary>What the request asks for.</summary>
    public BlockOperation Operation => _request!.Operation;

    /// <summary>Whether the command changes what the disk holds; a discard need not.</summary>
    public bool ChangesDisk => Operation is BlockOperation.Write or BlockOperation.WriteZeroes;

    /// <summary>Where the command works.</summary>
    public long CommandOffset => _request!.Offset + _done;

    /// <summary>Bytes of the disk it works on.</summary>
    public long CommandLength => _length;

    /// <summary>Bytes that must be remembered to repeat the command after it has completed.</summary>
    public int DataBytes => Operation == BlockOperation.Write ? (int)_length : 0;

    /// <summary>Those bytes.</summary>
    public ReadOnlySpan<byte> Data => new(Memory, DataBytes);

    /// <summary>The connection's: what had been acknowledged when the command was issued.</summary>
    public long Mark { get; set; }

    /// <summary>Goes on to the next command.</summary>
    /// <param name="limits">What it may ask for.</param>
    /// <returns>Whether there is one.</returns>
    public bool Advance(NbdLimits limits)
    {
        BlockRequest request = _request!;
        if (request.Operation == BlockOperation.Flush)
        {
            // One command of no bytes.
            bool isFirst = _length == 0;
            _length = 1;
            return isFirst;
        }

        _done += _length;
        _length = Math.Min(request.Length - _done, limits.Of(request.Operation));
        if (request.Operation == BlockOperation.Write && !_isPinned && _length > 0)
            Copy(fromRequest: true);
        return _length > 0;
    }

    /// <summary>Makes a command that another connection did not carry out no longer than this one takes; the rest follows.</summary>
    /// <param name="limits">What it may ask for.</param>
    public void Fit(NbdLimits limits)
    {
        if (Operation != BlockOperation.Flush)
            _length = Math.Min(_length, limits.Of(Operation));
    }

    /// <summary>Issues the command, for the first time or, on another connection, again.</summary>
    /// <returns>Its cookie; -1 for an error.</returns>
    public long Issue(NbdHandle handle, NbdLimits limits)
    {
        ulong offset = (ulong)CommandOffset;
        switch (Operation)
        {
            case BlockOperation.Flush:
                return LibnbdNative.Flush(handle, default, 0);
            case BlockOperation.Discard:
                return LibnbdNative.Trim(handle, (ulong)_length, offset, default, 0);
            case BlockOperation.WriteZeroes when limits.ClearsItself:
                return LibnbdNative.Zero(handle, (ulong)_length, offset, default, 0);
            case BlockOperation.WriteZeroes:
                new Span<byte>(_buffer, (int)_length).Clear();
                return LibnbdNative.Write(handle, _buffer, (nuint)_length, offset, default, 0);
            case BlockOperation.Write:
                return LibnbdNative.Write(handle, Memory, (nuint)_length, offset, default, 0);
            default:
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
