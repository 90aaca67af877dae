namespace Tessera.Sdk.Xen;

/// <summary>Argument layouts of event_channel_op: offsets and sizes.</summary>
public static class EventChannelLayout
{
    /// <summary>uint16.</summary>
    public const int AllocUnboundDomain = 0;

    /// <summary>uint16.</summary>
    public const int AllocUnboundRemoteDomain = 2;

    /// <summary>uint32, out.</summary>
    public const int AllocUnboundPort = 4;

    public const int AllocUnboundSize = 8;

    /// <summary>uint16.</summary>
    public const int BindInterdomainRemoteDomain = 0;

    /// <summary>uint32.</summary>
    public const int BindInterdomainRemotePort = 4;

    /// <summary>uint32, out.</summary>
    public const int BindInterdomainLocalPort = 8;

    public const int BindInterdomainSize = 12;

    /// <summary>uint32 <see cref="Virq"/>.</summary>
    public const int BindVirqVirq = 0;

    /// <summary>uint32.</summary>
    public const int BindVirqVcpu = 4;

    /// <summary>uint32, out.</summary>
    public const int BindVirqPort = 8;

    public const int BindVirqSize = 12;

    /// <summary>uint32.</summary>
    public const int BindIpiVcpu = 0;

    /// <summary>uint32, out.</summary>
    public const int BindIpiPort = 4;

    public const int BindIpiSize = 8;

    /// <summary>uint32; the same layout serves send and unmask.</summary>
    public const int ClosePort = 0;

    public const int CloseSize = 4;

    /// <summary>uint16.</summary>
    public const int StatusDomain = 0;

    /// <summary>uint32.</summary>
    public const int StatusPort = 4;

    /// <summary>uint32 out, <see cref="EventChannelState"/>.</summary>
    public const int StatusState = 8;

    /// <summary>uint32, out.</summary>
    public const int StatusVcpu = 12;

    /// <summary>uint32 out: virq, pirq or remote domain; the remote port follows at 20.</summary>
    public const int StatusDetail = 16;

    public const int StatusSize = 24;

    /// <summary>uint32.</summary>
    public const int BindVcpuPort = 0;

    /// <summary>uint32.</summary>
    public const int BindVcpuVcpu = 4;

    public const int BindVcpuSize = 8;

    /// <summary>Ports of a domain in the 2-level ABI.</summary>
    public const int MaxPorts = 4096;
}

/// <summary>Argument of VCPUOP_set_singleshot_timer.</summary>
public static class SingleshotTimer
{
    /// <summary>uint64: absolute system time in ns.</summary>
    public const int TimeoutAbs = 0;

    /// <summary>uint32 <see cref="SingleshotTimerFlags"/>.</summary>
    public const int Flags = 8;

    public const int Size = 16;
}

/// <summary>Argument of VCPUOP_register_vcpu_info.</summary>
public static class RegisterVcpuInfo
{
    /// <summary>uint64.</summary>
    public const int Mfn = 0;

    /// <summary>uint32, within the frame.</summary>
    public const int Offset = 8;

    public const int Size = 16;
}

/// <summary>Argument of SCHEDOP_poll.</summary>
public static class SchedPoll
{
    /// <summary>Address of uint32[].</summary>
    public const int Ports = 0;

    /// <summary>uint32.</summary>
    public const int NrPorts = 8;

    /// <summary>uint64: absolute system time in ns; 0 for none.</summary>
    public const int Timeout = 16;

    public const int Size = 24;
}

/// <summary>Offsets in multicall_entry.</summary>
public static class MultiCallEntry
{
    public const int Op = 0;
    public const int Result = 8;

    /// <summary>uint64[6].</summary>
    public const int Args = 16;

    public const int Size = 64;
}

/// <summary>Offsets in mmu_update.</summary>
public static class MmuUpdateEntry
{
    /// <summary>Machine address of the entry; bits 0 and 1 are the <see cref="MmuUpdateKind"/>.</summary>
    public const int Pointer = 0;

    public const int Value = 8;
    public const int Size = 16;
}

