using Tessera.Sdk;
using Tessera.Sdk.Cpu.X64;
using Tessera.Sdk.Memory;
using Tessera.Sdk.Xen;

namespace Tessera.Plugins.Memory.DirectPaging;

/// <summary>One domain under direct paging: its roots, pins and descriptor tables, each holding a type reference, and the hypercalls that change them.</summary>
/// <remarks>
/// Errors are Xen's, the same everywhere: EPERM for mapping a frame that is not the domain's (or does not exist), EBUSY for mapping a table or descriptors writable; EINVAL for
/// any other use of a frame that is not the domain's, a type that conflicts, flags that
/// are refused, a VMM slot, an address that is unaligned or not mapped, a pin that is already or not set; ENOSYS for an unknown command or kind of update; ERESTART while work is left.
/// A failed operation leaves no reference behind; only U bits already set in tables it looked at stay.
/// </remarks>
internal sealed class DomainMmu : IDomainMmu, IAdoptsEntries, IMapsForeignFrames
{
    /// <summary>Faults in a row at one address that the tables do not explain, the last of which is the guest's.</summary>
    private const int UnexplainedLimit = 9;

    private readonly IMmuHost _host;
    private readonly IFrameTable _frames;
    private readonly TypedFrames _typed;
    private readonly Mfn[] _kernelRoots;
    private readonly Mfn[] _userRoots;
    private readonly HashSet<Mfn> _pinned = [];
    private readonly Dictionary<Mfn, int> _descriptorFrames = [];
    private readonly Stack<Mfn> _toLetGo = new();
    private readonly (ulong Address, int Times)[] _unexplained;

    public DomainMmu(IMmuHost host)
    {
        _host = host;
        _frames = host.Frames;
        _typed = new TypedFrames(host);
        _kernelRoots = new Mfn[host.MaxVcpus];
        _userRoots = new Mfn[host.MaxVcpus];
        _unexplained = new (ulong, int)[host.MaxVcpus];
        Array.Fill(_kernelRoots, Mfn.None);
        Array.Fill(_userRoots, Mfn.None);
    }

    public bool HasWork => _typed.HasWork || _toLetGo.Count > 0;

    public bool Work(int entries)
    {
        if (!_typed.Work(entries))
            return false;
        if (!_toLetGo.TryPop(out Mfn next))
            return true;
        _typed.LetGo(next, (int)_frames.TypeOf(next).Type);
        return !HasWork;
    }

    public XenErrno AdoptBootTables(Mfn root)
    {
        XenErrno error = Begin() ? Pin(root, level: 4) : XenErrno.ERESTART;
        return error == XenErrno.Success ? SetRoot(ref _kernelRoots[0], root) : error;
    }

    public XenErrno Update(ulong pointer, ulong value)
    {
        if (!Begin())
            return XenErrno.ERESTART;
        if ((pointer & 4) != 0)
            return XenErrno.ENOSYS;
        MmuUpdateKind kind = (MmuUpdateKind)(pointer & 3);
        Mfn frame = new((long)(pointer >> 12));
        if (!_frames.Has(frame))
            return XenErrno.EINVAL;
        if (kind == MmuUpdateKind.MachphysUpdate)
        {
            _host.SetPfn(frame, new Pfn((long)value));
            return XenErrno.Success;
        }

        int index = (int)(pointer & 0xFFF) / sizeof(ulong);
        FrameType type = _frames.TypeOf(frame).Type;
        return type is >= FrameType.L1 and <= FrameType.L4
            ? _typed.WriteEntry(frame, (int)type, index, value, kind == MmuUpdateKind.PtUpdatePreserveAd)
            : _typed.WritePlain(frame, index, value);
    }

    public bool TryAdopt(ulong entryAddress, ulong value)
    {
        Mfn table = new((long)(entryAddress >> 12));
        FrameType type = _frames.TypeOf(table).Type;
        return entryAddress % sizeof(ulong) == 0 && _frames.Has(table) && type is FrameType.L1 or FrameType.L2
            && _typed.TryAdopt(table, (int)type, (int)(entryAddress & 0xFFF) / sizeof(ulong), value);
    }

    public XenErrno UpdateVaMapping(int vcpu, VirtualAddress address, ulong entry)
    {
        if (!Begin())
            return XenErrno.ERESTART;
        if (!FindEntry(vcpu, address, out ulong entryAddress))
            return XenErrno.EINVAL;
        Mfn table = new((long)(entryAddress >> 12));
        return _typed.WriteEntry(table, level: 1, (int)(entryAddress & 0xFFF) / sizeof(ulong), entry, keepAccessedDirty: false);
    }

    public XenErrno MapForeign(ulong entryAddress, ulong entry)
    {
        if (!Begin())
            return XenErrno.ERESTART;
        XenErrno error = FindLevel1(entryAddress, out Mfn table, out int index);
        if (error == XenErrno.Success)
            _typed.WriteForeign(table, index, entry);
        return error;
    }

