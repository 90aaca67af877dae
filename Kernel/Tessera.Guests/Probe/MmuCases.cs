using Tessera.Sdk.Xen;

namespace Tessera.Guests.Probe;

/// <summary>mmu_update, update_va_mapping and its form for another domain, mmuext_op.</summary>
internal static class MmuCases
{
    private const int SpareIndex = 3;
    private const int MachToPhys = (int)MmuUpdateKind.MachphysUpdate;

    public static void Emit(ProbeCode p)
    {
        Updates(p);
        UpdatesOfOthers(p);
        Upper(p);
        Mappings(p);
        OtherMappings(p);
        Extended(p);
        Pins(p);
    }

    // The request stands at the page's start; where it goes on is at Second.
    private static void Update(ProbeCode p, string name, Argument count, Argument done, Argument domain)
    {
        p.Put32(p.Page + 64, -1);
        p.Call(name, Hypercall.MmuUpdate, [p.Page, count, done, domain], p.Page + 64);
    }

    private static void One(ProbeCode p, string name, Argument value, int bits = 0, int domain = DomainIds.Self)
    {
        p.PutEntryAddress(p.Page, 1, ProbeCode.Index(p.Spare + (SpareIndex * 4096), 1), bits);
        p.Put(p.Page + 8, 8, value);
        Update(p, name, 1, p.Page + 64, domain);
    }

    private static void Updates(ProbeCode p)
    {
        p.Group("mmu_update");
        ulong page = p.Spare + (SpareIndex * 4096);
        One(p, "read only", Argument.Entry(page, GuestCode.ReadOnly));
        One(p, "writable", Argument.Entry(page, GuestCode.Writable));
        One(p, "preserve ad", Argument.Entry(page, GuestCode.Writable), (int)MmuUpdateKind.PtUpdatePreserveAd);
        One(p, "kind 3", Argument.Entry(page, GuestCode.Writable), (int)MmuUpdateKind.PtUpdateNoTranslate);
        One(p, "not present", 0x1234000);
        One(p, "empty", 0);
        One(p, "no frame", (ProbeCode.NoFrame << 12) | 1);
        One(p, "frame 1 read only", 0x1001);
        One(p, "frame 1 writable", 0x1003);
        One(p, "beyond 52 bits", (1L << 52) | 1);
        One(p, "no execute", Argument.Entry(page, GuestCode.Writable));
        One(p, "user", Argument.Entry(page, GuestCode.Writable | 4));
        One(p, "global", Argument.Entry(page, GuestCode.Writable | 0x100));
        One(p, "pat", Argument.Entry(page, GuestCode.Writable | 0x80));
        One(p, "pcd", Argument.Entry(page, GuestCode.Writable | 0x10));
        One(p, "pwt", Argument.Entry(page, GuestCode.Writable | 8));
        One(p, "software bits", Argument.Entry(page, GuestCode.Writable | 0xe00));
        for (int level = 1; level <= 4; level++)
        {
            p.PutTableEntry(p.Second, level, GuestCode.ReadOnly);
            One(p, $"table {level} read only", Argument.Slot(p.Second));
            p.PutTableEntry(p.Second, level, GuestCode.Writable);
            One(p, $"table {level} writable", Argument.Slot(p.Second));
        }

        One(p, "back", Argument.Entry(page, GuestCode.Writable));
        Update(p, "none", 0, p.Page + 64, DomainIds.Self);
        foreach ((string name, ulong address) in ProbeCode.BadPointers)
        {
            p.Call($"list {name}", Hypercall.MmuUpdate, [address, 1, 0, DomainIds.Self]);
            p.PutEntryAddress(p.Page, 1, ProbeCode.Index(page, 1));
            p.Put(p.Page + 8, 8, Argument.Entry(page, GuestCode.Writable));
            p.Call($"done {name}", Hypercall.MmuUpdate, [p.Page, 1, address, DomainIds.Self]);
        }

        foreach (int bits in (int[])[4, 5, 6, 7])
            One(p, $"pointer bits {bits}", Argument.Entry(page, GuestCode.Writable), bits);
        p.Put64(p.Page, Argument.Machine(p.Second), 0x1111);
        Update(p, "data page", 1, p.Page + 64, DomainIds.Self);
        p.Put64(p.Page, Argument.Machine(p.Second + 3), 0x1111);
        Update(p, "data page odd", 1, p.Page + 64, DomainIds.Self);
        p.Put64(p.Page, ProbeCode.NoFrame << 12, 0);
        Update(p, "entry in no frame", 1, p.Page + 64, DomainIds.Self);
        p.Put64(p.Page, 0x1000, 0);
        Update(p, "entry in frame 1", 1, p.Page + 64, DomainIds.Self);
        p.Put64(p.Page, -8, 0);
        Update(p, "entry beyond", 1, p.Page + 64, DomainIds.Self);
    }

