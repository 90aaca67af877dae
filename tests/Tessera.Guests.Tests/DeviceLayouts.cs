using System.Reflection;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Tessera.Kernel.Store;
using Tessera.Sdk.Xen;

namespace Tessera.Guests.Tests;

/// <summary>Where our structures have their fields, and where the headers do: rings of split devices, and what the kernel reads of a guest's grant calls.</summary>
internal static class DeviceLayouts
{
    private static readonly (Type Type, string Structure, string Fields)[] Structures =
    [
        (typeof(BlkifSegment), "struct blkif_request_segment", "Grant=gref FirstSector=first_sect LastSector=last_sect"),
        (typeof(BlkifRequest), "struct blkif_request", "Operation=operation SegmentCount=nr_segments Id=id Sector=sector_number Segments=seg"),
        (typeof(BlkifRequest), "struct blkif_request_indirect", "Operation=operation IndirectOperation=indirect_op IndirectSegmentCount=nr_segments Id=id Sector=sector_number IndirectGrants=indirect_grefs"),
        (typeof(BlkifRequest), "struct blkif_request_discard", "Operation=operation DiscardFlag=flag Id=id Sector=sector_number DiscardSectors=nr_sectors"),
        (typeof(BlkifResponse), "struct blkif_response", "Id=id Operation=operation Status=status"),
        (typeof(NetTxRequest), "struct netif_tx_request", "Grant=gref Offset=offset Flags=flags Id=id Size=size"),
        (typeof(NetTxResponse), "struct netif_tx_response", "Id=id Status=status"),
        (typeof(NetRxRequest), "struct netif_rx_request", "Id=id Grant=gref"),
        (typeof(NetRxResponse), "struct netif_rx_response", "Id=id Offset=offset Flags=flags Status=status"),
        (typeof(NetExtra), "struct netif_extra_info", "Type=type Flags=flags GsoSize=u.gso.size GsoType=u.gso.type GsoPad=u.gso.pad GsoFeatures=u.gso.features"),
    ];

    /// <summary>The largest of each ring's slots; a request that is shorter than its slot is part of a union.</summary>
    private static readonly (Type Type, string Size)[] Sizes =
    [
        (typeof(BlkifSegment), "sizeof(struct blkif_request_segment)"), (typeof(BlkifRequest), "sizeof(union blkif_sring_entry)"), (typeof(BlkifResponse), "sizeof(struct blkif_response)"),
        (typeof(NetTxRequest), "sizeof(struct netif_tx_request)"), (typeof(NetTxResponse), "sizeof(struct netif_tx_response)"), (typeof(NetRxRequest), "sizeof(struct netif_rx_request)"),
        (typeof(NetRxResponse), "sizeof(struct netif_rx_response)"), (typeof(NetExtra), "sizeof(struct netif_extra_info)"),
    ];

    /// <summary>Records of the kernel's own, by their names: nobody else has any use for them.</summary>
    private static readonly (string Record, string Structure, string Fields)[] Records =
    [
        ("GrantMapCalls+MapRequest", "struct gnttab_map_grant_ref", "HostAddress=host_addr Flags=flags Reference=ref Domain=dom Status=status Handle=handle DeviceAddress=dev_bus_addr"),
        ("GrantMapCalls+UnmapRequest", "struct gnttab_unmap_grant_ref", "HostAddress=host_addr OtherAddress=dev_bus_addr Handle=handle Status=status"),
        ("GrantMapCalls+UnmapRequest", "struct gnttab_unmap_and_replace", "HostAddress=host_addr OtherAddress=new_addr Handle=handle Status=status"),
        ("GrantCalls+VersionQuery", "struct gnttab_get_version", "Domain=dom Version=version"),
        ("GrantCalls+SizeQuery", "struct gnttab_query_size", "Domain=dom Frames=nr_frames MaxFrames=max_nr_frames Status=status"),
        ("GrantCalls+TableSetup", "struct gnttab_setup_table", "Domain=dom Frames=nr_frames Status=status FrameList=frame_list"),
        ("GrantCalls+StatusSetup", "struct gnttab_get_status_frames", "Frames=nr_frames Domain=dom Status=status FrameList=frame_list"),
        ("GrantCalls+TransferRequest", "struct gnttab_transfer", "Frame=mfn Domain=domid Reference=ref Status=status"),
        ("GrantCalls+SwapRequest", "struct gnttab_swap_grant_ref", "First=ref_a Second=ref_b Status=status"),
        ("GrantCopyCalls+CopyRequest", "struct gnttab_copy", "Source=source.u SourceDomain=source.domid SourceOffset=source.offset Destination=dest.u "
            + "DestinationDomain=dest.domid DestinationOffset=dest.offset Length=len Flags=flags Status=status"),
    ];

    /// <summary>Everything to compare.</summary>
    public static IEnumerable<(string Ours, string Theirs, long Value)> All()
    {
        foreach ((Type type, string structure, string fields) in Structures)
        {
            foreach (string[] pair in Pairs(fields))
                yield return ($"{type.Name}.{pair[0]}", $"offsetof({structure}, {pair[1]})", type.GetField(pair[0])!.GetCustomAttribute<FieldOffsetAttribute>()!.Value);
        }

        foreach ((Type type, string size) in Sizes)
            yield return ($"sizeof({type.Name})", size, SizeOf(type));
        foreach ((string name, string structure, string fields) in Records)
        {
            Type record = typeof(StoreMessage).Assembly.GetType($"Tessera.Kernel.Hypercalls.{name}", throwOnError: true)!;
            foreach (string[] pair in Pairs(fields))
                yield return ($"{name}.{pair[0]}", $"offsetof({structure}, {pair[1]})", OffsetOf(record, pair[0]));
            yield return ($"sizeof({name})", $"sizeof({structure})", SizeOf(record));
        }
    }

    private static IEnumerable<string[]> Pairs(string fields) => fields.Split(' ').Select(field => field.Split('='));

    private static long OffsetOf(Type record, string property) => (long)Marshal.OffsetOf(record, $"<{property}>k__BackingField");

    private static int SizeOf(Type type) => (int)typeof(Unsafe).GetMethod(nameof(Unsafe.SizeOf))!.MakeGenericMethod(type).Invoke(null, null)!;
}
