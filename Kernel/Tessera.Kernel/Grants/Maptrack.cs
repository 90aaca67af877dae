using Tessera.Sdk;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Memory;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Grants;

/// <summary>
/// What a domain has mapped of others' grants: one handle a mapping, each with the pins it holds. A mapped frame is a frame of the domain's own machine, writable
/// only while a writable mapping is held, and only as long as a mapping is.
/// </summary>
/// <remarks>Under the domain's lock, as its hypercalls are.</remarks>
internal sealed class Maptrack(DomainId domain, IDomainMmu mmu, ForeignFrames shown)
{
    /// <summary>Mappings a domain may hold.</summary>
    public const int MaxHandles = 8192;

    private const ulong Present = 1;
    private const ulong Writable = 1 << 1;
    private const ulong User = 1 << 2;
    private const ulong AccessedDirty = (1 << 5) | (1 << 6);
    private const int AvailableShift = 16; // GNTMAP_guest_avail0
    private const int LowAvailableBits = 3; // PTE bits 9 to 11; the rest go to bits 52 and up
    private const uint HighAvailableMask = 0x7FF;

    private Mapping[] _mappings = [];
    private int _firstFree = -1;

    /// <summary>Handles in use.</summary>
    public int Count { get; private set; }

    /// <summary>GNTTABOP_map_grant_ref. A failed one leaves nothing behind.</summary>
    public GrantStatus Map(int vcpu, GrantTable table, uint reference, GrantMapFlags flags, ulong hostAddress, out uint handle, out ulong deviceAddress)
    {
        (handle, deviceAddress) = (0, 0);
        if (!TryAllocate(out int index))
            return GrantStatus.NoSpace;
        ref Mapping mapping = ref _mappings[index];
        bool isReadOnly = (flags & GrantMapFlags.Readonly) != 0;
        GrantStatus status = GrantStatus.Okay;
        if ((flags & GrantMapFlags.DeviceMap) != 0)
        {
            status = table.TryPin(domain.Value, reference, isReadOnly, GrantUse.Map, out mapping.DevicePin);
            mapping.HasDevice = status == GrantStatus.Okay;
        }

        if (status == GrantStatus.Okay && (flags & GrantMapFlags.HostMap) != 0)
        {
            status = table.TryPin(domain.Value, reference, isReadOnly, GrantUse.Map, out mapping.HostPin);
            mapping.HasHost = status == GrantStatus.Okay;
            if (mapping.HasHost)
            {
                status = MapHost(vcpu, in mapping.HostPin, flags, hostAddress);
                if (status != GrantStatus.Okay)
                {
                    GrantTable.Unpin(mapping.HostPin);
                    mapping.HasHost = false;
                }
            }
        }

        if (status != GrantStatus.Okay)
        {
            DropDevice(ref mapping);
            Release(index);
            return status;
        }

        mapping.Flags = flags;
        handle = (uint)index;
        deviceAddress = (mapping.HasHost ? mapping.HostPin : mapping.DevicePin).Frame.Address;
        return GrantStatus.Okay;
    }

    /// <summary>GNTTABOP_unmap_grant_ref and unmap_and_replace: undoes the parts that addresses are given for; the handle ends with the last of them.</summary>
    public GrantStatus Unmap(int vcpu, uint handle, ulong hostAddress, ulong deviceAddress, ulong replacement)
    {
        if (handle >= (uint)_mappings.Length)
            return GrantStatus.BadHandle;
        ref Mapping mapping = ref _mappings[handle];
        if (!mapping.HasDevice && !mapping.HasHost)
            return GrantStatus.BadHandle;
        if (deviceAddress != 0 && mapping.HasDevice && deviceAddress != mapping.DevicePin.Frame.Address)
            return GrantStatus.GeneralError;
        if (hostAddress != 0 && mapping.HasHost)
        {
            GrantStatus status = UnmapHost(vcpu, in mapping.HostPin, mapping.Flags, hostAddress, replacement);
            if (status != GrantStatus.Okay)
                return status;
            shown.Drop(in mapping.HostPin);
            GrantTable.Unpin(mapping.HostPin);
            (mapping.HasHost, mapping.HostPin) = (false, default);
        }

        if (deviceAddress != 0)
            DropDevice(ref mapping);
        if (!mapping.HasDevice && !mapping.HasHost)
            Release((int)handle);
        return GrantStatus.Okay;
    }

