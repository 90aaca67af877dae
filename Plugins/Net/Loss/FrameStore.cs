using Tessera.Sdk.Devices;

namespace Tessera.Plugins.Net.Loss;

/// <summary>Frames in chains of chunks of one memory, which bounds them; allocates nothing after the beginning. Not thread-safe.</summary>
internal sealed class FrameStore
{
    /// <summary>An ordinary frame takes one.</summary>
    private const int ChunkBytes = 2048;
    private const int None = -1;

    private readonly byte[] _memory;
    private readonly int[] _next;
    private readonly Entry[] _entries;
    private int _free;
    private int _freeCount;

    /// <summary>Makes a store.</summary>
    /// <param name="bytes">How much it holds.</param>
    public FrameStore(int bytes)
    {
        Chunks = bytes / ChunkBytes;
        _memory = GC.AllocateUninitializedArray<byte>(Chunks * ChunkBytes);
        _next = new int[Chunks];
        _entries = new Entry[Chunks];
        for (int chunk = 0; chunk < Chunks; chunk++)
            _next[chunk] = chunk + 1 < Chunks ? chunk + 1 : None;
        _freeCount = Chunks;
    }

    /// <summary>The pieces of the longest frame.</summary>
    public static int MostPieces => (NetworkFrame.MostBytes + ChunkBytes - 1) / ChunkBytes;

    /// <summary>The most frames it holds.</summary>
    public int Chunks { get; }

    /// <summary>Nothing is in it.</summary>
    public bool IsEmpty => _freeCount == Chunks;

    /// <summary>Copies a frame.</summary>
    /// <param name="frame">The frame.</param>
    /// <param name="handle">By which it is found again.</param>
    /// <returns>False when there is no room.</returns>
    public bool TryAdd(in NetworkFrame frame, out int handle)
    {
        handle = None;
        int needed = (frame.Length + ChunkBytes - 1) / ChunkBytes;
        if (needed > _freeCount)
            return false;
        handle = _free;
        _entries[handle] = new Entry(frame.Length, frame.Offload);
        int chunk = None;
        int used = ChunkBytes;
        Put(frame.Header, ref chunk, ref used);
        foreach (ref readonly ReadOnlyMemory<byte> piece in frame.Rest)
            Put(piece.Span, ref chunk, ref used);
        _next[chunk] = None;
        return true;
    }

    /// <summary>A frame, which stays until it is removed.</summary>
    /// <param name="handle">Which.</param>
    /// <param name="pieces">Room for <see cref="MostPieces"/>, in use as long as the frame is.</param>
    public NetworkFrame Read(int handle, ReadOnlyMemory<byte>[] pieces)
    {
        Entry entry = _entries[handle];
        int inHeader = Math.Min(entry.Length, ChunkBytes);
        int count = 0;
        int left = entry.Length - inHeader;
        for (int chunk = _next[handle]; left > 0; chunk = _next[chunk])
        {
            int length = Math.Min(left, ChunkBytes);
            pieces[count++] = _memory.AsMemory(chunk * ChunkBytes, length);
            left -= length;
        }

        return new NetworkFrame(_memory.AsSpan(handle * ChunkBytes, inHeader), pieces.AsSpan(0, count), entry.Length, entry.Offload);
    }

    /// <summary>Takes a frame away.</summary>
    public void Remove(int handle)
    {
        int last = handle;
        _freeCount++;
        for (; _next[last] != None; last = _next[last])
            _freeCount++;
        (_next[last], _free) = (_free, handle);
    }

    private void Put(ReadOnlySpan<byte> bytes, ref int chunk, ref int used)
    {
        while (!bytes.IsEmpty)
        {
            if (used == ChunkBytes)
            {
                (chunk, _free, used) = (_free, _next[_free], 0);
                _freeCount--;
            }

            int length = Math.Min(bytes.Length, ChunkBytes - used);
            bytes[..length].CopyTo(_memory.AsSpan((chunk * ChunkBytes) + used));
            bytes = bytes[length..];
            used += length;
        }
    }

    private readonly record struct Entry(int Length, FrameOffload Offload);
}
