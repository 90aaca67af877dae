using Tessera.Plugins.Memory.DirectPaging;
using Tessera.Sdk;
using Tessera.Sdk.Cpu.X64;
using Tessera.Sdk.Memory;
using Tessera.Sdk.Xen;

namespace Tessera;

/// <summary>
/// An MMU whose guests run on tables of its own, filled fault by fault from the guest's, which direct paging validates as ever: what the
/// contract must offer to another kind of MMU. Every table of the guest's that was walked has one shadow, entry for entry; an entry that
/// changes empties its shadow's, and a frame that is no table any more has none.
/// </summary>
/// <param name="tables">
/// Frames for shadows; when they are used up, all but the roots in use are given back. One instruction of a guest may need a dozen, and without
/// them would be begun again for ever.
/// </param>
internal sealed class ShadowPaging(int tables) : IMmuVirtualization
{
    public long TableFrames(long frames) => tables;

    public IDomainMmu Attach(IMmuHost host) => new Shadow(host, tables);

    private sealed class Shadow : IDomainMmu, IMmuHost, IFrameTable
    {
        private const int Levels = 4;
        private const int FirstVmmSlot = 256;
        private const int LastVmmSlot = 271;
        private const ulong AccessedDirty = PageTableEntry.Accessed | PageTableEntry.Dirty;

        private readonly IMmuHost _host;
        private readonly IDomainMmu _guest;
        private readonly Dictionary<Mfn, Mfn> _shadows = [];
        private readonly int _most;

        public Shadow(IMmuHost host, int most)
        {
            (_host, _most) = (host, most);
            _guest = new DirectPaging().Attach(this);
        }

        // What CPUs run on, and why they fault.
        public Mfn Root(int vcpu, bool userMode)
        {
            Mfn root = _guest.Root(vcpu, userMode);
            if (root == Mfn.None)
                return root;
            if (!_shadows.ContainsKey(root))
                MakeRoom(1);
            return ShadowOf(root, Levels);
        }

        public Mfn GuestRoot(int vcpu, bool userMode) => _guest.Root(vcpu, userMode);

        public FaultAnswer OnFault(int vcpu, bool userMode, VirtualAddress address, PageFaultError error) =>
            address.IsCanonical && !IsVmmSlot(PageTableEntry.Index(address.Value, Levels))
            && TryFill(_guest.Root(vcpu, userMode), address.Value, error)
                ? FaultAnswer.Resolved : _guest.OnFault(vcpu, userMode, address, InGuestTables(vcpu, userMode, address, error));

        public void Release()
        {
            _guest.Release();
            foreach (Mfn table in _shadows.Keys.ToArray())
                Drop(table);
        }

        // What the guest asks for is direct paging's.
        public bool HasWork => _guest.HasWork;

        public bool Work(int entries) => _guest.Work(entries);

        public XenErrno AdoptBootTables(Mfn root) => _guest.AdoptBootTables(root);

        public XenErrno Update(ulong pointer, ulong value) => _guest.Update(pointer, value);

        public XenErrno UpdateVaMapping(int vcpu, VirtualAddress address, ulong entry) => _guest.UpdateVaMapping(vcpu, address, entry);

        public XenErrno Extended(int vcpu, uint command, Mfn frame, Mfn source) => _guest.Extended(vcpu, command, frame, source);

        public bool Translate(int vcpu, bool userMode, VirtualAddress address, bool forWriting, out ulong machineAddress) =>
            _guest.Translate(vcpu, userMode, address, forWriting, out machineAddress);

        public bool FindEntry(int vcpu, VirtualAddress address, out ulong entryAddress) => _guest.FindEntry(vcpu, address, out entryAddress);

        public XenErrno AcquireDescriptorFrame(Mfn frame) => _guest.AcquireDescriptorFrame(frame);

        public void ReleaseDescriptorFrame(Mfn frame) => _guest.ReleaseDescriptorFrame(frame);

        public XenErrno UpdateDescriptor(ulong machineAddress, ulong descriptor) => _guest.UpdateDescriptor(machineAddress, descriptor);

        // What direct paging is offered: the host, with an eye on its tables.
        public DomainId Domain => _host.Domain;

        public int MaxVcpus => _host.MaxVcpus;

        public IFrameTable Frames => this;

        public IReadOnlyList<RootEntry> HypervisorEntries => _host.HypervisorEntries;

        public Span<ulong> Table(Mfn frame) => _host.Table(frame);

        public bool TryAllocateTables(Span<Mfn> tables) => _host.TryAllocateTables(tables);

        public void FreeTables(ReadOnlySpan<Mfn> tables) => _host.FreeTables(tables);

        public void EntryChanged(ulong entryAddress, ulong oldEntry, ulong newEntry)
        {
            _host.EntryChanged(entryAddress, oldEntry, newEntry);
            Mfn table = PageTableEntry.FrameOf(entryAddress);
            int index = (int)(entryAddress & 4095) / sizeof(ulong);
            if (_shadows.TryGetValue(table, out Mfn shadow) && !(TypeOf(table).Type == FrameType.L4 && IsVmmSlot(index)))
                _ = Set(shadow, index, 0);
        }

        public void MemoryWritten(Mfn frame) => _host.MemoryWritten(frame);

        public void RootRetired(Mfn root) => _host.RootRetired(root);

        public void SetPfn(Mfn frame, Pfn pfn) => _host.SetPfn(frame, pfn);

        public bool Has(Mfn frame) => _host.Frames.Has(frame);

        public (FrameType Type, long Count) TypeOf(Mfn frame) => _host.Frames.TypeOf(frame);

