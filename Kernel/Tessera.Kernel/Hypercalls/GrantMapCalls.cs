using Tessera.Kernel.Domains;
using Tessera.Kernel.Grants;
using Tessera.Sdk;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Hypercalls;

/// <summary>map_grant_ref, unmap_grant_ref and unmap_and_replace: the guest's structures; <see cref="Maptrack"/> does it.</summary>
internal static class GrantMapCalls
{
    /// <summary>One gnttab_map_grant_ref.</summary>
    public static bool Map(ref HypercallCall call, ulong address)
    {
        if (!call.TryRead(address, out MapRequest request))
            return false;
        GrantStatus status = GrantStatus.BadDomain;
        uint handle = 0;
        ulong deviceAddress = 0;
        GrantMapFlags flags = (GrantMapFlags)request.Flags;
        if ((flags & (GrantMapFlags.DeviceMap | GrantMapFlags.HostMap)) == 0)
            status = GrantStatus.BadGntref;
        else if (request.Domain != DomainIds.Self && call.Domain.Grants.Find(request.Domain) is GrantTable table)
            status = call.Domain.Mappings.Map(call.Vcpu.Index, table, request.Reference, flags, request.HostAddress, out handle, out deviceAddress);
        else if (request.Domain == 0)
            status = GrantCalls.OfDomain0(request.Reference);
        MapRequest answer = request with { Status = (short)status };
        if (status == GrantStatus.Okay)
            answer = answer with { Handle = handle, DeviceAddress = deviceAddress };
        return call.TryWrite(address, answer);
    }

    /// <summary>One gnttab_unmap_grant_ref.</summary>
    public static bool Unmap(ref HypercallCall call, ulong address)
    {
        if (!call.TryRead(address, out UnmapRequest request))
            return false;
        GrantStatus status = call.Domain.Mappings.Unmap(call.Vcpu.Index, request.Handle, request.HostAddress, request.OtherAddress, replacement: 0);
        return call.TryWrite(address, request with { Status = (short)status });
    }

    /// <summary>One gnttab_unmap_and_replace.</summary>
    public static bool UnmapAndReplace(ref HypercallCall call, ulong address)
    {
        if (!call.TryRead(address, out UnmapRequest request))
            return false;
        GrantStatus status = call.Domain.Mappings.Unmap(call.Vcpu.Index, request.Handle, request.HostAddress, deviceAddress: 0, request.OtherAddress);
        return call.TryWrite(address, request with { Status = (short)status });
    }

    private readonly record struct MapRequest(ulong HostAddress, uint Flags, uint Reference, ushort Domain, short Status, uint Handle, ulong DeviceAddress);

    /// <summary>The other address is the device's, or the replacement's.</summary>
    private readonly record struct UnmapRequest(ulong HostAddress, ulong OtherAddress, uint Handle, short Status, ushort Padding);
}
