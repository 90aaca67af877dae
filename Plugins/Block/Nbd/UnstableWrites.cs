using System.Runtime.InteropServices;
using Tessera.Plugins.Block.Nbd.Native;
using Tessera.Sdk.Devices;

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
    /// <param name="handle">The connection.</param>
    /// <param name="limits">What its commands may ask for.</param>
    /// <returns>False when the server failed at one.</returns>
    public bool Replay(NbdHandle handle, NbdLimits limits)
    {
        long position = _written - _used;
        foreach (Entry entry in _entries)
        {
            if (entry.Bytes == 0 ? !Clear(handle, limits, entry) : !Write(handle, limits, entry.Offset, position, entry.Bytes))
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

    private bool Write(NbdHandle handle, NbdLimits limits, long offset, long position, int bytes)
    {
        for (int done = 0; done < bytes;)
        {
            int at = (int)((position + done) % Capacity);
            int length = Math.Min(Math.Min(bytes - done, limits.DataBytes), Capacity - at);
            // SAFETY: the piece lies within the ring; the call returns when the server has answered.
            if (LibnbdNative.WriteNow(handle, _ring + at, (nuint)length, (ulong)(offset + done), 0) != 0)
                return false;
            done += length;
        }

        return true;
    }

    private static bool Clear(NbdHandle handle, NbdLimits limits, Entry entry)
    {
        long most = limits.Of(BlockOperation.WriteZeroes);
        byte[] zeroes = limits.ClearsItself ? [] : new byte[most];
        fixed (byte* bytes = zeroes)
        {
            for (long done = 0; done < entry.Length; done += most)
            {
                long length = Math.Min(most, entry.Length - done);
                ulong offset = (ulong)(entry.Offset + done);
                // SAFETY: the array is pinned for the call, which returns when the server has answered.
                if ((limits.ClearsItself ? LibnbdNative.ZeroNow(handle, (ulong)length, offset, 0) : LibnbdNative.WriteNow(handle, bytes, (nuint)length, offset, 0)) != 0)
                    return false;
            }
        }

        return true;
    }

    private readonly record struct Entry(long Offset, long Length, int Bytes);
}
