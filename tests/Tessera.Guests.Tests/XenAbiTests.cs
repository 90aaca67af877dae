using System.Text.RegularExpressions;
using Tessera.Kernel.Store;
using Tessera.Sdk.Xen;

namespace Tessera.Guests.Tests;

/// <summary>The numbers of Tessera.Sdk.Xen are those of Xen's own headers.</summary>
public sealed partial class XenAbiTests
{
    // Names that do not follow from ours by case and underscores.
    private static readonly Dictionary<string, string> Irregular = new()
    {
        ["VMASST_TYPE_four_gb_segments"] = "VMASST_TYPE_4gb_segments",
        ["VMASST_TYPE_four_gb_segments_notify"] = "VMASST_TYPE_4gb_segments_notify",
        ["XENFEAT_pae_pgdir_above4_gb"] = "XENFEAT_pae_pgdir_above_4gb",
        ["XENFEAT_arm_smccc_supported"] = "XENFEAT_ARM_SMCCC_supported",
        ["BLKIF_OP_RESERVED"] = "BLKIF_OP_RESERVED_1",
        ["BLKIF_RSP_NOT_SUPPORTED"] = "BLKIF_RSP_EOPNOTSUPP",
        ["XEN_NETIF_GSO_TYPE_TCP_V4"] = "XEN_NETIF_GSO_TYPE_TCPV4",
        ["XEN_NETIF_GSO_TYPE_TCP_V6"] = "XEN_NETIF_GSO_TYPE_TCPV6",
        ["XS_GET_PERMISSIONS"] = "XS_GET_PERMS",
        ["XS_SET_PERMISSIONS"] = "XS_SET_PERMS",
        ["XS_MAKE_DIRECTORY"] = "XS_MKDIR",
        ["XS_REMOVE"] = "XS_RM",
        ["XENSTORE_ERROR_COMMUNICATION"] = "XENSTORE_ERROR_COMM",
        ["XENSTORE_ERROR_RING_INDEX"] = "XENSTORE_ERROR_RINGIDX",
        ["XENSTORE_ERROR_PROTOCOL"] = "XENSTORE_ERROR_PROTO",
        ["GNTTABOP_swap"] = "GNTTABOP_swap_grant_ref",
        ["PHYSDEVOP_irq_unmask_notify"] = "PHYSDEVOP_IRQ_UNMASK_NOTIFY",
        ["__HYPERVISOR_arch0"] = "__HYPERVISOR_arch_0",
    };

