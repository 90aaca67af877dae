namespace Tessera.Kernel.FastPath;

/// <summary>Whether leaf hypercalls are answered inside the guest, by ring-3 code of the VMM's behind its `syscall`.</summary>
public enum FastPathMode
{
    /// <summary>Where the engine says that exits are dear and `syscall` stays in ring 3.</summary>
    Auto,

    /// <summary>Never: every hypercall is an exit, and the guest's kernel cannot reach its own page tables at all.</summary>
    Off,
}
