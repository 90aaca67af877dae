namespace Tessera.Kernel.Store;

/// <summary>
/// What one domain may take of the store; the numbers are xenstored's. Domain 0 is not bound by them. A request beyond one gets an error;
/// a domain that does not read its answers is not read either.
/// </summary>
internal sealed record StoreQuota
{
    /// <summary>Nodes it owns.</summary>
    public int Nodes { get; init; } = 1000;

    /// <summary>Bytes of one value.</summary>
    public int ValueBytes { get; init; } = 2048;

    /// <summary>Entries of one node's permissions.</summary>
    public int Permissions { get; init; } = 5;

    /// <summary>Watches it has set.</summary>
    public int Watches { get; init; } = 128;

    /// <summary>Transactions it has open.</summary>
    public int Transactions { get; init; } = 10;

    /// <summary>Nodes one transaction looks at, and changes it makes.</summary>
    public int TransactionSteps { get; init; } = 1024;

    /// <summary>Names in the paths of those, all together: a commit may have to walk them all once more while everybody waits.</summary>
    public int TransactionNames { get; init; } = 8192;

    /// <summary>Bytes that all its open transactions keep together: paths, values and what is kept with each.</summary>
    public int TransactionBytes { get; init; } = 1 << 20;

    /// <summary>Answers it has not taken, after which its requests wait.</summary>
    public int Outstanding { get; init; } = 20;

    /// <summary>Watch events it has not taken; beyond them a watch's events become one, of the watched path itself.</summary>
    public int Events { get; init; } = 256;

    /// <summary>Requests it may make at once; beyond them they come at <see cref="RequestsPerSecond"/>.</summary>
    public int Burst { get; init; } = 4000;

    /// <summary>Nodes that one request may walk, copy or fire at; one that takes more counts as so many requests more.</summary>
    public int StepsPerRequest { get; init; } = 64;

    /// <summary>Sustained requests a second: what one domain's flood costs the machine is bounded by this and not by the guest's speed.</summary>
    public int RequestsPerSecond { get; init; } = 2000;
}