    private static IEnumerable<(string Ours, string Theirs, long Value)> Names()
    {
        foreach ((Type type, string prefix, bool upper) in new (Type, string, bool)[]
        {
            (typeof(Hypercall), "__HYPERVISOR_", false), (typeof(SchedOp), "SCHEDOP_", false), (typeof(ShutdownReason), "SHUTDOWN_", false),
            (typeof(EventChannelOp), "EVTCHNOP_", false), (typeof(EventChannelState), "EVTCHNSTAT_", false), (typeof(VcpuOp), "VCPUOP_", false),
            (typeof(RunState), "RUNSTATE_", false), (typeof(MemoryOp), "XENMEM_", false), (typeof(MmuUpdateKind), "MMU_", true),
            (typeof(MmuExtOp), "MMUEXT_", true), (typeof(VersionOp), "XENVER_", false), (typeof(PhysdevOp), "PHYSDEVOP_", false),
            (typeof(CallbackOp), "CALLBACKOP_", false), (typeof(CallbackType), "CALLBACKTYPE_", false), (typeof(GrantTableOp), "GNTTABOP_", false),
            (typeof(GrantStatus), "GNTST_", false), (typeof(ConsoleIo), "CONSOLEIO_", false), (typeof(VmAssistCommand), "VMASST_CMD_", false),
            (typeof(VmAssistType), "VMASST_TYPE_", false), (typeof(Virq), "VIRQ_", true), (typeof(SegmentBase), "SEGBASE_", true),
            (typeof(ElfNote), "XEN_ELFNOTE_", true), (typeof(BlkifOp), "BLKIF_OP_", true), (typeof(BlkifStatus), "BLKIF_RSP_", true),
            (typeof(NetExtraType), "XEN_NETIF_EXTRA_TYPE_", true), (typeof(NetGsoType), "XEN_NETIF_GSO_TYPE_", true), (typeof(NetStatus), "NETIF_RSP_", true),
            (typeof(StoreMessage), "XS_", true), (typeof(StoreRingError), "XENSTORE_ERROR_", true),
        })
        {
            foreach (string name in Enum.GetNames(type))
                yield return ($"{type.Name}.{name}", Theirs(prefix, name, upper), Convert.ToInt64(Enum.Parse(type, name)));
        }

        foreach ((Type type, string prefix) in new[]
        {
            (typeof(NetTxFlags), "NETTXF_"), (typeof(NetRxFlags), "NETRXF_"), (typeof(GrantEntryFlags), "GTF_"), (typeof(GrantMapFlags), "GNTMAP_"), (typeof(GrantCopyFlags), "GNTCOPY_"),
        })
        {
            foreach (string name in Enum.GetNames(type).Where(name => name != "None"))
                yield return ($"{type.Name}.{name}", Theirs(prefix, name, upper: false), Convert.ToInt64(Enum.Parse(type, name)));
        }

        foreach (XenbusState state in Enum.GetValues<XenbusState>())
            yield return ($"XenbusState.{state}", $"XenbusState{state}", (long)state);
        foreach ((string ours, string theirs, long value) in DeviceLayouts.All())
            yield return (ours, theirs, value);
        foreach (string name in Enum.GetNames<Features>().Where(name => name != "None"))
            yield return ($"Features.{name}", $"1L << {Theirs("XENFEAT_", name, upper: false)}", (long)Enum.Parse<Features>(name));
        foreach ((string ours, string theirs, long value) in Constants())
            yield return (ours, theirs, value);
    }

    private static string Theirs(string prefix, string name, bool upper)
    {
        string snake = WordStart().Replace(name, "_$0").TrimStart('_');
        string theirs = prefix + (upper ? snake.ToUpperInvariant() : snake.ToLowerInvariant());
        return Irregular.GetValueOrDefault(theirs, theirs);
    }

    [Test]
    public void Every_number_and_offset_is_the_headers()
    {
        if (XenHeaders.WhyNot() is { } reason)
            Assert.Ignore(reason);
        List<(string Ours, string Theirs, long Value)> names = [.. Names()];
        IReadOnlyDictionary<string, long> headers = XenHeaders.Evaluate([.. names.Select(name => name.Theirs).Distinct()]);
        Assert.Multiple(() =>
        {
            foreach ((string ours, string theirs, long value) in names)
                Assert.That(value, Is.EqualTo(headers[theirs]), $"{ours} against {theirs}");
        });
    }

    private static IEnumerable<(string Ours, string Theirs, long Value)> Constants()
    {
        foreach ((Type layout, string structure, string fields) in Layouts)
        {
            foreach (string field in fields.Split(' '))
            {
                string[] pair = field.Split('=');
                yield return ($"{layout.Name}.{pair[0]}", $"offsetof({structure}, {pair[1]})", Constant(layout, pair[0]));
            }
        }

        foreach ((Type type, string name, string expression) in Values)
            yield return ($"{type.Name}.{name}", expression, Constant(type, name));
    }

    private static long Constant(Type type, string name) =>
        type.GetField(name)?.GetRawConstantValue() switch
        {
            ulong value => unchecked((long)value),
            { } value => Convert.ToInt64(value),
            null => throw new ArgumentException($"{type.Name} has no constant {name}."),
        };

