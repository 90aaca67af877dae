namespace Tessera.Sdk.Devices;

/// <summary>
/// Optional power of an <see cref="IBlockBackend"/> (<see cref="IBlockBackend.TryGet"/>): its storage may become larger while a guest uses
/// it. It never becomes smaller.
/// </summary>
public interface IGrowingStorage
{
    /// <summary>
    /// Looks again how large the storage is. From then on requests up to there are carried out. The geometry is otherwise what <see cref="IBlockBackend.Open"/>
    /// said. Called while requests are under way, one call at a time; may block.
    /// </summary>
    /// <returns>The disk's size in bytes: a multiple of its sector size, and no less than before.</returns>
    long Grow();
}
