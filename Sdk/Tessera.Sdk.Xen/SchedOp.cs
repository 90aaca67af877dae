namespace Tessera.Sdk.Xen;

/// <summary>Sub-ops of <see cref="Hypercall.SchedOp"/> (public/sched.h).</summary>
public enum SchedOp
{
    /// <summary>Gives the CPU up; the vCPU stays runnable.</summary>
    Yield = 0,

    /// <summary>Clears the upcall mask and waits for an event.</summary>
    Block = 1,

    /// <summary>Argument: uint32 <see cref="ShutdownReason"/>.</summary>
    Shutdown = 2,

    /// <summary>Waits for one of a list of ports, or a timeout, without an upcall (<see cref="SchedPoll"/>).</summary>
    Poll = 3,

    RemoteShutdown = 4,

    /// <summary>Latches the reason without shutting down.</summary>
    ShutdownCode = 5,

    Watchdog = 6,
    PinOverride = 7,
}

/// <summary>Why a domain shuts down (public/sched.h, SHUTDOWN_*).</summary>
public enum ShutdownReason
{
    Poweroff = 0,
    Reboot = 1,
    Suspend = 2,
    Crash = 3,
    Watchdog = 4,
    SoftReset = 5,
}
