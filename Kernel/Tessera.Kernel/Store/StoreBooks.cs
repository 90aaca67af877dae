using System.Collections.Immutable;
using Tessera.Sdk;

namespace Tessera.Kernel.Store;

/// <summary>What the store knows of one domain.</summary>
internal sealed class StoreAccount
{
    public int Nodes { get; set; }

    public int Watches { get; set; }

    public int Transactions { get; set; }

    /// <summary>Bytes that its open transactions keep.</summary>
    public int TransactionBytes { get; set; }

    /// <summary>Nodes that were walked, copied or fired at for it so far.</summary>
    public long Steps { get; set; }

    /// <summary>The domain whose rights it has beside its own (SET_TARGET).</summary>
    public DomainId? Target { get; set; }

    public bool IsIntroduced { get; set; }

    /// <summary>Its end was announced; RESUME takes that back.</summary>
    public bool IsEndAnnounced { get; set; }
}

/// <summary>Accounts of the domains, their rights, and the count of changes. Guarded by the store's gate.</summary>
internal sealed class StoreBooks(StoreQuota quota)
{
    private readonly Dictionary<DomainId, StoreAccount> _accounts = [];
    private ulong _stamp;

    public StoreQuota Quota { get; } = quota;

    /// <summary>Whether no quota and no permission binds a domain.</summary>
    public static bool IsPrivileged(DomainId domain) => domain.Value == 0;

    /// <summary>A number for the next change; 0 is never one.</summary>
    public ulong NextStamp() => ++_stamp;

    public StoreAccount Of(DomainId domain)
    {
        if (!_accounts.TryGetValue(domain, out StoreAccount? account))
            _accounts[domain] = account = new StoreAccount();
        return account;
    }

    public StoreAccount? Find(DomainId domain) => _accounts.GetValueOrDefault(domain);

    /// <summary>So many nodes were walked, copied or fired at for a domain.</summary>
    public void Charge(DomainId domain, int steps) => Of(domain).Steps += steps;

    public void Forget(DomainId domain) => _accounts.Remove(domain);

    /// <summary>Whether a domain, or its target, owns what has these permissions.</summary>
    public bool Owns(DomainId domain, ImmutableArray<StorePermission> permissions) =>
        IsPrivileged(domain) || permissions[0].Domain == domain || (_accounts.TryGetValue(domain, out StoreAccount? account) && account.Target == permissions[0].Domain);

    /// <summary>Whether a domain, or its target, may do this.</summary>
    public bool May(DomainId domain, ImmutableArray<StorePermission> permissions, StoreAccess access) =>
        Owns(domain, permissions)
        || (Granted(domain, permissions) & access) == access
        || (_accounts.TryGetValue(domain, out StoreAccount? account) && account.Target is { } target && (Granted(target, permissions) & access) == access);

    private static StoreAccess Granted(DomainId domain, ImmutableArray<StorePermission> permissions)
    {
        for (int index = 1; index < permissions.Length; index++)
        {
            if (permissions[index].Domain == domain)
                return permissions[index].Access;
        }

        return permissions[0].Access;
    }
}
