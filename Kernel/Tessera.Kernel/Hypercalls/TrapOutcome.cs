namespace Tessera.Kernel.Hypercalls;

/// <summary>What a physical CPU does after a trap was handled.</summary>
internal enum TrapOutcome
{
    /// <summary>Runs the same vCPU on.</summary>
    Resume,

    /// <summary>Asks the scheduler: the vCPU blocked, yielded or was preempted.</summary>
    Reschedule,

    /// <summary>The domain ended.</summary>
    Ended,
}