/// <summary>Offsets in mmuext_op.</summary>
public static class MmuExtEntry
{
    /// <summary>uint32 <see cref="MmuExtOp"/>.</summary>
    public const int Command = 0;

    /// <summary>Frame or linear address.</summary>
    public const int Argument1 = 8;

    /// <summary>Entries, vCPU mask or source frame.</summary>
    public const int Argument2 = 16;

    public const int Size = 24;
}

/// <summary>Offsets in xen_memory_reservation.</summary>
public static class MemoryReservation
{
    /// <summary>Address of the frame list.</summary>
    public const int ExtentStart = 0;

    public const int NrExtents = 8;

    /// <summary>uint32.</summary>
    public const int ExtentOrder = 16;

    /// <summary>uint32.</summary>
    public const int MemFlags = 20;

    /// <summary>uint16.</summary>
    public const int DomainId = 24;

    public const int Size = 32;
}

/// <summary>Offsets in xen_machphys_mapping.</summary>
public static class MachphysMapping
{
    public const int Start = 0;
    public const int End = 8;
    public const int MaxMfn = 16;
    public const int Size = 24;
}

/// <summary>Offsets in xen_memory_map.</summary>
public static class MemoryMap
{
    /// <summary>uint32, in and out.</summary>
    public const int NrEntries = 0;

    public const int Buffer = 8;
    public const int Size = 16;
}

/// <summary>Offsets in callback_register.</summary>
public static class CallbackRegister
{
    /// <summary>uint16 <see cref="CallbackType"/>.</summary>
    public const int Type = 0;

    /// <summary>uint16 <see cref="CallbackFlags"/>.</summary>
    public const int Flags = 2;

    public const int Address = 8;
    public const int Size = 16;
}

/// <summary>Layouts of grant entries and grant_table_op arguments.</summary>
public static class GrantLayout
{
    /// <summary>uint16 <see cref="GrantEntryFlags"/>.</summary>
    public const int EntryFlags = 0;

    /// <summary>uint16.</summary>
    public const int EntryDomain = 2;

    /// <summary>uint32.</summary>
    public const int EntryFrame = 4;

    public const int EntrySize = 8;

    /// <summary>Entries that keep their meaning over a change of version (console, store).</summary>
    public const int ReservedEntries = 8;

    /// <summary>Version 2: uint16, first byte of a sub-page grant.</summary>
    public const int Entry2PageOffset = 4;

    /// <summary>Version 2: uint16, bytes of a sub-page grant.</summary>
    public const int Entry2Length = 6;

    /// <summary>Version 2: uint64.</summary>
    public const int Entry2Frame = 8;

    /// <summary>Version 2: uint16, whose grant a transitive one passes on.</summary>
    public const int Entry2TransitiveDomain = 4;

    /// <summary>Version 2: uint32, which of its grants.</summary>
    public const int Entry2TransitiveReference = 8;

    public const int Entry2Size = 16;

    /// <summary>Version 2: uint16 for each entry, <see cref="GrantEntryFlags.Reading"/> and <see cref="GrantEntryFlags.Writing"/>.</summary>
    public const int StatusSize = 2;

    public const int MapSize = 32;
    public const int UnmapSize = 24;
    public const int CopySize = 40;

    /// <summary>uint16.</summary>
    public const int SetupTableDomain = 0;

    /// <summary>uint32.</summary>
    public const int SetupTableNrFrames = 4;

    /// <summary>int16 <see cref="GrantStatus"/>.</summary>
    public const int SetupTableStatus = 8;

    /// <summary>Address of uint64[].</summary>
    public const int SetupTableFrameList = 16;

    public const int SetupTableSize = 24;

    /// <summary>uint16.</summary>
    public const int QuerySizeDomain = 0;

    /// <summary>uint32, out.</summary>
    public const int QuerySizeNrFrames = 4;

    /// <summary>uint32, out.</summary>
    public const int QuerySizeMaxNrFrames = 8;

    /// <summary>int16, out.</summary>
    public const int QuerySizeStatus = 12;

    public const int QuerySizeSize = 16;
    public const int SetVersionSize = 4;
}
