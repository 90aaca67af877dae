using Tessera.Sdk.Xen;
using static Iced.Intel.AssemblerRegisters;

namespace Tessera.Guests.Probe;

/// <summary>memory_op, and the table of machine frames.</summary>
internal static class MemoryCases
{
    private const int Ops = 32;
    private const int Populate = (int)MemoryOp.PopulatePhysmap;
    private const int Increase = (int)MemoryOp.IncreaseReservation;
    private const int Decrease = (int)MemoryOp.DecreaseReservation;

    public static void Emit(ProbeCode p)
    {
        p.Group("memory_op");
        for (int op = 0; op < Ops; op++)
        {
            if (op is Populate or Increase or Decrease or (int)MemoryOp.MaximumRamPage)
                continue;
            p.Clear(p.Page);
            p.Call($"{op} zero", Hypercall.MemoryOp, [op, p.Page]);
            // A map that the caller set would be the answer to the questions after it.
            p.Put32(p.Page, op == (int)MemoryOp.SetMemoryMap ? 0 : DomainIds.Self);
            p.Call($"{op} of self", Hypercall.MemoryOp, [op, p.Page]);
            p.Put32(p.Page, ProbeCode.NoDomain);
            p.Call($"{op} of nobody", Hypercall.MemoryOp, [op, p.Page]);
            foreach ((string name, ulong address) in ProbeCode.BadPointers)
                p.Call($"{op} {name}", Hypercall.MemoryOp, [op, address]);
        }

        Sizes(p);
        Maps(p);
        MachineTable(p);
        Reservations(p);
        Exchange(p);
    }

    private static void Sizes(ProbeCode p)
    {
        foreach (int op in (int[])[3, 4, 14])
        {
            p.Put32(p.Page, DomainIds.Self, 0);
            p.Call($"{op} self", Hypercall.MemoryOp, [op, p.Page]);
            foreach ((string name, int number) in ProbeCode.OtherDomains)
            {
                p.Put32(p.Page, number, 0);
                p.Call($"{op} {name}", Hypercall.MemoryOp, [op, p.Page]);
            }
        }
    }

    private static void Maps(ProbeCode p)
    {
        p.Put64(p.Page, 8, p.Second);
        p.Call("memory_map", Hypercall.MemoryOp, [(int)MemoryOp.MemoryMap, p.Page], p.Page, p.Second, p.Second + 8, p.Second + 12,
            p.Second + 16);
        p.Put64(p.Page, 1, p.Second);
        p.Call("memory_map 1", Hypercall.MemoryOp, [(int)MemoryOp.MemoryMap, p.Page], p.Page);
        p.Put64(p.Page, 0, p.Second);
        p.Call("memory_map 0", Hypercall.MemoryOp, [(int)MemoryOp.MemoryMap, p.Page], p.Page);
        p.Put64(p.Page, 8, 0);
        p.Call("memory_map null buffer", Hypercall.MemoryOp, [(int)MemoryOp.MemoryMap, p.Page], p.Page);
        p.Put64(p.Page, 8, ProbeCode.Unmapped);
        p.Call("memory_map bad buffer", Hypercall.MemoryOp, [(int)MemoryOp.MemoryMap, p.Page], p.Page);
        foreach (int space in (int[])[0, 1, 2, 3, 4, 99])
        {
            p.Put32(p.Page, DomainIds.Self, space, 0, 0, 5, 0);
            p.Call($"add_to_physmap {space}", Hypercall.MemoryOp, [(int)MemoryOp.AddToPhysmap, p.Page]);
        }

        foreach ((string name, int number) in ProbeCode.OtherDomains)
        {
            p.Put32(p.Page, number, 0, 0, 0, 5, 0);
            p.Call($"add_to_physmap {name}", Hypercall.MemoryOp, [(int)MemoryOp.AddToPhysmap, p.Page]);
            p.Put32(p.Page, number, 0, 5, 0);
            p.Call($"remove_from_physmap {name}", Hypercall.MemoryOp, [(int)MemoryOp.RemoveFromPhysmap, p.Page]);
        }

        p.Put32(p.Page, DomainIds.Self, 0, 5, 0);
        p.Call("remove_from_physmap self", Hypercall.MemoryOp, [(int)MemoryOp.RemoveFromPhysmap, p.Page]);
    }