    private static readonly (Type Layout, string Structure, string Fields)[] Layouts =
    [
        (typeof(StartInfo), "start_info_t", "Magic=magic NrPages=nr_pages SharedInfo=shared_info Flags=flags StoreMfn=store_mfn StoreEventChannel=store_evtchn "
            + "ConsoleMfn=console.domU.mfn ConsoleEventChannel=console.domU.evtchn PtBase=pt_base NrPtFrames=nr_pt_frames MfnList=mfn_list ModStart=mod_start "
            + "ModLen=mod_len CommandLine=cmd_line FirstP2mPfn=first_p2m_pfn NrP2mFrames=nr_p2m_frames"),
        (typeof(SharedInfo), "shared_info_t", "VcpuInfo=vcpu_info EventPending=evtchn_pending EventMask=evtchn_mask WallClockVersion=wc_version WallClockSeconds=wc_sec "
            + "WallClockNanoseconds=wc_nsec WallClockSecondsHigh=wc_sec_hi MaxPfn=arch.max_pfn P2mFrameListList=arch.pfn_to_mfn_frame_list_list "
            + "NmiReason=arch.nmi_reason P2mCr3=arch.p2m_cr3 P2mVaddr=arch.p2m_vaddr P2mGeneration=arch.p2m_generation"),
        (typeof(VcpuInfo), "vcpu_info_t", "UpcallPending=evtchn_upcall_pending UpcallMask=evtchn_upcall_mask PendingSelector=evtchn_pending_sel Cr2=arch.cr2 Time=time"),
        (typeof(VcpuTimeInfo), "vcpu_time_info_t", "Version=version TscTimestamp=tsc_timestamp SystemTime=system_time TscToSystemMul=tsc_to_system_mul TscShift=tsc_shift Flags=flags"),
        (typeof(VcpuRunStateInfo), "vcpu_runstate_info_t", "State=state StateEntryTime=state_entry_time Time=time"),
        (typeof(ConsoleRing), "struct xencons_interface", "In=in Out=out InCons=in_cons InProd=in_prod OutCons=out_cons OutProd=out_prod"),
        (typeof(StoreRing), "struct xenstore_domain_interface", "Request=req Response=rsp RequestCons=req_cons RequestProd=req_prod ResponseCons=rsp_cons ResponseProd=rsp_prod "
            + "ServerFeatures=server_features Connection=connection Error=error"),
        (typeof(TrapInfo), "trap_info_t", "Vector=vector Flags=flags Cs=cs Address=address"),
        (typeof(IretFrame), "struct iret_context", "Rax=rax R11=r11 Rcx=rcx Flags=flags Rip=rip Cs=cs Rflags=rflags Rsp=rsp Ss=ss"),
        (typeof(EventChannelLayout), "evtchn_alloc_unbound_t", "AllocUnboundDomain=dom AllocUnboundRemoteDomain=remote_dom AllocUnboundPort=port"),
        (typeof(EventChannelLayout), "evtchn_bind_interdomain_t", "BindInterdomainRemoteDomain=remote_dom BindInterdomainRemotePort=remote_port BindInterdomainLocalPort=local_port"),
        (typeof(EventChannelLayout), "evtchn_bind_virq_t", "BindVirqVirq=virq BindVirqVcpu=vcpu BindVirqPort=port"),
        (typeof(EventChannelLayout), "evtchn_bind_ipi_t", "BindIpiVcpu=vcpu BindIpiPort=port"),
        (typeof(EventChannelLayout), "evtchn_close_t", "ClosePort=port"),
        (typeof(EventChannelLayout), "evtchn_status_t", "StatusDomain=dom StatusPort=port StatusState=status StatusVcpu=vcpu StatusDetail=u"),
        (typeof(EventChannelLayout), "evtchn_bind_vcpu_t", "BindVcpuPort=port BindVcpuVcpu=vcpu"),
        (typeof(SingleshotTimer), "struct vcpu_set_singleshot_timer", "TimeoutAbs=timeout_abs_ns Flags=flags"),
        (typeof(RegisterVcpuInfo), "struct vcpu_register_vcpu_info", "Mfn=mfn Offset=offset"),
        (typeof(SchedPoll), "sched_poll_t", "Ports=ports NrPorts=nr_ports Timeout=timeout"),
        (typeof(MultiCallEntry), "multicall_entry_t", "Op=op Result=result Args=args"),
        (typeof(MmuUpdateEntry), "mmu_update_t", "Pointer=ptr Value=val"),
        (typeof(MmuExtEntry), "struct mmuext_op", "Command=cmd Argument1=arg1 Argument2=arg2"),
        (typeof(MemoryReservation), "struct xen_memory_reservation", "ExtentStart=extent_start NrExtents=nr_extents ExtentOrder=extent_order MemFlags=mem_flags DomainId=domid"),
        (typeof(MachphysMapping), "struct xen_machphys_mapping", "Start=v_start End=v_end MaxMfn=max_mfn"),
        (typeof(MemoryMap), "struct xen_memory_map", "NrEntries=nr_entries Buffer=buffer"),
        (typeof(CallbackRegister), "struct callback_register", "Type=type Flags=flags Address=address"),
        (typeof(GrantLayout), "grant_entry_v1_t", "EntryFlags=flags EntryDomain=domid EntryFrame=frame"),
        (typeof(GrantLayout), "struct gnttab_setup_table", "SetupTableDomain=dom SetupTableNrFrames=nr_frames SetupTableStatus=status SetupTableFrameList=frame_list"),
        (typeof(GrantLayout), "union grant_entry_v2", "Entry2PageOffset=sub_page.page_off Entry2Length=sub_page.length Entry2Frame=full_page.frame "
            + "Entry2TransitiveDomain=transitive.trans_domid Entry2TransitiveReference=transitive.gref"),
        (typeof(GrantLayout), "struct gnttab_query_size", "QuerySizeDomain=dom QuerySizeNrFrames=nr_frames QuerySizeMaxNrFrames=max_nr_frames QuerySizeStatus=status"),
    ];

