using System.Runtime.InteropServices;
using Tessera.Plugins.Block.Nbd.Native;

namespace Tessera.Plugins.Block.Nbd;

/// <summary>
/// Copies of what a server has acknowledged and not yet made stable, in that order: a server that dies may have lost any of it, and the guest
/// must not notice. A flush empties it. Bounded; who finds no room flushes first. Used by the connection's thread only.
/// </summary>
/// <param name="isKept">False where nothing is to be kept, since nothing is repeated: then there is always room.</param>
internal sealed unsafe class UnstableWrites(bool isKept) : IDisposable
{
    private const int Capacity = 16 << 20;
    private const int MostEntries = 1 << 16;
    private const int MostCleared = 1 << 20;

    private readonly Queue<Entry> _entries = new();
    private byte* _ring;
    private long _written;
    private long _used;
    private long _reserved;
    private long _first;

    /// <summary>Whether there is something that a flush would make stable.</summary>
    public bool IsEmpty => _entries.Count == 0;

    /// <summary>What is acknowledged from now on counts from here: a mark for <see cref="DropBefore"/>.</summary>
    public long End => _first + _entries.Count;

    /// <summary>Keeps room for a command's data until <see cref="Append"/> or <see cref="Release"/>; false when there is none.</summary>
    public bool TryReserve(int bytes)
    {
        if (!isKept)
            return true;
        if (_used + _reserved + bytes > Capacity || _entries.Count >= MostEntries)
            return false;
        _reserved += bytes;
        return true;
    }

    /// <summary>Gives room back.</summary>
    public void Release(int bytes)
    {
        if (isKept)
            _reserved -= bytes;
    }

    /// <summary>Takes an acknowledged write into the room kept for it.</summary>
    /// <param name="offset">Where on the disk.</param>
    /// <param name="length">Bytes on the disk.</param>
    /// <param name="data">The data; empty for zeroes.</param>
    public void Append(long offset, long length, ReadOnlySpan<byte> data)
    {
        if (!isKept)
            return;
        if (_ring is null)
        {
            // SAFETY: freed in Dispose; every access below lies within Capacity bytes.
            _ring = (byte*)NativeMemory.Alloc(Capacity);
        }

        int at = (int)(_written % Capacity);
        int first = Math.Min(data.Length, Capacity - at);
        data[..first].CopyTo(new Span<byte>(_ring + at, first));
        data[first..].CopyTo(new Span<byte>(_ring, data.Length - first));
        _entries.Enqueue(new Entry(offset, length, data.Length));
        _written += data.Length;
        _used += data.Length;
        _reserved -= data.Length;
    }

    /// <summary>A flush has made stable what was acknowledged before a mark.</summary>
    public void DropBefore(long mark)
    {
        while (_first < mark && _entries.TryDequeue(out Entry entry))
        {
            _used -= entry.Bytes;
            _first++;
        }
    }

    /// <summary>Writes all of it again, waiting for each.</summary>
    /// <returns>False when the server failed at one.</returns>
    public bool Replay(NbdHandle handle)
    {
        long position = _written - _used;
        foreach (Entry entry in _entries)
        {
            if (entry.Bytes == 0 ? !Clear(handle, entry) : !Write(handle, entry.Offset, position, entry.Bytes))
                return false;
            position += entry.Bytes;
        }

        return true;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        NativeMemory.Free(_ring);
        _ring = null;
    }

    private bool Write(NbdHandle handle, long offset, long position, int bytes)
    {
        int at = (int)(position % Capacity);
        int first = Math.Min(bytes, Capacity - at);
        // SAFETY: both pieces lie within the ring; the calls return when the server has answered.
        return LibnbdNative.WriteNow(handle, _ring + at, (nuint)first, (ulong)offset, 0) == 0
            && (first == bytes || LibnbdNative.WriteNow(handle, _ring, (nuint)(bytes - first), (ulong)(offset + first), 0) == 0);
    }

    private static bool Clear(NbdHandle handle, Entry entry)
    {
        if (LibnbdNative.CanZero(handle) == 1)
            return LibnbdNative.ZeroNow(handle, (ulong)entry.Length, (ulong)entry.Offset, 0) == 0;
        byte[] zeroes = new byte[MostCleared];
        fixed (byte* bytes = zeroes)
        {
            for (long done = 0; done < entry.Length; done += MostCleared)
            {
                // SAFETY: the array is pinned for the call, which returns when the server has answered.
                if (LibnbdNative.WriteNow(handle, bytes, (nuint)Math.Min(MostCleared, entry.Length - done), (ulong)(entry.Offset + done), 0) != 0)
                    return false;
            }
        }

        return true;
    }

    private readonly record struct Entry(long Offset, long Length, int Bytes);
}
