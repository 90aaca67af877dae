using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Tessera.Sdk.Devices;

namespace Tessera.Kernel.Devices.Network;

/// <summary>Frames that wait for a guest's buffers, copied, oldest first; so many bytes and no more. One thread at a time; allocates nothing after the beginning.</summary>
/// <param name="capacity">Bytes, of which each frame costs 24 more than its own.</param>
internal sealed class FrameBacklog(int capacity)
{
    private static readonly int RecordHeader = Unsafe.SizeOf<Record>();

    private readonly byte[] _bytes = GC.AllocateUninitializedArray<byte>(capacity);
    private int _head;
    private int _tail;
    private int _count;

    /// <summary>No frame waits.</summary>
    public bool IsEmpty => _count == 0;

    /// <summary>Copies a frame to the end.</summary>
    /// <param name="frame">The frame.</param>
    /// <param name="arrivedAt">When it arrived, kept with it.</param>
    /// <returns>False when there is no room.</returns>
    public bool TryAdd(in NetworkFrame frame, long arrivedAt)
    {
        int size = RecordHeader + ((frame.Length + 7) & ~7);
        if (!TryPlace(size))
            return false;
        FrameOffload offload = frame.Offload;
        Record record = new(arrivedAt, frame.Length, (byte)offload.Checksum, (byte)offload.Segmentation, offload.SegmentBytes);
        MemoryMarshal.Write(_bytes.AsSpan(_tail), in record);
        _ = frame.CopyTo(_bytes.AsSpan(_tail + RecordHeader, frame.Length));
        _tail += size;
        _count++;
        return true;
    }

    /// <summary>The oldest frame; valid until it is removed.</summary>
    public NetworkFrame Peek(out long arrivedAt)
    {
        Record record = Head();
        arrivedAt = record.ArrivedAt;
        return new NetworkFrame(
            _bytes.AsSpan(_head + RecordHeader, record.Length), new FrameOffload((FrameChecksum)record.Checksum, (FrameSegmentation)record.Segmentation, record.SegmentBytes));
    }

    /// <summary>Takes the oldest frame away.</summary>
    public void Remove()
    {
        _head += RecordHeader + ((Head().Length + 7) & ~7);
        _count--;
        if (_count == 0)
            _head = _tail = 0;
    }

    /// <summary>The record at the head, which begins anew at the beginning where the end had no room.</summary>
    private Record Head()
    {
        if (_head + RecordHeader > capacity || MemoryMarshal.Read<Record>(_bytes.AsSpan(_head)).Length == 0)
            _head = 0;
        return MemoryMarshal.Read<Record>(_bytes.AsSpan(_head));
    }

    /// <summary>Moves the tail to where a record fits in one piece.</summary>
    private bool TryPlace(int size)
    {
        if (_count > 0 && _tail <= _head)
            return size <= _head - _tail;
        if (size <= capacity - _tail)
            return true;
        if (size > _head)
            return false;
        if (_tail + RecordHeader <= capacity)
            MemoryMarshal.Write(_bytes.AsSpan(_tail), default(Record));
        _tail = 0;
        return true;
    }

    private readonly record struct Record(long ArrivedAt, int Length, byte Checksum, byte Segmentation, int SegmentBytes);
}
