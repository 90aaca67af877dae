using Tessera.Sdk.Cpu;
using Tessera.Sdk.Cpu.X64;

namespace Tessera.Sdk.Memory;

/// <summary>How guest page tables become real ones (direct paging, shadow paging…): one instance a machine, one <see cref="IDomainMmu"/> a domain.</summary>
public interface IMmuVirtualization
{
    /// <summary>
    /// How many frames a domain has, beside its memory, for tables of the MMU's own (<see cref="IMmuHost.TryAllocateTables"/>). They count
    /// against the machine's memory for as long as the domain lives. None, unless the MMU says otherwise.
    /// </summary>
    /// <param name="frames">How many frames of memory the domain has.</param>
    long TableFrames(long frames) => 0;

    /// <summary>Begins a domain; the instance serves it until <see cref="IDomainMmu.Release"/>.</summary>
    IDomainMmu Attach(IMmuHost host);
}

/// <summary>
/// One domain's MMU. Everything a guest can pass here is hostile; nothing it passes may let it map a frame that is not its own, write a
/// page or descriptor table, or reach the VMM's slots.
/// </summary>
/// <remarks>
/// Called under the domain's lock by the kernel's hypercalls; allocates nothing on Update, UpdateVaMapping, Translate and OnFault. The guest chooses how much hangs below a table, so
/// an operation looks at no more than <see cref="MmuLimits.EntriesAtOnce"/> page-table entries. What is left then is done by <see cref="Work"/>, in as many calls as the
/// kernel likes; until it has answered true, no guest code of the domain runs and every operation that changes something answers ERESTART.
/// </remarks>
public interface IDomainMmu
{
    /// <summary>An operation left work behind.</summary>
    bool HasWork { get; }

    /// <summary>
    /// Goes on with that. An operation that answered ERESTART is asked for again afterwards, and finds what came of it; one that was done is done, whatever it left.
    /// </summary>
    /// <param name="entries">How many page-table entries it may look at; at least 1.</param>
    /// <returns>True when nothing is left.</returns>
    bool Work(int entries);

    /// <summary>
    /// Start of day: the domain builder wrote tables under this L4 into the domain's memory, in the guest's own form (tables mapped
    /// read-only, no U bits). Validates and pins them and makes them the kernel root of vCPU 0.
    /// </summary>
    /// <returns><see cref="XenErrno.Success"/>, ERESTART, or why the builder's tables are wrong.</returns>
    XenErrno AdoptBootTables(Mfn root);

    /// <summary>One mmu_update request (public/xen.h): the low two bits of the pointer are the command (0 write entry, 1 M2P, 2 write entry keeping A/D).</summary>
    XenErrno Update(ulong pointer, ulong value);

    /// <summary>update_va_mapping: writes the L1 entry that maps an address in the vCPU's current tables.</summary>
    XenErrno UpdateVaMapping(int vcpu, VirtualAddress address, ulong entry);

    /// <summary>One mmuext_op on tables: PIN_L1…L4_TABLE, UNPIN_TABLE, NEW_BASEPTR, NEW_USER_BASEPTR, CLEAR_PAGE, COPY_PAGE (numbers of public/xen.h). Others: ENOSYS.</summary>
    /// <param name="vcpu">The calling vCPU.</param>
    /// <param name="command">The mmuext command.</param>
    /// <param name="frame">arg1.mfn.</param>
    /// <param name="source">arg2.src_mfn for COPY_PAGE.</param>
    XenErrno Extended(int vcpu, uint command, Mfn frame, Mfn source);

    /// <summary>The L4 tables that a vCPU runs on: in kernel mode, or in user mode (<see cref="Mfn.None"/> before the guest sets one).</summary>
    Mfn Root(int vcpu, bool userMode);

    /// <summary>The same as the guest knows them: the frame that it named. Another one only where vCPUs run on tables of the MMU's own.</summary>
    Mfn GuestRoot(int vcpu, bool userMode) => Root(vcpu, userMode);