        public TypeReference TakeType(Mfn frame, FrameType type) => _host.Frames.TakeType(frame, type);

        public bool DropType(Mfn frame)
        {
            bool isTable = TypeOf(frame).Type is >= FrameType.L1 and <= FrameType.L4;
            bool last = _host.Frames.DropType(frame);
            if (last && isTable)
                Drop(frame);
            return last;
        }

        public bool TakeReference(Mfn frame) => _host.Frames.TakeReference(frame);

        public void DropReference(Mfn frame) => _host.Frames.DropReference(frame);

        public long ReferencesOf(Mfn frame) => _host.Frames.ReferencesOf(frame);

        public bool SetPinned(Mfn frame, bool pinned) => _host.Frames.SetPinned(frame, pinned);

        /// <summary>The error code that a CPU would give that walked the guest's tables.</summary>
        private PageFaultError InGuestTables(int vcpu, bool userMode, VirtualAddress address, PageFaultError error) =>
            _guest.Translate(vcpu, userMode, address, forWriting: false, out _) ? error | PageFaultError.Present : error & ~PageFaultError.Present;

        /// <summary>Fills the shadows on the way to an address, as far as the guest's tables allow the access.</summary>
        /// <returns>False where they do not, or where everything was there already.</returns>
        private bool TryFill(Mfn root, ulong address, PageFaultError error)
        {
            Span<ulong> entries = stackalloc ulong[Levels + 1];
            if (!TryWalk(root, address, error, entries))
                return false;
            MakeRoom(Levels);
            bool filled = false;
            Mfn table = root;
            for (int level = Levels; level >= 1; level--)
            {
                Mfn target = PageTableEntry.FrameOf(entries[level]);
                ulong entry = (entries[level] & ~PageTableEntry.FrameMask) | AccessedDirty | (level == 1 ? target : ShadowOf(target, level - 1)).Address;
                // A page is writable from its first write on, so that the guest's dirty bit is true.
                if (level == 1 && (entries[1] & PageTableEntry.Dirty) == 0)
                    entry &= ~PageTableEntry.Writable;
                filled |= Set(ShadowOf(table, level), PageTableEntry.Index(address, level), entry);
                table = target;
            }

            return filled;
        }

        /// <summary>Walks the guest's tables as a CPU would, and marks what was used.</summary>
        private bool TryWalk(Mfn root, ulong address, PageFaultError error, Span<ulong> entries)
        {
            bool writes = (error & PageFaultError.Write) != 0;
            ulong needed = PageTableEntry.Present | PageTableEntry.User | (writes ? PageTableEntry.Writable : 0);
            Mfn table = root;
            for (int level = Levels; level >= 1; level--)
            {
                if (!Has(table))
                    return false;
                ulong entry = entries[level] = Volatile.Read(ref _host.Table(table)[PageTableEntry.Index(address, level)]);
                if ((entry & needed) != needed || ((error & PageFaultError.Fetch) != 0 && (entry & PageTableEntry.NoExecute) != 0))
                    return false;
                table = PageTableEntry.FrameOf(entry);
            }

            if (!Has(table))
                return false;
            table = root;
            for (int level = Levels; level >= 1; level--)
            {
                ulong marks = PageTableEntry.Accessed | (writes && level == 1 ? PageTableEntry.Dirty : 0);
                int index = PageTableEntry.Index(address, level);
                ulong old = Interlocked.Or(ref _host.Table(table)[index], marks);
                if ((old & marks) != marks)
                    _host.EntryChanged(table.Address + ((ulong)index * sizeof(ulong)), old, old | marks);
                entries[level] |= marks;
                table = PageTableEntry.FrameOf(entries[level]);
            }

            return true;
        }

        private bool Set(Mfn table, int index, ulong entry)
        {
            ref ulong slot = ref _host.Table(table)[index];
            if (slot == entry)
                return false;
            ulong old = Interlocked.Exchange(ref slot, entry);
            _host.EntryChanged(table.Address + ((ulong)index * sizeof(ulong)), old, entry);
            return true;
        }

        private Mfn ShadowOf(Mfn table, int level)
        {
            if (_shadows.TryGetValue(table, out Mfn shadow))
                return shadow;
            Assert.That(_host.TryAllocateTables(new Span<Mfn>(ref shadow)), Is.True, "there was room");
            _shadows.Add(table, shadow);
            if (level == Levels)
            {
                foreach (RootEntry entry in HypervisorEntries)
                    _ = Set(shadow, entry.Slot, entry.Entry);
            }

            return shadow;
        }

        /// <summary>When fewer are left, gives all shadows back but those that CPUs run on, and empties these.</summary>
        private void MakeRoom(int wanted)
        {
            if (_most - _shadows.Count >= wanted)
                return;
            foreach (Mfn table in _shadows.Keys.Where(IsRoot))
            {
                for (int index = 0; index < PageTableEntry.EntriesPerTable; index++)
                {
                    if (!IsVmmSlot(index))
                        _ = Set(_shadows[table], index, 0);
                }
            }

            foreach (Mfn table in _shadows.Keys.Where(table => !IsRoot(table)).ToArray())
                Drop(table);
        }

        private bool IsRoot(Mfn table) =>
            Enumerable.Range(0, MaxVcpus).Any(vcpu => _guest.Root(vcpu, userMode: false) == table || _guest.Root(vcpu, userMode: true) == table);

        private void Drop(Mfn table)
        {
            if (!_shadows.Remove(table, out Mfn shadow))
                return;
            _host.RootRetired(shadow);
            _host.FreeTables([shadow]);
        }

        private static bool IsVmmSlot(int index) => index is >= FirstVmmSlot and <= LastVmmSlot;
    }
}