    public XenErrno UnmapForeign(ulong entryAddress, Mfn frame, bool isWritable, ulong replacement)
    {
        if (!Begin())
            return XenErrno.ERESTART;
        XenErrno error = FindLevel1(entryAddress, out Mfn table, out int index);
        if (error != XenErrno.Success)
            return error;
        (Mfn, int)? from = null;
        if (replacement != 0)
        {
            error = FindLevel1(replacement, out Mfn sourceTable, out int sourceIndex);
            if (error != XenErrno.Success || replacement == entryAddress)
                return error == XenErrno.Success ? XenErrno.EINVAL : error;
            from = (sourceTable, sourceIndex);
        }

        return _typed.TryDropForeign(table, index, frame, isWritable, from) ? XenErrno.Success : XenErrno.EINVAL;
    }

    public XenErrno Extended(int vcpu, uint command, Mfn frame, Mfn source)
    {
        if (!Begin())
            return XenErrno.ERESTART;
        switch ((MmuExtOp)command)
        {
            case MmuExtOp.PinL1Table or MmuExtOp.PinL2Table or MmuExtOp.PinL3Table or MmuExtOp.PinL4Table:
                return Pin(frame, (int)command + 1);
            case MmuExtOp.UnpinTable:
                return Unpin(frame);
            case MmuExtOp.NewBaseptr:
                return SetRoot(ref _kernelRoots[vcpu], frame);
            case MmuExtOp.NewUserBaseptr:
                return SetUserRoot(vcpu, frame);
            case MmuExtOp.ClearPage:
                return _typed.WriteWhole(frame, Mfn.None);
            case MmuExtOp.CopyPage:
                return source == Mfn.None ? XenErrno.EINVAL : _typed.WriteWhole(frame, source);
            default:
                return XenErrno.ENOSYS;
        }
    }

    public Mfn Root(int vcpu, bool userMode) => userMode ? _userRoots[vcpu] : _kernelRoots[vcpu];

    public bool Translate(int vcpu, bool userMode, VirtualAddress address, bool forWriting, out ulong machineAddress)
    {
        machineAddress = 0;
        ulong needed = PageTableEntry.Present | PageTableEntry.User | (forWriting ? PageTableEntry.Writable : 0);
        if (!Walk(Root(vcpu, userMode), address, needed, lastLevel: 1, out Mfn frame))
            return false;
        machineAddress = frame.Address | (address.Value & 0xFFF);
        return true;
    }

    public bool FindEntry(int vcpu, VirtualAddress address, out ulong entryAddress)
    {
        entryAddress = 0;
        if (!Walk(_kernelRoots[vcpu], address, PageTableEntry.Present, lastLevel: 2, out Mfn table))
            return false;
        entryAddress = table.Address + ((ulong)PageTableEntry.Index(address.Value, level: 1) * sizeof(ulong));
        return true;
    }

    public FaultAnswer OnFault(int vcpu, bool userMode, VirtualAddress address, PageFaultError error)
    {
        const PageFaultError forbiddenWrite = PageFaultError.Present | PageFaultError.Write;
        if (!userMode && (error & forbiddenWrite) == forbiddenWrite && IsInTable(vcpu, address, out ulong storeAddress))
            return FaultAnswer.Emulate(storeAddress);
        // The tables allow the access: the engine showed an older state of them, once. Not again and again.
        ref (ulong Address, int Times) unexplained = ref _unexplained[vcpu];
        if ((error & PageFaultError.Fetch) == 0 && Translate(vcpu, userMode, address, (error & PageFaultError.Write) != 0, out _))
        {
            unexplained = (address.Value, unexplained.Address == address.Value ? unexplained.Times + 1 : 1);
            if (unexplained.Times < UnexplainedLimit)
                return FaultAnswer.Resolved;
        }

        unexplained = default;
        return FaultAnswer.Guests(error);
    }

    public XenErrno AcquireDescriptorFrame(Mfn frame)
    {
        XenErrno error = Begin() ? _typed.HoldDescriptors(frame) : XenErrno.ERESTART;
        if (error == XenErrno.Success)
            _descriptorFrames[frame] = _descriptorFrames.GetValueOrDefault(frame) + 1;
        return error;
    }

    public void ReleaseDescriptorFrame(Mfn frame)
    {
        if (!_descriptorFrames.TryGetValue(frame, out int held))
            throw new InvalidOperationException($"{frame} is not held as a descriptor table.");
        if (held == 1)
            _descriptorFrames.Remove(frame);
        else
            _descriptorFrames[frame] = held - 1;
        _frames.DropType(frame);
    }

    public XenErrno UpdateDescriptor(ulong machineAddress, ulong descriptor)
    {
        Mfn frame = new((long)(machineAddress >> 12));
        if (!Begin())
            return XenErrno.ERESTART;
        if (machineAddress % sizeof(ulong) != 0)
            return XenErrno.EINVAL;
        return _frames.Has(frame)
            ? _typed.WriteDescriptor(frame, (int)(machineAddress & 0xFFF) / sizeof(ulong), descriptor)
            : XenErrno.EINVAL;
    }