    private static void UpdatesOfOthers(ProbeCode p)
    {
        p.Group("mmu_update");
        ulong page = p.Spare + (SpareIndex * 4096);
        foreach ((string name, int number) in ProbeCode.OtherDomains)
        {
            if (number == 0xffff)
                continue;
            One(p, $"frames of {name}", Argument.Entry(page, GuestCode.Writable), 0, number);
            One(p, $"tables of {name}", Argument.Entry(page, GuestCode.Writable), 0, ((number + 1) << 16) | DomainIds.Self);
        }

        One(p, "tables of self", Argument.Entry(page, GuestCode.Writable), 0, ((DomainIds.Self + 1) << 16) | DomainIds.Self);
        p.Put64(p.Page, new Argument(ArgumentKind.Frame, page, 12, MachToPhys), (page - GuestImage.VirtBase) >> 12);
        Update(p, "machine to physical", 1, p.Page + 64, DomainIds.Self);
        p.Put64(p.Page, (ProbeCode.NoFrame << 12) | MachToPhys, 5);
        Update(p, "machine to physical no frame", 1, p.Page + 64, DomainIds.Self);
        p.Put64(p.Page, 0x1000 | MachToPhys, 5);
        Update(p, "machine to physical frame 1", 1, p.Page + 64, DomainIds.Self);
        p.PutEntryAddress(p.Page, 1, ProbeCode.Index(page, 1));
        p.Put(p.Page + 8, 8, Argument.Entry(page, GuestCode.Writable));
        p.Put64(p.Page + 16, ProbeCode.NoFrame << 12, 0);
        Update(p, "second is bad", 2, p.Page + 64, DomainIds.Self);
        p.Put64(p.Page + 16, 0x1000, 0);
        Update(p, "many, second is bad", 100, p.Page + 64, DomainIds.Self);
    }

    // Entries of upper tables: slots that map nothing, and the table itself.
    private static void Upper(ProbeCode p)
    {
        p.Group("mmu_update");
        for (int level = 2; level <= 4; level++)
        {
            int free = level == 4 ? 5 : 300;
            p.PutEntryAddress(p.Page, level, free);
            p.Put(p.Page + 8, 8, 0);
            Update(p, $"L{level} empty", 1, p.Page + 64, DomainIds.Self);
            p.Put(p.Page + 8, 8, (ProbeCode.NoFrame << 12) | 0x67);
            Update(p, $"L{level} no frame", 1, p.Page + 64, DomainIds.Self);
            p.Put(p.Page + 8, 8, 0x1067);
            Update(p, $"L{level} frame 1", 1, p.Page + 64, DomainIds.Self);
            p.Put(p.Page + 8, 8, Argument.Entry(p.Second, 0x67));
            Update(p, $"L{level} writable page", 1, p.Page + 64, DomainIds.Self);
            p.PutTableEntry(p.Page + 8, level - 1, 0x67);
            Update(p, $"L{level} good table", 1, p.Page + 64, DomainIds.Self);
            p.Put(p.Page + 8, 8, 0);
            Update(p, $"L{level} good table away", 1, p.Page + 64, DomainIds.Self);
            p.PutTableEntry(p.Page + 8, level, 0x67);
            Update(p, $"L{level} itself writable", 1, p.Page + 64, DomainIds.Self);
            p.PutTableEntry(p.Page + 8, level, 0x65);
            Update(p, $"L{level} itself read only", 1, p.Page + 64, DomainIds.Self);
            p.Put(p.Page + 8, 8, 0);
            p.Make(Hypercall.MmuUpdate, p.Page, 1, 0, DomainIds.Self);
            if (level > 2)
            {
                p.PutTableEntry(p.Page + 8, level - 2, 0x67);
                Update(p, $"L{level} table of wrong level", 1, p.Page + 64, DomainIds.Self);
            }

            p.PutTableEntry(p.Page + 8, level - 1, 0x1e7);
            Update(p, $"L{level} large", 1, p.Page + 64, DomainIds.Self);
            p.Put(p.Page + 8, 8, 0);
            p.Make(Hypercall.MmuUpdate, p.Page, 1, 0, DomainIds.Self);
        }

        foreach (int slot in (int[])[256, 257, 258, 260, 264, 271, 272])
        {
            p.PutEntryAddress(p.Page, 4, slot);
            p.Put(p.Page + 8, 8, 0);
            Update(p, $"L4 slot {slot} empty", 1, p.Page + 64, DomainIds.Self);
            p.PutTableEntry(p.Page + 8, 3, 0x67);
            Update(p, $"L4 slot {slot} table", 1, p.Page + 64, DomainIds.Self);
            p.Put(p.Page + 8, 8, 0);
            p.Make(Hypercall.MmuUpdate, p.Page, 1, 0, DomainIds.Self);
        }
    }

