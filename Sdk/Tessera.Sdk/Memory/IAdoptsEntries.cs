namespace Tessera.Sdk.Memory;

/// <summary>
/// An optional capability of an <see cref="IDomainMmu"/>: it takes page-table entries into its accounts that the guest wrote itself, through a
/// mapping the kernel gave its own code inside the guest. Nothing about them is believed: they are checked here, late, and a wrong one
/// costs the domain its life.
/// </summary>
public interface IAdoptsEntries
{
    /// <summary>
    /// Accounts for one entry of an L1 table that was not present before and is now. Called under the domain's lock, in the order of the
    /// writes, before any other operation on the domain's frames.
    /// </summary>
    /// <param name="entryAddress">Machine address of the entry, as the guest tells it.</param>
    /// <param name="value">What it wrote.</param>
    /// <returns>False when an update by hypercall would have been refused, or memory holds something else: the domain must not go on.</returns>
    bool TryAdopt(ulong entryAddress, ulong value);
}

/// <summary>A guest's page tables hold what it was never allowed to write. The domain dies of it; nobody else is concerned.</summary>
public sealed class TamperedTablesException : Exception
{
    /// <summary>Says what was found.</summary>
    public TamperedTablesException(string message)
        : base(message)
    {
    }
}
