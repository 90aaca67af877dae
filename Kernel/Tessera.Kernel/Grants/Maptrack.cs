using Tessera.Kernel.Memory;
using Tessera.Sdk;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Memory;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Grants;

/// <summary>
/// What a domain has mapped of others' grants: one handle a mapping, each with the pins it holds, and with a number above the domain's own
/// frames. Under it the domain's machine shows exactly the granted frame, read-only or writable as the mapping is, and only as long. This
/// holds whatever is in the domain's page tables.
/// </summary>
/// <remarks>Under the domain's lock, as its hypercalls are.</remarks>
internal sealed class Maptrack(DomainId domain, DomainMemory memory, IGuestMachine guestMachine, IDomainMmu mmu)
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
                status = MapHost(vcpu, index, flags, hostAddress);
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
        deviceAddress = FrameOf(index, mapping.HasHost ? mapping.HostPin : mapping.DevicePin).Address;
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
        if (deviceAddress != 0 && mapping.HasDevice && deviceAddress != FrameOf((int)handle, in mapping.DevicePin).Address)
            return GrantStatus.GeneralError;
        if (hostAddress != 0 && mapping.HasHost)
        {
            GrantStatus status = UnmapHost(vcpu, (int)handle, hostAddress, replacement);
            if (status != GrantStatus.Okay)
                return status;
            Hide((int)handle);
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

    // A domain that maps its own grant maps its own frame.
    private bool IsForeign(in GrantPin pin) => pin.Memory != memory;

    private Mfn FrameOf(int index, in GrantPin pin) => IsForeign(in pin) ? memory.ForeignFrame(index) : pin.Frame;

    private unsafe GrantStatus Show(int index)
    {
        ref readonly GrantPin pin = ref _mappings[index].HostPin;
        if (!IsForeign(in pin))
            return GrantStatus.Okay;
        if (guestMachine is not IShowsForeignFrames machine)
            return GrantStatus.GeneralError;
        // SAFETY: the pin keeps the page mapped, and the region goes before the pin is given back, with its mapping or with the machine.
        MemoryRegion region = new(memory.ForeignFrame(index), 1, (nint)pin.Address, pin.IsReadOnly);
        return machine.TryShow(region) ? GrantStatus.Okay : GrantStatus.NoSpace;
    }

    private void Hide(int index)
    {
        if (IsForeign(in _mappings[index].HostPin))
            ((IShowsForeignFrames)guestMachine).Hide(memory.ForeignFrame(index));
    }

    private GrantStatus MapHost(int vcpu, int index, GrantMapFlags flags, ulong hostAddress)
    {
        ref readonly GrantPin pin = ref _mappings[index].HostPin;
        if (mmu is not IMapsForeignFrames mapper || !TryFindEntry(vcpu, flags, hostAddress, out ulong entryAddress))
            return GrantStatus.GeneralError;
        GrantStatus shown = Show(index);
        if (shown != GrantStatus.Okay)
            return shown;
        uint available = (uint)flags >> AvailableShift;
        ulong entry = FrameOf(index, in pin).Address | Present | User | AccessedDirty | (pin.IsReadOnly ? 0 : Writable)
            | ((ulong)(available & ((1 << LowAvailableBits) - 1)) << 9) | ((ulong)((available >> LowAvailableBits) & HighAvailableMask) << 52);
        if (mapper.MapForeign(entryAddress, entry) == XenErrno.Success)
            return GrantStatus.Okay;
        Hide(index);
        return GrantStatus.GeneralError;
    }

    private GrantStatus UnmapHost(int vcpu, int index, ulong hostAddress, ulong replacement)
    {
        ref readonly Mapping mapping = ref _mappings[index];
        ulong source = 0;
        // Xen replaces linear mappings only.
        if (replacement != 0 && ((mapping.Flags & GrantMapFlags.ContainsPte) != 0
            || !mmu.FindEntry(vcpu, new VirtualAddress(replacement), out source)))
            return GrantStatus.GeneralError;
        if (!TryFindEntry(vcpu, mapping.Flags, hostAddress, out ulong entryAddress))
            return GrantStatus.GeneralError;
        Mfn frame = FrameOf(index, in mapping.HostPin);
        XenErrno error = ((IMapsForeignFrames)mmu).UnmapForeign(entryAddress, frame, !mapping.HostPin.IsReadOnly, source);
        return error == XenErrno.Success ? GrantStatus.Okay : GrantStatus.GeneralError;
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
