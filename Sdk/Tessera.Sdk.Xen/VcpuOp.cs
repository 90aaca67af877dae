namespace Tessera.Sdk.Xen;

/// <summary>Sub-ops of <see cref="Hypercall.VcpuOp"/> (public/vcpu.h): rdi sub-op, rsi vCPU, rdx argument.</summary>
public enum VcpuOp
{
    Initialise = 0,
    Up = 1,
    Down = 2,
    IsUp = 3,
    GetRunstateInfo = 4,
    RegisterRunstateMemoryArea = 5,
    SetPeriodicTimer = 6,
    StopPeriodicTimer = 7,
    SetSingleshotTimer = 8,
    StopSingleshotTimer = 9,
    RegisterVcpuInfo = 10,
    SendNmi = 11,
    GetPhysid = 12,
    RegisterVcpuTimeMemoryArea = 13,
}

/// <summary>Flags of VCPUOP_set_singleshot_timer (VCPU_SSHOTTMR_*).</summary>
[Flags]
public enum SingleshotTimerFlags : uint
{
    None = 0,

    /// <summary>A deadline in the past is -ETIME instead of an event at once.</summary>
    Future = 1U << 0,
}

/// <summary>A vCPU's run states (RUNSTATE_*).</summary>
public enum RunState
{
    Running = 0,
    Runnable = 1,
    Blocked = 2,
    Offline = 3,
}
