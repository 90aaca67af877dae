namespace Tessera.Sdk.Memory;

/// <summary>What an <see cref="IDomainMmu"/> promises of its own running time.</summary>
public static class MmuLimits
{
    /// <summary>Page-table entries that one operation looks at before it leaves the rest to <see cref="IDomainMmu.Work"/>.</summary>
    public const int EntriesAtOnce = 1024;
}
