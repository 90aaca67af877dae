using Tessera.Kernel.Events;
using Tessera.Sdk;

namespace Tessera.Kernel.Domains;

/// <summary>One entry of a guest's trap table.</summary>
internal struct TrapGate
{
    public ulong Address;
    public ushort Cs;
    public byte Flags;
}

/// <summary>
/// What the ABI keeps of a PV vCPU beside its registers (public/xen.h, vcpu_guest_context): what VCPUOP_initialise fills, with what the guest
/// sets by other calls later. A vCPU that is saved is this, its registers and its alarms.
/// </summary>
/// <param name="info">Its vcpu_info.</param>
internal sealed partial class PvContext(VcpuInfoArea info)
{
    public VcpuInfoArea Info { get; } = info;

    public TrapGate[] TrapTable { get; } = new TrapGate[256];

    /// <summary>callback_op addresses by type; zero means none.</summary>
    public ulong[] Callbacks { get; } = new ulong[8];

    /// <summary>Which callbacks mask events on entry.</summary>
    public bool[] CallbackMasksEvents { get; } = new bool[8];

    public ulong KernelStack { get; set; }

    /// <summary>Running the guest's user mode: other page-table root, other GS base.</summary>
    public bool UserMode { get; set; }

    public ulong GsBaseKernel { get; set; }

    public ulong GsBaseUser { get; set; }

    /// <summary>Its virtual I/O privilege level, 0 to 3.</summary>
    public int IoPrivilege { get; set; }

    /// <summary>Address, in the guest kernel's tables, of the bits that forbid ports (set_iobitmap).</summary>
    public ulong IoBitmap { get; set; }

    /// <summary>Ports that the bitmap covers; 0 for none.</summary>
    public uint IoBitmapPorts { get; set; }

    /// <summary>The guest's runstate area in its own memory, zero for none.</summary>
    public ulong RunstateArea { get; set; }

    /// <summary>The guest's time area in its own memory (register_vcpu_time_memory_area), zero for none.</summary>
    public ulong TimeArea { get; set; }

    public Mfn[] GdtFrames { get; set; } = [];

    public int GdtEntries { get; set; }

    public Mfn[] LdtFrames { get; set; } = [];

    public int LdtEntries { get; set; }
}
