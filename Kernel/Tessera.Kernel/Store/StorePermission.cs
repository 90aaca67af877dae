using System.Collections.Immutable;
using System.Globalization;
using Tessera.Sdk;

namespace Tessera.Kernel.Store;

/// <summary>What a domain may do with a node of the store.</summary>
[Flags]
public enum StoreAccess
{
    /// <summary>Nothing: the letter n.</summary>
    None = 0,

    /// <summary>The letter r.</summary>
    Read = 1,

    /// <summary>The letter w.</summary>
    Write = 2,

    /// <summary>Both: the letter b.</summary>
    Both = Read | Write,
}

/// <summary>
/// One entry of a node's permissions. The first of a node names its owner, who may do everything, and what all domains may that no later
/// entry names (Xen's docs/misc/xenstore.txt).
/// </summary>
/// <param name="Domain">Whom it is about.</param>
/// <param name="Access">What they may do; in the first entry, what everybody else may do.</param>
public readonly record struct StorePermission(DomainId Domain, StoreAccess Access)
{
    /// <summary>A node of this domain alone.</summary>
    public static ImmutableArray<StorePermission> OwnedBy(DomainId owner) => [new StorePermission(owner, StoreAccess.None)];

    /// <summary>A node of one domain that another may read: how a device's two ends show each other their halves.</summary>
    public static ImmutableArray<StorePermission> OwnedAndReadBy(DomainId owner, DomainId reader) =>
        [new StorePermission(owner, StoreAccess.None), new StorePermission(reader, StoreAccess.Read)];

    /// <summary>Reads the wire form: a letter of n, r, w, b and a decimal domain id.</summary>
    public static bool TryParse(string text, out StorePermission permission)
    {
        permission = default;
        if (text.Length < 2 || !ushort.TryParse(text.AsSpan(1), NumberStyles.None, CultureInfo.InvariantCulture, out ushort domain))
            return false;
        int access = "nrwb".IndexOf(text[0], StringComparison.Ordinal);
        permission = new StorePermission(new DomainId(domain), (StoreAccess)access);
        return access >= 0;
    }

    /// <summary>The wire form.</summary>
    public override string ToString() => $"{"nrwb"[(int)Access]}{Domain.Value}";
}
