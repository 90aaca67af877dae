namespace Tessera.Sdk.Xen;

/// <summary>Offsets in start_info (public/xen.h), the page a PV guest gets in RSI.</summary>
public static class StartInfo
{
    /// <summary>char[32], "xen-3.0-x86_64".</summary>
    public const int Magic = 0;

    /// <summary>Frames allocated to the domain.</summary>
    public const int NrPages = 32;

    /// <summary>Machine address of the shared_info frame.</summary>
    public const int SharedInfo = 40;

    /// <summary>uint32 <see cref="StartInfoFlags"/>.</summary>
    public const int Flags = 48;

    public const int StoreMfn = 56;

    /// <summary>uint32.</summary>
    public const int StoreEventChannel = 64;

    public const int ConsoleMfn = 72;

    /// <summary>uint32.</summary>
    public const int ConsoleEventChannel = 80;

    /// <summary>Virtual address of the L4 table.</summary>
    public const int PtBase = 88;

    /// <summary>Frames of the boot page tables, from the L4 on.</summary>
    public const int NrPtFrames = 96;

    /// <summary>Virtual address of the p2m list.</summary>
    public const int MfnList = 104;

    /// <summary>The initial ramdisk: virtual address, or frame number with <see cref="StartInfoFlags.ModStartPfn"/>.</summary>
    public const int ModStart = 112;

    /// <summary>Bytes.</summary>
    public const int ModLen = 120;

    /// <summary>char[1024].</summary>
    public const int CommandLine = 128;

    public const int FirstP2mPfn = 1152;
    public const int NrP2mFrames = 1160;
    public const int Size = 1168;
}

/// <summary>Flags in start_info (SIF_*).</summary>
[Flags]
public enum StartInfoFlags : uint
{
    None = 0,
    Privileged = 1 << 0,
    InitialDomain = 1 << 1,
    MultibootModule = 1 << 2,
    ModStartPfn = 1 << 3,
    VirtualP2mForTools = 1 << 4,
}

/// <summary>Offsets in shared_info (public/xen.h), one frame a domain.</summary>
public static class SharedInfo
{
    /// <summary>32 times <see cref="Xen.VcpuInfo"/>.</summary>
    public const int VcpuInfo = 0;

    /// <summary>vCPUs that have their vcpu_info here.</summary>
    public const int LegacyVcpus = 32;

    /// <summary>uint64[64].</summary>
    public const int EventPending = 2048;

    /// <summary>uint64[64].</summary>
    public const int EventMask = 2560;

    /// <summary>Words in each bitmap; a port is 64 × word + bit (2-level ABI).</summary>
    public const int EventWords = 64;

    /// <summary>uint32, odd while the wall clock changes.</summary>
    public const int WallClockVersion = 3072;

    /// <summary>uint32: seconds since 1970 at system time 0.</summary>
    public const int WallClockSeconds = 3076;

    /// <summary>uint32.</summary>
    public const int WallClockNanoseconds = 3080;

    /// <summary>uint32.</summary>
    public const int WallClockSecondsHigh = 3084;

    /// <summary>arch.max_pfn.</summary>
    public const int MaxPfn = 3088;

    public const int P2mFrameListList = 3096;
    public const int NmiReason = 3104;
    public const int P2mCr3 = 3112;
    public const int P2mVaddr = 3120;
    public const int P2mGeneration = 3128;
    public const int Size = 3136;
}

/// <summary>Offsets in vcpu_info (public/xen.h).</summary>
public static class VcpuInfo
{
    /// <summary>byte.</summary>
    public const int UpcallPending = 0;

    /// <summary>byte: no upcall while not 0.</summary>
    public const int UpcallMask = 1;

    /// <summary>uint64: which words of the pending bitmap to look at.</summary>
    public const int PendingSelector = 8;

    /// <summary>uint64: address of the last page fault.</summary>
    public const int Cr2 = 16;

    /// <summary><see cref="VcpuTimeInfo"/>.</summary>
    public const int Time = 32;

    public const int Size = 64;
}

/// <summary>Offsets in vcpu_time_info (public/xen.h). System time = SystemTime + ((tsc − TscTimestamp) shifted left by TscShift) × TscToSystemMul / 2^32.</summary>
public static class VcpuTimeInfo
{
    /// <summary>uint32, odd while the rest changes.</summary>
    public const int Version = 0;

    public const int TscTimestamp = 8;

    /// <summary>Nanoseconds at TscTimestamp.</summary>
    public const int SystemTime = 16;

    /// <summary>uint32 fraction of 2^32.</summary>
    public const int TscToSystemMul = 24;

    /// <summary>sbyte; negative shifts right.</summary>
    public const int TscShift = 28;

    /// <summary>byte; bit 0: reads agree over all CPUs (XEN_PVCLOCK_TSC_STABLE_BIT).</summary>
    public const int Flags = 29;

    public const int Size = 32;
}

/// <summary>Offsets in vcpu_runstate_info (public/vcpu.h).</summary>
public static class VcpuRunStateInfo
{
    /// <summary>int32 <see cref="RunState"/>.</summary>
    public const int State = 0;

    /// <summary>uint64 ns; bit 63 set while being updated, if the guest enabled that.</summary>
    public const int StateEntryTime = 8;

    /// <summary>uint64[4]: ns in each state.</summary>
    public const int Time = 16;

    public const int Size = 48;
}

/// <summary>Offsets in the console's shared page (public/io/console.h).</summary>
public static class ConsoleRing
{
    /// <summary>char[1024]: from the VMM to the guest.</summary>
    public const int In = 0;

    public const int InSize = 1024;

    /// <summary>char[2048]: from the guest.</summary>
    public const int Out = 1024;

    public const int OutSize = 2048;

    /// <summary>uint32, free running like the other three.</summary>
    public const int InCons = 3072;

    public const int InProd = 3076;
    public const int OutCons = 3080;
    public const int OutProd = 3084;
}

/// <summary>Offsets in the store's shared page (public/io/xs_wire.h).</summary>
public static class StoreRing
{
    /// <summary>char[1024].</summary>
    public const int Request = 0;

    /// <summary>char[1024].</summary>
    public const int Response = 1024;

    public const int RingSize = 1024;

    /// <summary>uint32, free running like the other three.</summary>
    public const int RequestCons = 2048;

    public const int RequestProd = 2052;
    public const int ResponseCons = 2056;
    public const int ResponseProd = 2060;
    public const int ServerFeatures = 2064;
    public const int Connection = 2068;
    public const int Error = 2072;
}
