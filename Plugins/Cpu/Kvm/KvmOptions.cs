using Tessera.Sdk.Plugins;

namespace Tessera.Plugins.Cpu.Kvm;

/// <summary>How changes of page tables are made effective.</summary>
public enum PagingChoice
{
    /// <summary>What the probe finds to work, the cheapest first.</summary>
    Probe,

    /// <summary>A TLB flush: right with EPT or NPT.</summary>
    Flush,

    /// <summary>Rewrite each downgraded entry from inside the machine: right where KVM shadows page tables.</summary>
    Rewrite,

    /// <summary>Both: right where KVM lets shadowed tables go out of step until a flush.</summary>
    RewriteAndFlush,
}

/// <summary>Options of the KVM engine.</summary>
public sealed record KvmOptions
{
    /// <summary>How changes of page tables are made effective.</summary>
    [Option("How changes of page tables are made effective: Probe finds out; Flush is for EPT and NPT, Rewrite and RewriteAndFlush for shadow paging.")]
    public PagingChoice Paging { get; init; } = PagingChoice.Probe;
}
