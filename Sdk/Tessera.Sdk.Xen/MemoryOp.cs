namespace Tessera.Sdk.Xen;

/// <summary>Sub-ops of <see cref="Hypercall.MemoryOp"/> (public/memory.h, XENMEM_*).</summary>
public enum MemoryOp
{
    IncreaseReservation = 0,
    DecreaseReservation = 1,
    MaximumRamPage = 2,
    CurrentReservation = 3,
    MaximumReservation = 4,
    MachphysMfnList = 5,
    PopulatePhysmap = 6,
    AddToPhysmap = 7,
    MemoryMap = 9,
    MachineMemoryMap = 10,
    Exchange = 11,
    MachphysMapping = 12,
    SetMemoryMap = 13,
    MaximumGpfn = 14,
    RemoveFromPhysmap = 15,
    SetPodTarget = 16,
    GetPodTarget = 17,
    GetSharingFreedPages = 18,
    GetSharingSharedPages = 19,
    PagingOp = 20,
    AccessOp = 21,
    SharingOp = 22,
    AddToPhysmapBatch = 23,
    ClaimPages = 24,
    MachphysCompatMfnList = 25,
    GetVnumainfo = 26,
    ReservedDeviceMemoryMap = 27,
    AcquireResource = 28,
}
