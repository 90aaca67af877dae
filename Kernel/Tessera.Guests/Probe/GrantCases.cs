using Tessera.Sdk.Xen;

namespace Tessera.Guests.Probe;

/// <summary>grant_table_op: the probe grants pages to itself, and asks for what is not its own.</summary>
internal static class GrantCases
{
    private const int Ops = 15;
    private const int TablePages = 1;

    public static void Emit(ProbeCode p)
    {
        p.Group("grant_table_op");
        for (int op = 0; op < Ops; op++)
        {
            p.Clear(p.Page);
            p.Call($"{op} none", Hypercall.GrantTableOp, [op, p.Page, 0]);
            p.Call($"{op} -1", Hypercall.GrantTableOp, [op, p.Page, -1]);
            p.Call($"{op} null", Hypercall.GrantTableOp, [op, 0, 1]);
            p.Call($"{op} noncanonical", Hypercall.GrantTableOp, [op, ProbeCode.NotCanonical, 1]);
        }

        Sizes(p);
        SetUp(p);
        Versions(p);
        Maps(p);
        Copies(p);
        Rest(p);
    }

    private static void Sizes(ProbeCode p)
    {
        foreach ((string name, int number) in (IEnumerable<(string, int)>)[("self", DomainIds.Self), .. ProbeCode.OtherDomains])
        {
            p.Clear(p.Page);
            p.Put32(p.Page, number);
            p.Call($"query {name}", Hypercall.GrantTableOp, [(int)GrantTableOp.QuerySize, p.Page, 1], p.Page + 4, p.Page + 8, p.Page + 12);
            p.Put32(p.Page, number, 0);
            p.Call($"get_version {name}", Hypercall.GrantTableOp, [(int)GrantTableOp.GetVersion, p.Page, 1], p.Page + 4);
        }
    }

    private static void Frames(ProbeCode p, string name, int domain, long frames, ulong list)
    {
        p.Put32(p.Page, domain, frames, 0x7777, 0);
        p.Put(p.Page + 16, 8, list);
        p.Call($"setup {name}", Hypercall.GrantTableOp, [(int)GrantTableOp.SetupTable, p.Page, 1], p.Page + 8);
    }

    private static void SetUp(ProbeCode p)
    {
        Frames(p, "0 frames", DomainIds.Self, 0, p.Second);
        Frames(p, "1 frame", DomainIds.Self, TablePages, p.Second);
        Frames(p, "bad list", DomainIds.Self, 1, ProbeCode.Unmapped);
        Frames(p, "null list", DomainIds.Self, 1, 0);
        Frames(p, "64 frames", DomainIds.Self, 64, p.Second);
        Frames(p, "65 frames", DomainIds.Self, 65, p.Second);
        Frames(p, "-1 frames", DomainIds.Self, -1, p.Second);
        foreach ((string name, int number) in ProbeCode.OtherDomains)
            Frames(p, name, number, 1, p.Second);
        p.Put32(p.Page, DomainIds.Self);
        p.Call("query after", Hypercall.GrantTableOp, [(int)GrantTableOp.QuerySize, p.Page, 1], p.Page + 4, p.Page + 8);
        // The table's first page takes the place of a page of the image.
        p.C.mov(Iced.Intel.AssemblerRegisters.rsi, GuestCode.Absolute(p.Second));
        p.C.shl(Iced.Intel.AssemblerRegisters.rsi, 12);
        p.C.or(Iced.Intel.AssemblerRegisters.rsi, GuestCode.Writable);
        p.C.mov(GuestCode.Absolute(p.Second), Iced.Intel.AssemblerRegisters.rsi);
        p.Call("map the table", Hypercall.UpdateVaMapping, [p.Spare + (2 * 4096), Argument.Slot(p.Second), 2]);
        p.Facts("first entries", p.Spare + (2 * 4096), p.Spare + (2 * 4096) + 64);
    }

