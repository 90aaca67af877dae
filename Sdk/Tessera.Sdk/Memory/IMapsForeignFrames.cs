namespace Tessera.Sdk.Memory;

/// <summary>
/// Optional power of an <see cref="IDomainMmu"/>: level-1 entries that map frames which the kernel vouches for (another domain's, by a
/// grant), under numbers above the domain's own. They hold no reference of the domain's; the guest itself can never make one, and one that
/// the guest overwrites is simply gone.
/// </summary>
/// <remarks>Called under the domain's lock, as the rest of the MMU.</remarks>
public interface IMapsForeignFrames
{
    /// <summary>Writes an entry that maps a vouched-for frame; what was mapped there before is let go.</summary>
    /// <param name="entryAddress">Machine address of an entry in one of the domain's level-1 tables.</param>
    /// <param name="entry">A present entry in the form the CPU sees.</param>
    /// <returns>EPERM when the table is not the domain's, EINVAL when it is no level-1 table or the address is not an entry's.</returns>
    XenErrno MapForeign(ulong entryAddress, ulong entry);

    /// <summary>Takes such an entry away.</summary>
    /// <param name="entryAddress">Machine address of the entry.</param>
    /// <param name="frame">The frame it must map.</param>
    /// <param name="isWritable">Whether it must be writable.</param>
    /// <param name="replacement">Machine address of an entry that moves here with all it holds, and is cleared there; 0 for none.</param>
    /// <returns>EINVAL when one of the two is not such an entry.</returns>
    XenErrno UnmapForeign(ulong entryAddress, Mfn frame, bool isWritable, ulong replacement);
}