    private static void Mappings(ProbeCode p)
    {
        p.Group("update_va_mapping");
        ulong page = p.Spare + (SpareIndex * 4096);
        Argument good = Argument.Entry(page, GuestCode.Writable);
        for (int flags = 0; flags < 8; flags++)
            p.Call($"flags {flags}", Hypercall.UpdateVaMapping, [page, good, flags]);
        p.Call("flags ff0", Hypercall.UpdateVaMapping, [page, good, 0xff0]);
        p.Call("flush mask", Hypercall.UpdateVaMapping, [page, good, ProbeCode.Unmapped | 1]);
        p.Call("invlpg mask", Hypercall.UpdateVaMapping, [page, good, ProbeCode.Unmapped | 2]);
        p.Put64(p.Page, 1);
        p.Call("good mask", Hypercall.UpdateVaMapping, [page, good, p.Page | 1]);
        p.Call("read only", Hypercall.UpdateVaMapping, [page, Argument.Entry(page, GuestCode.ReadOnly), 2]);
        p.Call("empty", Hypercall.UpdateVaMapping, [page, 0, 2]);
        p.Call("no frame", Hypercall.UpdateVaMapping, [page, (ProbeCode.NoFrame << 12) | 0x63, 2]);
        p.Call("frame 1", Hypercall.UpdateVaMapping, [page, 0x1063, 2]);
        p.Call("unaligned", Hypercall.UpdateVaMapping, [page + 5, good, 2]);
        p.Call("no table", Hypercall.UpdateVaMapping, [ProbeCode.Unmapped, good, 2]);
        p.Call("low", Hypercall.UpdateVaMapping, [0x1000, good, 2]);
        p.Call("noncanonical", Hypercall.UpdateVaMapping, [ProbeCode.NotCanonical, good, 2]);
        p.Call("hypervisor", Hypercall.UpdateVaMapping, [ProbeCode.Hypervisor, good, 2]);
        p.Call("machine table", Hypercall.UpdateVaMapping, [0xffff_8000_0000_0000, good, 2]);
        for (int level = 1; level <= 4; level++)
        {
            p.PutTableEntry(p.Second, level, GuestCode.Writable);
            p.Call($"table {level} writable", Hypercall.UpdateVaMapping, [page, Argument.Slot(p.Second), 2]);
            p.PutTableEntry(p.Second, level, GuestCode.ReadOnly);
            p.Call($"table {level} read only", Hypercall.UpdateVaMapping, [page, Argument.Slot(p.Second), 2]);
        }

        p.Make(Hypercall.UpdateVaMapping, page, good, 2);
    }

    private static void OtherMappings(ProbeCode p)
    {
        p.Group("update_va_mapping_otherdomain");
        ulong page = p.Spare + (SpareIndex * 4096);
        Argument good = Argument.Entry(page, GuestCode.Writable);
        p.Call("self", Hypercall.UpdateVaMappingOtherdomain, [page, good, 2, DomainIds.Self]);
        foreach ((string name, int number) in ProbeCode.OtherDomains)
            p.Call(name, Hypercall.UpdateVaMappingOtherdomain, [page, good, 2, number]);
        p.Call("self no frame", Hypercall.UpdateVaMappingOtherdomain, [page, (ProbeCode.NoFrame << 12) | 0x63, 2, DomainIds.Self]);
        p.Make(Hypercall.UpdateVaMapping, page, good, 2);
    }

    private static void Ext(ProbeCode p, string name, int command, Argument first, Argument second = default, Argument? domain = null)
    {
        p.Put64(p.Page, command, first, second);
        p.Put32(p.Page + 64, -1);
        p.Call(name, Hypercall.MmuextOp, [p.Page, 1, p.Page + 64, domain ?? (Argument)DomainIds.Self], p.Page + 64);
    }