    private static void MachineTable(ProbeCode p)
    {
        p.Call("machphys_mapping", Hypercall.MemoryOp, [(int)MemoryOp.MachphysMapping, p.Page], p.Page, p.Page + 4, p.Page + 8,
            p.Page + 12);
        p.Put64(p.Page, 1, p.Second, 0);
        p.Call("machphys_mfn_list", Hypercall.MemoryOp, [(int)MemoryOp.MachphysMfnList, p.Page], p.Page + 16);
        p.Make(Hypercall.MemoryOp, (int)MemoryOp.MachphysMapping, p.Page);
        p.Instruction("table of own frame", c =>
        {
            p.Load(rcx, Argument.Frame(p.Second));
            c.mov(rdx, GuestCode.Absolute(p.Page));
            c.mov(rax, __qword_ptr[rdx + (rcx * 8)]);
            c.sub(rax, (int)((p.Second - GuestImage.VirtBase) >> 12));
        }, ulong.MaxValue);
        p.Instruction("table at its fixed address", c =>
        {
            p.Load(rcx, Argument.Frame(p.Second));
            p.G.Set(rdx, HypervisorRange.Start);
            c.mov(rax, __qword_ptr[rdx + (rcx * 8)]);
            c.sub(rax, (int)((p.Second - GuestImage.VirtBase) >> 12));
        }, ulong.MaxValue);
        p.Instruction("table write", c =>
        {
            p.Load(rcx, Argument.Frame(p.Second));
            c.mov(rdx, GuestCode.Absolute(p.Page));
            c.mov(__qword_ptr[rdx + (rcx * 8)], rax);
        });
    }

    private static void Reserve(ProbeCode p, string name, int op, Argument list, Argument count, int order = 0,
        int domain = DomainIds.Self, int start = 0)
    {
        p.Put64(p.Page, list, count);
        p.Put32(p.Page + 16, order, 0, domain, 0);
        p.Call(name, Hypercall.MemoryOp, [op | (start << 6), p.Page]);
    }

    private static void Reservations(ProbeCode p)
    {
        ulong page = p.Spare + 4096;
        foreach (int op in (int[])[Populate, Increase, Decrease])
        {
            p.Put64(p.Second, ProbeCode.NoFrame, 0);
            Reserve(p, $"{op} none", op, p.Second, 0);
            foreach ((string name, ulong address) in ProbeCode.BadPointers)
            {
                p.Call($"{op} {name}", Hypercall.MemoryOp, [op, address]);
                if (op != Increase || address != 0)
                    Reserve(p, $"{op} list {name}", op, address, 1);
            }

            foreach ((string name, int number) in ProbeCode.OtherDomains)
                Reserve(p, $"{op} {name}", op, p.Second, 1, 0, number);
            Reserve(p, $"{op} order 40", op, p.Second, 1, 40);
            Reserve(p, $"{op} order 9", op, p.Second, 1, 10);
            Reserve(p, $"{op} start beyond", op, p.Second, 1, 0, DomainIds.Self, 5);
            Reserve(p, $"{op} many", op, p.Second, -1);
        }

        p.Put64(p.Second, Argument.Frame(page));
        Reserve(p, "decrease mapped", Decrease, p.Second, 1);
        p.Put64(p.Second, Argument.Slot(p.TableFrame(1)));
        Reserve(p, "decrease table", Decrease, p.Second, 1);
        foreach ((string name, Argument frame) in ((string, Argument)[])[("no frame", ProbeCode.NoFrame), ("frame 1", 1)])
        {
            p.Put64(p.Second, frame);
            Reserve(p, $"decrease {name}", Decrease, p.Second, 1);
        }
    }

    private static void Exchange(ProbeCode p)
    {
        void Case(string name, Argument inFrame, long inCount, int inOrder, long outCount, int outOrder, int domain, long exchanged)
        {
            p.Put64(p.Second, inFrame, 0);
            p.Put64(p.Page, p.Second, inCount);
            p.Put32(p.Page + 16, inOrder, 0, domain, 0);
            p.Put64(p.Page + 32, p.Second + 8, outCount);
            p.Put32(p.Page + 48, outOrder, 0, domain, 0);
            p.Put64(p.Page + 64, exchanged);
            p.Call($"exchange {name}", Hypercall.MemoryOp, [(int)MemoryOp.Exchange, p.Page], p.Page + 64);
        }

        Argument good = Argument.Frame(p.Spare + 4096);
        Case("mismatch", good, 1, 0, 2, 0, DomainIds.Self, 0);
        Case("orders", good, 1, 1, 1, 0, DomainIds.Self, 0);
        Case("nobody", good, 1, 0, 1, 0, ProbeCode.NoDomain, 0);
        Case("dom0", good, 1, 0, 1, 0, 0, 0);
        Case("order 40", good, 1, 40, 1, 40, DomainIds.Self, 0);
        Case("none", good, 0, 0, 0, 0, DomainIds.Self, 0);
        Case("exchanged beyond", good, 1, 0, 1, 0, DomainIds.Self, 9);
        Case("no frame", ProbeCode.NoFrame, 1, 0, 1, 0, DomainIds.Self, 0);
        Case("mapped", good, 1, 0, 1, 0, DomainIds.Self, 0);
    }
}
