using Tessera.Sdk.Devices;

namespace Tessera.Plugins.Block.CopyOnWrite;

/// <summary>
/// The file calls that the overlay stands on, and all of them: what is written may reach storage in any order until
/// <see cref="Synchronize"/> returns. Thread-safe for one worker number each. A seam, so that tests can crash it at any moment.
/// </summary>
internal interface IOverlayFile : IDisposable
{
    BlockStatus Read(long position, ReadOnlySpan<Memory<byte>> segments, long skip, long length, int worker);

    BlockStatus Write(long position, ReadOnlySpan<Memory<byte>> segments, long skip, long length, int worker);

    BlockStatus Zero(long position, long length, int worker);

    /// <summary>Waits until all that was written is stable.</summary>
    BlockStatus Synchronize();

    /// <summary>Reads without waiting for storage, or not at all.</summary>
    bool TryReadCached(long position, ReadOnlySpan<Memory<byte>> segments, long length);
}
