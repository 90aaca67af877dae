using Tessera.Plugins.Block.Nbd.Native;
using Tessera.Sdk.Devices;

namespace Tessera.Plugins.Block.Nbd;

/// <summary>How much one command may ask of a server: what it said at the handshake, and no more than this side likes. Another connection may have others.</summary>
/// <param name="DataBytes">Bytes of a command that carries data; whole sectors.</param>
/// <param name="ClearedBytes">Bytes of a command that carries none: zeroes and discards; whole sectors.</param>
/// <param name="ClearsItself">Whether the server knows a command for zeroes; else they are sent as data.</param>
internal readonly record struct NbdLimits(int DataBytes, long ClearedBytes, bool ClearsItself)
{
    /// <summary>The most that this side asks for at once.</summary>
    public const int MostDataBytes = 1 << 20;

    private const long MostClearedBytes = 1 << 30;

    /// <summary>What a server says to be no bound.</summary>
    private const long Unbounded = uint.MaxValue;

    /// <summary>Reads a connection's.</summary>
    /// <param name="handle">A connection.</param>
    /// <param name="sector">The disk's sector size.</param>
    /// <param name="limits">What they are.</param>
    /// <returns>False when the server takes less than a sector at once.</returns>
    public static bool TryRead(NbdHandle handle, int sector, out NbdLimits limits)
    {
        long most = LibnbdNative.GetBlockSize(handle, LibnbdNative.SizeMaximum);
        // 0 and less: it said nothing.
        if (most <= 0 || most == Unbounded)
            most = long.MaxValue;
        most = most / sector * sector;
        limits = new((int)Math.Min(most, MostDataBytes), Math.Min(most, MostClearedBytes), LibnbdNative.CanZero(handle) == 1);
        return most > 0;
    }

    /// <summary>What one command of an operation may have, bytes.</summary>
    public long Of(BlockOperation operation) => operation switch
    {
        BlockOperation.Discard => ClearedBytes,
        BlockOperation.WriteZeroes when ClearsItself => ClearedBytes,
        _ => DataBytes,
    };
}