    /// <summary>Walks the vCPU's tables as the CPU would in ring 3 and gives the machine address, for reading or writing guest memory. Frames are the domain's own.</summary>
    /// <param name="vcpu">Whose tables.</param>
    /// <param name="userMode">Which root.</param>
    /// <param name="address">The guest's address.</param>
    /// <param name="forWriting">Writable mappings only.</param>
    /// <param name="machineAddress">Where the byte lies.</param>
    bool Translate(int vcpu, bool userMode, VirtualAddress address, bool forWriting, out ulong machineAddress);

    /// <summary>The machine address of the L1 entry that maps an address in kernel mode, whether or not the entry is present; false when a level above is missing or large.</summary>
    bool FindEntry(int vcpu, VirtualAddress address, out ulong entryAddress);

    /// <summary>
    /// A page fault of guest code. The MMU knows the tables, so it says whose fault it is: it makes the access possible (fills a shadow
    /// table from the guest's, or finds that the engine still showed what has changed since), names the entry that a store of the guest's
    /// kernel to its own page table aims at, or leaves the fault to the guest. Allocates nothing.
    /// </summary>
    /// <remarks>
    /// An access that was said to be possible and faults again is asked about again. To answer so for ever without having changed anything
    /// would hang the guest, and nobody else.
    /// </remarks>
    /// <param name="vcpu">The faulting vCPU.</param>
    /// <param name="userMode">Whether it was in the guest's user mode, or in kernel mode.</param>
    /// <param name="address">Where; any number.</param>
    /// <param name="error">As the CPU gave it, but for <see cref="PageFaultError.User"/>, which follows the guest's mode, not the ring.</param>
    FaultAnswer OnFault(int vcpu, bool userMode, VirtualAddress address, PageFaultError error);

    /// <summary>Takes a frame as descriptor table (type and count; every descriptor is checked and forced to DPL 3 where Xen does), for set_gdt and set_ldt.</summary>
    XenErrno AcquireDescriptorFrame(Mfn frame);

    /// <summary>Gives back what <see cref="AcquireDescriptorFrame"/> took.</summary>
    void ReleaseDescriptorFrame(Mfn frame);

    /// <summary>update_descriptor: checks a descriptor and writes it to a machine address in a frame of the domain.</summary>
    XenErrno UpdateDescriptor(ulong machineAddress, ulong descriptor);

    /// <summary>The domain is dead: drops every root, pin and type it holds. Done when <see cref="Work"/> says so.</summary>
    void Release();
}

/// <summary>What the kernel offers the MMU plugin for one domain.</summary>
public interface IMmuHost
{
    /// <summary>The domain.</summary>
    DomainId Domain { get; }

    /// <summary>How many vCPUs it may have.</summary>
    int MaxVcpus { get; }

    /// <summary>Types and counts of the domain's frames.</summary>
    IFrameTable Frames { get; }

    /// <summary>The VMM's own L4 entries: they must be in every L4 a CPU runs on, and a guest's update of any slot 256 to 271 is refused.</summary>
    IReadOnlyList<RootEntry> HypervisorEntries { get; }

    /// <summary>The 512 entries of a frame that the domain owns, or of one of the MMU's own tables, in the VMM's own writable mapping.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The frame is neither: check the owner first.</exception>
    Span<ulong> Table(Mfn frame);

    /// <summary>
    /// Takes frames for tables of the MMU's own (shadow tables), all or none, each empty. To the engine they are tables and roots as any
    /// others. They have numbers above the domain's own: <see cref="IFrameTable"/> does not know them, and no grant, no hypercall and no
    /// entry that the MMU accepts from the guest names one. Nor must one ever be mapped for the guest.
    /// </summary>
    /// <param name="tables">Filled with what was taken.</param>
    /// <returns>False when fewer are left of <see cref="IMmuVirtualization.TableFrames"/>.</returns>
    bool TryAllocateTables(Span<Mfn> tables);