    private static void Extended(ProbeCode p)
    {
        p.Group("mmuext_op");
        for (int command = 0; command < 24; command++)
        {
            if (command is 6 or 10)
            {
                Ext(p, $"{command}", command, 0);
                continue;
            }

            Ext(p, $"{command} no frame", command, ProbeCode.NoFrame);
            Ext(p, $"{command} frame 1", command, 1);
            Ext(p, $"{command} -1", command, -1, -1);
        }

        foreach (int command in (int[])[8, 9])
        {
            p.Put64(p.Page + 128, 1);
            Ext(p, $"{command} mask", command, p.Second, p.Page + 128);
            foreach ((string name, ulong address) in ProbeCode.BadPointers)
                Ext(p, $"{command} mask {name}", command, p.Second, address);
        }

        Ext(p, "invlpg local", 7, p.Second);
        Ext(p, "invlpg all", 11, p.Second);
        Ext(p, "invlpg noncanonical", 7, ProbeCode.NotCanonical);
        Ext(p, "ldt none", 13, 0, 0);
        Ext(p, "ldt unaligned", 13, p.Second + 8, 1);
        Ext(p, "ldt 8193", 13, p.Second, 8193);
        Ext(p, "ldt unmapped", 13, ProbeCode.Unmapped, 1);
        Ext(p, "ldt noncanonical", 13, ProbeCode.NotCanonical, 1);
        Ext(p, "ldt hypervisor", 13, ProbeCode.Hypervisor, 1);
        Ext(p, "ldt none again", 13, 0, 0);
        Ext(p, "clear", 16, Argument.Frame(p.Second));
        Ext(p, "clear table", 16, Argument.Slot(p.TableFrame(1)));
        Ext(p, "copy", 17, Argument.Frame(p.Second), Argument.Frame(p.Page));
        Ext(p, "copy no source", 17, Argument.Frame(p.Second), ProbeCode.NoFrame);
        Ext(p, "copy of table", 17, Argument.Frame(p.Second), Argument.Slot(p.TableFrame(1)));
        Ext(p, "copy to table", 17, Argument.Slot(p.TableFrame(1)), Argument.Frame(p.Second));
        foreach ((string name, int number) in ProbeCode.OtherDomains.SkipLast(1))
            Ext(p, $"of {name}", 6, 0, 0, number);
        foreach ((string name, ulong address) in ProbeCode.BadPointers)
        {
            p.Call($"list {name}", Hypercall.MmuextOp, [address, 1, 0, DomainIds.Self]);
            p.Put64(p.Page, 6, 0, 0);
            p.Call($"done {name}", Hypercall.MmuextOp, [p.Page, 1, address, DomainIds.Self]);
        }

        p.Call("none", Hypercall.MmuextOp, [p.Page, 0, 0, DomainIds.Self]);
    }

    private static void Pins(ProbeCode p)
    {
        p.Group("mmuext_op");
        ulong page = p.Spare + (SpareIndex * 4096);
        Argument frame = Argument.Frame(page);
        p.Clear(page);
        for (int level = 1; level <= 4; level++)
            Ext(p, $"pin L{level} writable", level - 1, frame);
        p.G.Remap(page, GuestCode.ReadOnly);
        for (int level = 1; level <= 4; level++)
        {
            Ext(p, $"pin L{level}", level - 1, frame);
            Ext(p, $"pin L{level} again", level - 1, frame);
            for (int other = 1; other <= 4; other++)
            {
                if (other != level)
                    Ext(p, $"pin L{level} as L{other}", other - 1, frame);
            }

            p.Call($"L{level} writable", Hypercall.UpdateVaMapping, [page, Argument.Entry(page, GuestCode.Writable), 2]);
            Ext(p, $"clear L{level}", 16, frame);
            if (level != 4)
                Ext(p, $"base pointer L{level}", 5, frame);
            Ext(p, $"user base pointer L{level}", 15, frame);
            if (level == 4)
                Ext(p, "user base pointer none", 15, 0);
            Ext(p, $"unpin L{level}", 4, frame);
            Ext(p, $"unpin L{level} again", 4, frame);
        }

        for (int level = 1; level <= 4; level++)
        {
            Ext(p, $"own L{level} pin", level - 1, Argument.Slot(p.TableFrame(level)));
            Ext(p, $"own L{level} pin again", level - 1, Argument.Slot(p.TableFrame(level)));
            if (level < 4)
                Ext(p, $"own L{level} unpin", 4, Argument.Slot(p.TableFrame(level)));
            Ext(p, $"own L{level} pin as another", level % 4, Argument.Slot(p.TableFrame(level)));
        }

        Ext(p, "base pointer own", 5, Argument.Slot(p.TableFrame(4)));
        Ext(p, "base pointer writable page", 5, Argument.Frame(p.Second));
        Ext(p, "base pointer L3", 5, Argument.Slot(p.TableFrame(3)));
        Ext(p, "unpin writable page", 4, Argument.Frame(p.Second));
        p.G.Remap(page, GuestCode.Writable);
    }
}
