using Tessera.Plugins.Block.CopyOnWrite;
using Tessera.Sdk.Devices;

namespace Tessera.Block.Tests;

/// <summary>An opening of a medium, which a crash ends: what a dead machine still writes reaches nothing.</summary>
internal sealed class CrashingFile(CrashingMedium medium) : IOverlayFile
{
    private readonly int _crashes = medium.Crashes;

    private bool IsDead => medium.Crashes != _crashes;

    public BlockStatus Read(long position, ReadOnlySpan<Memory<byte>> segments, long skip, long length, int worker) =>
        IsDead ? BlockStatus.IoError : medium.Read(position, segments, skip, length);

    public BlockStatus Write(long position, ReadOnlySpan<Memory<byte>> segments, long skip, long length, int worker) =>
        IsDead ? BlockStatus.IoError : medium.Write(position, segments, skip, length);

    public BlockStatus Zero(long position, long length, int worker) => IsDead ? BlockStatus.IoError : medium.Zero(position, length);

    public BlockStatus Synchronize() => IsDead ? BlockStatus.IoError : medium.Synchronize();

    public bool TryReadCached(long position, ReadOnlySpan<Memory<byte>> segments, long length) => false;

    public void Dispose()
    {
        // The medium outlives its openings.
    }
}

/// <summary>Storage in memory with a cache that a crash loses: any of the sectors written since, in any order, and some of their versions.</summary>
internal sealed class CrashingMedium(int size)
{
    private const int Sector = 512;

    private readonly Lock _gate = new();
    private readonly byte[] _stable = new byte[size];
    private readonly byte[] _cached = new byte[size];
    private readonly List<(int Position, byte[] Bytes)> _unstable = [];

    /// <summary>Crashes so far.</summary>
    public int Crashes { get; private set; }

    public BlockStatus Read(long position, ReadOnlySpan<Memory<byte>> segments, long skip, long length)
    {
        if (position + length > size)
            return BlockStatus.IoError;
        lock (_gate)
        {
            int at = (int)position;
            foreach (Memory<byte> piece in Pieces(segments, skip, length))
            {
                _cached.AsSpan(at, piece.Length).CopyTo(piece.Span);
                at += piece.Length;
            }
        }

        return BlockStatus.Ok;
    }

    public BlockStatus Write(long position, ReadOnlySpan<Memory<byte>> segments, long skip, long length)
    {
        // One write, however its memory lies: what a crash tears are the storage's sectors.
        byte[] bytes = [.. Pieces(segments, skip, length).SelectMany(piece => piece.ToArray())];
        lock (_gate)
            Put((int)position, bytes);
        return BlockStatus.Ok;
    }

    public BlockStatus Zero(long position, long length)
    {
        lock (_gate)
            Put((int)position, new byte[length]);
        return BlockStatus.Ok;
    }

    public BlockStatus Synchronize()
    {
        lock (_gate)
        {
            _cached.CopyTo(_stable, 0);
            _unstable.Clear();
        }

        return BlockStatus.Ok;
    }

    public void Crash(Random random)
    {
        lock (_gate)
        {
            // Every sector of every write reaches the storage or not, in the order of writing: so a sector may end with any of its versions.
            int chance = random.Next(5);
            foreach ((int position, byte[] bytes) in _unstable)
            {
                for (int from = 0; from < bytes.Length;)
                {
                    int length = Math.Min(bytes.Length - from, Sector - ((position + from) % Sector));
                    if (random.Next(4) < chance)
                        bytes.AsSpan(from, length).CopyTo(_stable.AsSpan(position + from));
                    from += length;
                }
            }

            _unstable.Clear();
            _stable.CopyTo(_cached, 0);
            Crashes++;
        }
    }

    private void Put(int position, ReadOnlySpan<byte> bytes)
    {
        bytes.CopyTo(_cached.AsSpan(position));
        _unstable.Add((position, bytes.ToArray()));
    }

    private static List<Memory<byte>> Pieces(ReadOnlySpan<Memory<byte>> segments, long skip, long length)
    {
        List<Memory<byte>> pieces = [];
        foreach (Memory<byte> segment in segments)
        {
            if (skip >= segment.Length)
            {
                skip -= segment.Length;
                continue;
            }

            Memory<byte> piece = segment[(int)skip..];
            piece = piece[..(int)Math.Min(piece.Length, length)];
            length -= piece.Length;
            skip = 0;
            if (piece.Length > 0)
                pieces.Add(piece);
        }

        return pieces;
    }
}