    private static void Versions(ProbeCode p)
    {
        foreach (int version in (int[])[0, 3, 1, 2])
        {
            p.Put32(p.Page, version);
            p.Call($"set_version {version}", Hypercall.GrantTableOp, [(int)GrantTableOp.SetVersion, p.Page, 1], p.Page);
        }

        foreach ((string name, int domain, int frames, ulong list) in ((string, int, int, ulong)[])[("good", DomainIds.Self, 1, p.Second),
            ("none", DomainIds.Self, 0, p.Second),
            ("bad list", DomainIds.Self, 1, ProbeCode.Unmapped), ("many", DomainIds.Self, 1000, p.Second), ("dom0", 0, 1, p.Second),
                ("nobody", ProbeCode.NoDomain, 1, p.Second)])
        {
            p.Put32(p.Page, frames, domain | (0x7777 << 16));
            p.Put(p.Page + 8, 8, list);
            p.Call($"status_frames {name}", Hypercall.GrantTableOp, [(int)GrantTableOp.GetStatusFrames, p.Page, 1], p.Page + 4);
        }

        p.Put32(p.Page, 1);
        p.Call("set_version back", Hypercall.GrantTableOp, [(int)GrantTableOp.SetVersion, p.Page, 1], p.Page);
        p.Put32(p.Page, 1, DomainIds.Self | (0x7777 << 16));
        p.Put(p.Page + 8, 8, p.Second);
        p.Call("status_frames version 1", Hypercall.GrantTableOp, [(int)GrantTableOp.GetStatusFrames, p.Page, 1], p.Page + 4);
    }

    private static void Map(ProbeCode p, string name, Argument address, int flags, long reference, int domain)
    {
        p.Put(p.Page, 8, address);
        p.Put32(p.Page + 8, flags, reference, domain | (0x7777 << 16), -1);
        p.Call($"map {name}", Hypercall.GrantTableOp, [(int)GrantTableOp.MapGrantRef, p.Page, 1], p.Page + 16);
    }

    private static void Maps(ProbeCode p)
    {
        const int Host = (int)GrantMapFlags.HostMap;
        ulong page = p.Spare + 4096;
        foreach ((string name, int number) in ProbeCode.OtherDomains)
        {
            Map(p, $"{name} 8", page, Host, 8, number);
            Map(p, $"{name} -1", page, Host, -1, number);
        }

        Map(p, "no flags", page, 0, 8, 0);
        Map(p, "self", page, Host, 8, DomainIds.Self);
        Map(p, "device only", page, (int)GrantMapFlags.DeviceMap, 8, ProbeCode.NoDomain);
        foreach (long handle in (long[])[0, 1, 7, 8192, -1])
        {
            p.Put(p.Page, 8, page);
            p.Put(p.Page + 8, 8, 0);
            p.Put32(p.Page + 16, handle, 0x7777);
            p.Call($"unmap {handle}", Hypercall.GrantTableOp, [(int)GrantTableOp.UnmapGrantRef, p.Page, 1], p.Page + 20);
            p.Put32(p.Page + 16, handle, 0x7777);
            p.Call($"replace {handle}", Hypercall.GrantTableOp, [(int)GrantTableOp.UnmapAndReplace, p.Page, 1], p.Page + 20);
        }
    }

    private static void Copy(ProbeCode p, string name, Argument source, int sourceDomain, int sourceOffset, Argument target,
        int targetDomain, int targetOffset, int length, int flags)
    {
        p.Put(p.Page, 8, source);
        p.Put32(p.Page + 8, sourceDomain | (sourceOffset << 16), 0);
        p.Put(p.Page + 16, 8, target);
        p.Put32(p.Page + 24, targetDomain | (targetOffset << 16), 0, length | (flags << 16), 0x7777);
        p.Call($"copy {name}", Hypercall.GrantTableOp, [(int)GrantTableOp.Copy, p.Page, 1], p.Page + 36);
    }

