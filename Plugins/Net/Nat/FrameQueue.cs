using Tessera.Sdk.Devices;

namespace Tessera.Plugins.Net.Nat;

/// <summary>Frames on their way from one sender's thread to one taker's, in slots of a fixed size: bounded, without a lock, without allocation.</summary>
internal sealed class FrameQueue
{
    /// <summary>A window of TCP's that a guest sends at once, and more.</summary>
    private const int Slots = 256;
    private const int SlotBytes = 1536;

    private readonly byte[] _bytes = new byte[Slots * SlotBytes];
    private readonly int[] _lengths = new int[Slots];
    private readonly bool[] _opens = new bool[Slots];
    private uint _head;
    private uint _tail;

    /// <summary>Room for the next frame; empty when the queue is full. The sender.</summary>
    public Span<byte> Room => _tail - Volatile.Read(ref _head) == Slots ? default : _bytes.AsSpan(At(_tail), FrameGuard.MostBytes);

    /// <summary>Whether nothing waits. The taker.</summary>
    public bool IsEmpty => Volatile.Read(ref _tail) == _head;

    /// <summary>Adds the frame that was written to <see cref="Room"/>. The sender.</summary>
    public void Add(int length, bool opens)
    {
        _lengths[_tail % Slots] = length;
        _opens[_tail % Slots] = opens;
        Volatile.Write(ref _tail, _tail + 1);
    }

    /// <summary>The oldest frame; there is one. The taker.</summary>
    public ReadOnlySpan<byte> Peek(out bool opens)
    {
        opens = _opens[_head % Slots];
        return _bytes.AsSpan(At(_head), _lengths[_head % Slots]);
    }

    /// <summary>Takes the oldest frame away. The taker.</summary>
    public void Remove() => Volatile.Write(ref _head, _head + 1);

    private static int At(uint index) => (int)(index % Slots) * SlotBytes;
}