    private static readonly (Type Type, string Name, string Expression)[] Values =
    [
        (typeof(StartInfo), "Size", "sizeof(start_info_t)"), (typeof(SharedInfo), "Size", "sizeof(shared_info_t)"),
        (typeof(SharedInfo), "LegacyVcpus", "XEN_LEGACY_MAX_VCPUS"), (typeof(VcpuInfo), "Size", "sizeof(vcpu_info_t)"),
        (typeof(VcpuTimeInfo), "Size", "sizeof(vcpu_time_info_t)"), (typeof(VcpuRunStateInfo), "Size", "sizeof(vcpu_runstate_info_t)"),
        (typeof(ConsoleRing), "InSize", "sizeof(((struct xencons_interface *)0)->in)"), (typeof(ConsoleRing), "OutSize", "sizeof(((struct xencons_interface *)0)->out)"),
        (typeof(StoreRing), "RingSize", "XENSTORE_RING_SIZE"), (typeof(TrapInfo), "Size", "sizeof(trap_info_t)"), (typeof(IretFrame), "Size", "sizeof(struct iret_context)"),
        (typeof(IretFrame), "InSyscall", "VGCF_in_syscall"), (typeof(EventChannelLayout), "AllocUnboundSize", "sizeof(evtchn_alloc_unbound_t)"),
        (typeof(EventChannelLayout), "BindInterdomainSize", "sizeof(evtchn_bind_interdomain_t)"), (typeof(EventChannelLayout), "BindVirqSize", "sizeof(evtchn_bind_virq_t)"),
        (typeof(EventChannelLayout), "BindIpiSize", "sizeof(evtchn_bind_ipi_t)"), (typeof(EventChannelLayout), "CloseSize", "sizeof(evtchn_close_t)"),
        (typeof(EventChannelLayout), "StatusSize", "sizeof(evtchn_status_t)"), (typeof(EventChannelLayout), "BindVcpuSize", "sizeof(evtchn_bind_vcpu_t)"),
        (typeof(EventChannelLayout), "MaxPorts", "EVTCHN_2L_NR_CHANNELS"), (typeof(SingleshotTimer), "Size", "sizeof(struct vcpu_set_singleshot_timer)"),
        (typeof(RegisterVcpuInfo), "Size", "sizeof(struct vcpu_register_vcpu_info)"), (typeof(SchedPoll), "Size", "sizeof(sched_poll_t)"),
        (typeof(MultiCallEntry), "Size", "sizeof(multicall_entry_t)"), (typeof(MmuUpdateEntry), "Size", "sizeof(mmu_update_t)"),
        (typeof(MmuExtEntry), "Size", "sizeof(struct mmuext_op)"), (typeof(MemoryReservation), "Size", "sizeof(struct xen_memory_reservation)"),
        (typeof(MachphysMapping), "Size", "sizeof(struct xen_machphys_mapping)"), (typeof(MemoryMap), "Size", "sizeof(struct xen_memory_map)"),
        (typeof(CallbackRegister), "Size", "sizeof(struct callback_register)"), (typeof(GrantLayout), "EntrySize", "sizeof(grant_entry_v1_t)"),
        (typeof(GrantLayout), "SetupTableSize", "sizeof(struct gnttab_setup_table)"), (typeof(GrantLayout), "QuerySizeSize", "sizeof(struct gnttab_query_size)"),
        (typeof(GrantLayout), "ReservedEntries", "GNTTAB_NR_RESERVED_ENTRIES"), (typeof(GrantLayout), "Entry2Size", "sizeof(union grant_entry_v2)"),
        (typeof(GrantLayout), "StatusSize", "sizeof(grant_status_t)"), (typeof(GrantLayout), "MapSize", "sizeof(struct gnttab_map_grant_ref)"),
        (typeof(GrantLayout), "UnmapSize", "sizeof(struct gnttab_unmap_grant_ref)"), (typeof(GrantLayout), "CopySize", "sizeof(struct gnttab_copy)"),
        (typeof(Blkif), "MaxSegments", "BLKIF_MAX_SEGMENTS_PER_REQUEST"), (typeof(Blkif), "MaxIndirectPages", "BLKIF_MAX_INDIRECT_PAGES_PER_REQUEST"),
        (typeof(Blkif), "SegmentsPerPage", "4096 / sizeof(struct blkif_request_segment)"), (typeof(Blkif), "DiscardSecure", "BLKIF_DISCARD_SECURE"),
        (typeof(Blkif), "DiskReadOnly", "VDISK_READONLY"), (typeof(Netif), "MinSlots", "XEN_NETIF_NR_SLOTS_MIN"), (typeof(Netif), "ExtraMore", "XEN_NETIF_EXTRA_FLAG_MORE"),
        (typeof(Netif), "TxEntryBytes", "sizeof(union netif_tx_sring_entry)"), (typeof(Netif), "RxEntryBytes", "sizeof(union netif_rx_sring_entry)"),
        (typeof(StoreHeader), "Bytes", "sizeof(struct xsd_sockmsg)"), (typeof(StoreHeader), "MaxPayload", "XENSTORE_PAYLOAD_MAX"),
        (typeof(GrantLayout), "SetVersionSize", "sizeof(gnttab_set_version_t)"), (typeof(DomainIds), "Self", "DOMID_SELF"),
        (typeof(DomainIds), "FirstReserved", "DOMID_FIRST_RESERVED"), (typeof(DomainIds), "Io", "DOMID_IO"), (typeof(DomainIds), "Xen", "DOMID_XEN"),
        (typeof(DomainIds), "Cow", "DOMID_COW"), (typeof(DomainIds), "Invalid", "DOMID_INVALID"), (typeof(DomainIds), "Idle", "DOMID_IDLE"),
        (typeof(VirqLimits), "Count", "NR_VIRQS"), (typeof(FlatSelectors), "Code32", "FLAT_RING3_CS32"), (typeof(FlatSelectors), "Code64", "FLAT_RING3_CS64"),
        (typeof(FlatSelectors), "Data", "FLAT_RING3_SS64"), (typeof(FlatSelectors), "NullData", "FLAT_RING3_DS64"),
        (typeof(FlatSelectors), "FirstReservedEntry", "FIRST_RESERVED_GDT_ENTRY"), (typeof(FlatSelectors), "FirstReservedPage", "FIRST_RESERVED_GDT_PAGE"),
        (typeof(HypervisorRange), "Start", "HYPERVISOR_VIRT_START"), (typeof(HypervisorRange), "End", "HYPERVISOR_VIRT_END"),
    ];

    [GeneratedRegex("(?<=[a-z0-9])[A-Z]|(?<=[A-Z])[A-Z](?=[a-z])")]
    private static partial Regex WordStart();
}