    private static void Copies(ProbeCode p)
    {
        const int Self = DomainIds.Self;
        Argument own = Argument.Frame(p.Second), other = Argument.Frame(p.Spare);
        Copy(p, "own", own, Self, 0, other, Self, 0, 64, 0);
        Copy(p, "length 0", own, Self, 0, other, Self, 0, 0, 0);
        Copy(p, "whole page", own, Self, 0, other, Self, 0, 4096, 0);
        Copy(p, "crosses source", own, Self, 4000, other, Self, 0, 200, 0);
        Copy(p, "crosses target", own, Self, 0, other, Self, 4000, 200, 0);
        Copy(p, "flags 4", own, Self, 0, other, Self, 0, 64, 4);
        Copy(p, "no source frame", ProbeCode.NoFrame, Self, 0, other, Self, 0, 64, 0);
        Copy(p, "no target frame", own, Self, 0, ProbeCode.NoFrame, Self, 0, 64, 0);
        Copy(p, "source frame 1", 1, Self, 0, other, Self, 0, 64, 0);
        Copy(p, "target is a table", own, Self, 0, Argument.Slot(p.TableFrame(1)), Self, 0, 64, 0);
        foreach ((string name, int number) in ProbeCode.OtherDomains)
        {
            Copy(p, $"frame of {name}", own, number, 0, other, Self, 0, 64, 0);
            Copy(p, $"grant of {name}", 8, number, 0, other, Self, 0, 64, (int)GrantCopyFlags.SourceGref);
            Copy(p, $"to grant of {name}", own, Self, 0, 8, number, 0, 64, (int)GrantCopyFlags.DestGref);
        }

        Copy(p, "own reference", 8, Self, 0, other, Self, 0, 64, (int)GrantCopyFlags.SourceGref);
        Copy(p, "own bad reference", 0xff_ffff, Self, 0, other, Self, 0, 64, (int)GrantCopyFlags.SourceGref);
        // Reference 8: the page Second for itself, read-only and not.
        ulong entry = p.Spare + (2 * 4096) + (8 * 8);
        foreach ((string name, int flags) in ((string, int)[])[("granted", 1), ("granted read only", 5), ("granted transfer", 2),
            ("granted reading", 9)])
        {
            p.Put(entry + 4, 4, own);
            p.Put32(entry, flags);
            Copy(p, $"{name} to nobody", 8, Self, 0, other, Self, 0, 64, (int)GrantCopyFlags.SourceGref);
            Copy(p, $"to {name}", other, Self, 0, 8, Self, 0, 64, (int)GrantCopyFlags.DestGref);
        }

        p.Put32(entry, 0, 0);
    }

    private static void Rest(ProbeCode p)
    {
        p.Put(p.Page, 8, Argument.Frame(p.Spare));
        p.Put32(p.Page + 8, 0, 8, 0x7777, 0);
        p.Call("transfer dom0", Hypercall.GrantTableOp, [(int)GrantTableOp.Transfer, p.Page, 1], p.Page + 16);
        p.Put(p.Page, 8, ProbeCode.NoFrame);
        p.Put32(p.Page + 8, ProbeCode.NoDomain, 8, 0x7777, 0);
        p.Call("transfer no frame", Hypercall.GrantTableOp, [(int)GrantTableOp.Transfer, p.Page, 1], p.Page + 16);
        foreach ((long first, long second) in ((long, long)[])[(8, 9), (8, 8), (0, 1), (8, -1), (-1, 8), (511, 512), (40000, 8)])
        {
            p.Put32(p.Page, first, second, 0x7777);
            p.Call($"swap {first} {second}", Hypercall.GrantTableOp, [(int)GrantTableOp.Swap, p.Page, 1], p.Page + 8);
        }

        foreach ((string name, int offset, int length, int op) in ((string, int, int, int)[])[("clean", 0, 64, 1),
            ("invalidate", 0, 64, 2), ("both", 0, 64, 3), ("no op", 0, 64, 0),
            ("crosses", 4000, 200, 1), ("length 0", 0, 0, 1), ("bad op", 0, 64, 16)])
        {
            p.Put(p.Page, 8, Argument.Machine(p.Second));
            p.Put32(p.Page + 8, offset | (length << 16), op);
            p.Call($"cache_flush {name}", Hypercall.GrantTableOp, [(int)GrantTableOp.CacheFlush, p.Page, 1]);
        }

        p.Put(p.Page, 8, ProbeCode.NoFrame << 12);
        p.Put32(p.Page + 8, 64 << 16, 1);
        p.Call("cache_flush no frame", Hypercall.GrantTableOp, [(int)GrantTableOp.CacheFlush, p.Page, 1]);
    }
}