    public void Release()
    {
        Mfn waiting = _typed.Abandon();
        LetGoLater(ref waiting);
        for (int vcpu = 0; vcpu < _kernelRoots.Length; vcpu++)
        {
            LetGoLater(ref _kernelRoots[vcpu]);
            LetGoLater(ref _userRoots[vcpu]);
        }

        foreach (Mfn frame in _pinned)
        {
            _frames.SetPinned(frame, pinned: false);
            _toLetGo.Push(frame);
        }

        _pinned.Clear();
        foreach ((Mfn frame, int held) in _descriptorFrames)
        {
            for (int i = 0; i < held; i++)
                _frames.DropType(frame);
        }

        _descriptorFrames.Clear();
    }

    private bool Begin() => _toLetGo.Count == 0 && _typed.TryBegin();

    private void LetGoLater(ref Mfn root)
    {
        if (root != Mfn.None)
            _toLetGo.Push(root);
        root = Mfn.None;
    }

    private XenErrno FindLevel1(ulong entryAddress, out Mfn table, out int index)
    {
        table = new Mfn((long)(entryAddress >> 12));
        index = (int)(entryAddress & 0xFFF) / sizeof(ulong);
        if (entryAddress % sizeof(ulong) != 0)
            return XenErrno.EINVAL;
        return !_frames.Has(table) ? XenErrno.EPERM : _frames.TypeOf(table).Type == FrameType.L1 ? XenErrno.Success : XenErrno.EINVAL;
    }

    private XenErrno Pin(Mfn frame, int level)
    {
        XenErrno error = _typed.Hold(frame, level);
        if (error != XenErrno.Success)
            return error;
        if (!_frames.SetPinned(frame, pinned: true))
        {
            _typed.LetGo(frame, level);
            return XenErrno.EINVAL;
        }

        _pinned.Add(frame);
        return XenErrno.Success;
    }

    private XenErrno Unpin(Mfn frame)
    {
        if (!_frames.Has(frame))
            return XenErrno.EINVAL;
        if (!_frames.SetPinned(frame, pinned: false))
            return XenErrno.EINVAL;
        _pinned.Remove(frame);
        _typed.LetGo(frame, (int)_frames.TypeOf(frame).Type);
        return XenErrno.Success;
    }

    private XenErrno SetRoot(ref Mfn root, Mfn frame)
    {
        // A guest may well pass the number that stands for "none" here.
        if (frame == Mfn.None)
            return XenErrno.EINVAL;
        if (root == frame)
            return XenErrno.Success;
        XenErrno error = _typed.Hold(frame, level: 4);
        if (error != XenErrno.Success)
            return error;
        ClearRoot(ref root);
        root = frame;
        return XenErrno.Success;
    }

    private XenErrno SetUserRoot(int vcpu, Mfn frame)
    {
        if (frame.Value != 0)
            return SetRoot(ref _userRoots[vcpu], frame);
        ClearRoot(ref _userRoots[vcpu]);
        return XenErrno.Success;
    }

    private void ClearRoot(ref Mfn root)
    {
        if (root != Mfn.None)
            _typed.LetGo(root, level: 4);
        root = Mfn.None;
    }

    /// <summary>Whether the kernel's address lies in a page table that is mapped there read-only, and where.</summary>
    private bool IsInTable(int vcpu, VirtualAddress address, out ulong machineAddress)
    {
        machineAddress = 0;
        if (!FindEntry(vcpu, address, out ulong entryAddress))
            return false;
        ulong entry = Volatile.Read(ref _host.Table(PageTableEntry.FrameOf(entryAddress))[(int)(entryAddress & 0xFFF) / sizeof(ulong)]);
        Mfn table = PageTableEntry.FrameOf(entry);
        machineAddress = table.Address | (address.Value & 0xFFF);
        return (entry & (PageTableEntry.Present | PageTableEntry.Writable)) == PageTableEntry.Present
            && _frames.TypeOf(table).Type is >= FrameType.L1 and <= FrameType.L4;
    }

    // Every step must be one of the domain's frames, so that even a wrong entry leads nowhere else.
    private bool Walk(Mfn root, VirtualAddress address, ulong needed, int lastLevel, out Mfn frame)
    {
        frame = root;
        if (!address.IsCanonical || GuestEntry.IsVmmSlot(PageTableEntry.Index(address.Value, level: 4)))
            return false;
        for (int level = 4; level >= lastLevel; level--)
        {
            if (!_frames.Has(frame))
                return false;
            ulong entry = Volatile.Read(ref _host.Table(frame)[PageTableEntry.Index(address.Value, level)]);
            if ((entry & needed) != needed)
                return false;
            frame = PageTableEntry.FrameOf(entry);
        }

        return _frames.Has(frame);
    }
}