    /// <summary>
    /// Gives such frames back; whoever takes them next finds them empty. No entry leads to one any more, as <see cref="EntryChanged"/> was told,
    /// and a root among them was retired (<see cref="RootRetired"/>). All are back when the MMU's work after <see cref="IDomainMmu.Release"/> is done.
    /// </summary>
    /// <exception cref="ArgumentOutOfRangeException">One of them is none of the MMU's tables.</exception>
    void FreeTables(ReadOnlySpan<Mfn> tables);

    /// <summary>To be called after each write of an entry in a frame that has a page-table type, or in one of the MMU's own tables; the CPU engine makes it effective.</summary>
    void EntryChanged(ulong entryAddress, ulong oldEntry, ulong newEntry);

    /// <summary>To be called after each other write through <see cref="Table"/>, to a frame that holds another type meanwhile.</summary>
    void MemoryWritten(Mfn frame);

    /// <summary>To be called when an L4 table becomes plain memory again; an engine that keeps translations by root forgets those.</summary>
    void RootRetired(Mfn root);

    /// <summary>Sets the domain's machine-to-physical entry of one of its frames.</summary>
    void SetPfn(Mfn frame, Pfn pfn);
}

/// <summary>The exclusive types of a frame (the paper's section 3.3.3; Xen's PGT_*).</summary>
public enum FrameType
{
    /// <summary>No type is held.</summary>
    None,

    /// <summary>Page table of level 1.</summary>
    L1,

    /// <summary>Page table of level 2.</summary>
    L2,

    /// <summary>Page table of level 3.</summary>
    L3,

    /// <summary>Page table of level 4.</summary>
    L4,

    /// <summary>Descriptor table (GDT or LDT page).</summary>
    Descriptors,

    /// <summary>Mapped writable by the guest.</summary>
    Writable,
}

/// <summary>
/// One domain's frames: each has a count of references, and one exclusive type with its own count; the type changes only at count zero.
/// No other domain's frame has a number here: what a grant lets this one map has a number above its own (<see cref="IMapsForeignFrames"/>).
/// Any thread; each call is atomic.
/// </summary>
public interface IFrameTable
{
    /// <summary>Whether the number is one of the domain's own frames.</summary>
    bool Has(Mfn frame);

    /// <summary>The frame's type now and how often it is held; (None, 0) for frames that are not the domain's.</summary>
    (FrameType Type, long Count) TypeOf(Mfn frame);

    /// <summary>Takes one type reference. Fails when the frame is not the domain's or another type is held.</summary>
    /// <returns>Success and whether this reference is the first, so that the caller must validate the frame as this type (and give it back if that fails).</returns>
    TypeReference TakeType(Mfn frame, FrameType type);

    /// <summary>
    /// Gives one type reference back; true when it was the last, so that the caller must drop what the frame refers to. A table's last is
    /// given back when no entry that was told of leads to it any more.
    /// </summary>
    bool DropType(Mfn frame);

    /// <summary>
    /// Takes one general reference, for a use that needs no type (a read-only mapping). While one is held the frame does not leave the domain.
    /// False when the frame is not the domain's.
    /// </summary>
    bool TakeReference(Mfn frame);

    /// <summary>Gives back what <see cref="TakeReference"/> took.</summary>
    void DropReference(Mfn frame);

    /// <summary>How many general references are held; 0 for frames that are not the domain's.</summary>
    long ReferencesOf(Mfn frame);

    /// <summary>Sets or clears the pinned mark; answers whether it changed. A pin holds a type reference of its own, taken by the caller.</summary>
    bool SetPinned(Mfn frame, bool pinned);
}

/// <summary>The answer to <see cref="IFrameTable.TakeType"/>.</summary>
public enum TypeReference
{
    /// <summary>Not the domain's frame.</summary>
    NotOwner,

    /// <summary>Another type is held.</summary>
    Conflict,

    /// <summary>Taken, and the frame holds the type already.</summary>
    Taken,

    /// <summary>
    /// Taken as the first of its type: validate it. For a table, what <see cref="IMmuHost.EntryChanged"/> was told before is effective on
    /// every CPU: none can write the frame any more.
    /// </summary>
    TakenFirst,
}