    /// <summary>The domain is dead and its machine gone: gives every pin back.</summary>
    public void ReleaseAll()
    {
        for (int index = 0; index < _mappings.Length; index++)
        {
            ref Mapping mapping = ref _mappings[index];
            if (mapping.HasHost)
                GrantTable.Unpin(mapping.HostPin);
            DropDevice(ref mapping);
            mapping = default;
        }

        Count = 0;
        _mappings = [];
        _firstFree = -1;
    }

    private GrantStatus MapHost(int vcpu, in GrantPin pin, GrantMapFlags flags, ulong hostAddress)
    {
        if (mmu is not IMapsForeignFrames mapper || !TryFindEntry(vcpu, flags, hostAddress, out ulong entryAddress))
            return GrantStatus.GeneralError;
        GrantStatus status = shown.Take(in pin);
        if (status != GrantStatus.Okay)
            return status;
        uint available = (uint)flags >> AvailableShift;
        ulong entry = pin.Frame.Address | Present | User | AccessedDirty | (pin.IsReadOnly ? 0 : Writable)
            | ((ulong)(available & ((1 << LowAvailableBits) - 1)) << 9) | ((ulong)((available >> LowAvailableBits) & HighAvailableMask) << 52);
        if (mapper.MapForeign(entryAddress, entry) == XenErrno.Success)
            return GrantStatus.Okay;
        shown.Drop(in pin);
        return GrantStatus.GeneralError;
    }

    private GrantStatus UnmapHost(int vcpu, in GrantPin pin, GrantMapFlags flags, ulong hostAddress, ulong replacement)
    {
        ulong source = 0;
        // Xen replaces linear mappings only.
        if (replacement != 0 && ((flags & GrantMapFlags.ContainsPte) != 0 || !mmu.FindEntry(vcpu, new VirtualAddress(replacement), out source)))
            return GrantStatus.GeneralError;
        return TryFindEntry(vcpu, flags, hostAddress, out ulong entryAddress)
            && ((IMapsForeignFrames)mmu).UnmapForeign(entryAddress, pin.Frame, !pin.IsReadOnly, source) == XenErrno.Success
            ? GrantStatus.Okay
            : GrantStatus.GeneralError;
    }

    private bool TryFindEntry(int vcpu, GrantMapFlags flags, ulong hostAddress, out ulong entryAddress)
    {
        entryAddress = hostAddress;
        return (flags & GrantMapFlags.ContainsPte) != 0 || mmu.FindEntry(vcpu, new VirtualAddress(hostAddress), out entryAddress);
    }

    private static void DropDevice(ref Mapping mapping)
    {
        if (!mapping.HasDevice)
            return;
        GrantTable.Unpin(mapping.DevicePin);
        (mapping.HasDevice, mapping.DevicePin) = (false, default);
    }

    private bool TryAllocate(out int index)
    {
        index = _firstFree;
        if (index < 0)
        {
            int old = _mappings.Length;
            if (old >= MaxHandles)
                return false;
            Array.Resize(ref _mappings, Math.Max(64, old * 2));
            for (int free = _mappings.Length - 1; free >= old; free--)
                (_mappings[free].NextFree, _firstFree) = (_firstFree, free);
            index = _firstFree;
        }

        _firstFree = _mappings[index].NextFree;
        Count++;
        return true;
    }

    private void Release(int index)
    {
        _mappings[index] = new Mapping { NextFree = _firstFree };
        _firstFree = index;
        Count--;
    }

    private struct Mapping
    {
        public GrantMapFlags Flags;
        public bool HasHost;
        public bool HasDevice;
        public GrantPin HostPin;
        public GrantPin DevicePin;
        public int NextFree;
    }
}
