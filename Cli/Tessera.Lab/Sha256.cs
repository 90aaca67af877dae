using System.Buffers.Binary;
using System.Numerics;

namespace Tessera.Lab;

/// <summary>
/// SHA-256 (FIPS 180-4) without the system's libraries: .NET's own ends the process on a host without OpenSSL, and reports and fetched packages need this very hash.
/// For data that is public; it takes no care to hide what it hashes.
/// </summary>
public sealed class Sha256
{
    private const int BlockBytes = 64;

    private static readonly uint[] Constants = [.. Roots(64, 3)];

    private readonly uint[] _state = [.. Roots(8, 2)];
    private readonly byte[] _block = new byte[BlockBytes];
    private readonly uint[] _schedule = new uint[64];
    private int _filled;
    private ulong _bytes;

    /// <summary>The 32 bytes of some data.</summary>
    public static byte[] Hash(ReadOnlySpan<byte> data)
    {
        Sha256 hash = new();
        hash.Append(data);
        return hash.End();
    }

    /// <summary>The 32 bytes of what a stream still holds.</summary>
    public static byte[] Hash(Stream data)
    {
        ArgumentNullException.ThrowIfNull(data);
        Sha256 hash = new();
        byte[] buffer = new byte[1 << 16];
        while (data.Read(buffer) is > 0 and var count)
            hash.Append(buffer.AsSpan(0, count));
        return hash.End();
    }

    /// <summary>Takes more data.</summary>
    public void Append(ReadOnlySpan<byte> data)
    {
        _bytes += (ulong)data.Length;
        while (!data.IsEmpty)
        {
            int count = Math.Min(data.Length, BlockBytes - _filled);
            data[..count].CopyTo(_block.AsSpan(_filled));
            data = data[count..];
            if ((_filled += count) == BlockBytes)
                Mix();
        }
    }

    /// <summary>Gives the hash; nothing may be appended afterwards.</summary>
    public byte[] End()
    {
        ulong bits = _bytes * 8;
        _block[_filled++] = 0x80;
        _block.AsSpan(_filled).Clear();
        if (_filled > BlockBytes - sizeof(ulong))
        {
            Mix();
            _block.AsSpan().Clear();
        }

        BinaryPrimitives.WriteUInt64BigEndian(_block.AsSpan(BlockBytes - sizeof(ulong)), bits);
        Mix();
        byte[] hash = new byte[32];
        for (int word = 0; word < 8; word++)
            BinaryPrimitives.WriteUInt32BigEndian(hash.AsSpan(word * 4), _state[word]);
        return hash;
    }

    private void Mix()
    {
        uint[] w = _schedule;
        for (int i = 0; i < 16; i++)
            w[i] = BinaryPrimitives.ReadUInt32BigEndian(_block.AsSpan(i * 4));
        for (int i = 16; i < 64; i++)
        {
            uint early = w[i - 15], late = w[i - 2];
            w[i] = w[i - 16] + w[i - 7]
                + (BitOperations.RotateRight(early, 7) ^ BitOperations.RotateRight(early, 18) ^ (early >> 3))
                + (BitOperations.RotateRight(late, 17) ^ BitOperations.RotateRight(late, 19) ^ (late >> 10));
        }

        (uint a, uint b, uint c, uint d) = (_state[0], _state[1], _state[2], _state[3]);
        (uint e, uint f, uint g, uint h) = (_state[4], _state[5], _state[6], _state[7]);
        for (int i = 0; i < 64; i++)
        {
            uint first = h + (BitOperations.RotateRight(e, 6) ^ BitOperations.RotateRight(e, 11) ^ BitOperations.RotateRight(e, 25)) + ((e & f) ^ (~e & g)) + Constants[i] + w[i];
            uint second = (BitOperations.RotateRight(a, 2) ^ BitOperations.RotateRight(a, 13) ^ BitOperations.RotateRight(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
            (h, g, f, e, d, c, b, a) = (g, f, e, d + first, c, b, a, first + second);
        }

        (_state[0], _state[1], _state[2], _state[3]) = (_state[0] + a, _state[1] + b, _state[2] + c, _state[3] + d);
        (_state[4], _state[5], _state[6], _state[7]) = (_state[4] + e, _state[5] + f, _state[6] + g, _state[7] + h);
        _filled = 0;
    }

    /// <summary>The standard's constants: the first 32 bits of the fractions of the first primes' square or cube roots.</summary>
    private static IEnumerable<uint> Roots(int count, int degree)
    {
        for (int number = 2, found = 0; found < count; number++)
        {
            if (Enumerable.Range(2, number - 2).Any(divisor => number % divisor == 0))
                continue;
            found++;
            yield return Fraction(number, degree);
        }
    }

    private static uint Fraction(int prime, int degree)
    {
        // The greatest integer whose power does not exceed the prime times 2 to the 32 times the degree.
        BigInteger target = (BigInteger)prime << (32 * degree);
        BigInteger root = 0;
        for (int bit = 40; bit >= 0; bit--)
        {
            BigInteger trial = root | (BigInteger.One << bit);
            if (BigInteger.Pow(trial, degree) <= target)
                root = trial;
        }

        return (uint)(root & uint.MaxValue);
    }
}
