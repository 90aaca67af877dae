using Tessera.Sdk.Xen;

namespace Tessera.Guests.Probe;

/// <summary>Trap tables, callbacks, stacks, debug registers, descriptor tables and segment bases.</summary>
internal static class TrapCases
{
    private const ulong Good = GuestImage.VirtBase + 0x5000;

    public static void Emit(ProbeCode p)
    {
        TrapTable(p);
        Callbacks(p);
        DebugRegisters(p);
        Tables(p);
        Descriptors(p);
        Bases(p);
    }

    private static void TrapTable(ProbeCode p)
    {
        p.Group("set_trap_table");
        ulong page = p.Page;
        foreach ((string name, ulong address) in ProbeCode.BadPointers.Skip(1))
            p.Call(name, Hypercall.SetTrapTable, [address]);
        p.Clear(page);
        p.Call("empty", Hypercall.SetTrapTable, [page]);
        foreach ((string name, ulong handler, int cs) in ((string, ulong, int)[])[("cs 0", Good, 0), ("cs ring 0", Good, 0xe008),
            ("cs ldt", Good, 7), ("cs 10", Good, 0x10),
            ("hypervisor", ProbeCode.Hypervisor, FlatSelectors.Code64), ("low", 0x1000, FlatSelectors.Code64),
                ("noncanonical", ProbeCode.NotCanonical, FlatSelectors.Code64)])
        {
            p.Put64(page, 200UL | ((ulong)cs << 16), handler, 0, 0);
            p.Call(name, Hypercall.SetTrapTable, [page]);
        }

        p.Put64(page, 3 | (4 << 8) | ((ulong)FlatSelectors.Code64 << 16), 0, 0, 0);
        p.Call("no address", Hypercall.SetTrapTable, [page]);
        p.G.ReloadTraps();
    }

    private static void Callbacks(ProbeCode p)
    {
        p.Group("callback_op");
        ulong page = p.Page;
        for (int type = 0; type < 10; type++)
        {
            foreach ((string name, ulong address) in ((string, ulong)[])[("good", Good), ("null", 0),
                ("noncanonical", ProbeCode.NotCanonical), ("hypervisor", ProbeCode.Hypervisor)])
            {
                p.Put64(page, type, address);
                p.Call($"register {type} {name}", Hypercall.CallbackOp, [(int)CallbackOp.Register, page]);
            }

            p.Put64(page, type | (0xff << 16), Good);
            p.Call($"register {type} flags", Hypercall.CallbackOp, [(int)CallbackOp.Register, page]);
            p.Put64(page, type);
            p.Call($"unregister {type}", Hypercall.CallbackOp, [(int)CallbackOp.Unregister, page]);
        }

        foreach ((string name, ulong address) in ProbeCode.BadPointers)
        {
            p.Call($"register {name}", Hypercall.CallbackOp, [(int)CallbackOp.Register, address]);
            p.Call($"unregister {name}", Hypercall.CallbackOp, [(int)CallbackOp.Unregister, address]);
        }

        p.Call("op 2", Hypercall.CallbackOp, [2, page]);
        p.Call("op ffffffff", Hypercall.CallbackOp, [0xffff_ffffL, page]);
        p.Call("set good", Hypercall.SetCallbacks, [Good, Good, Good]);
        p.Call("set noncanonical", Hypercall.SetCallbacks, [ProbeCode.NotCanonical, ProbeCode.NotCanonical, ProbeCode.NotCanonical]);
        p.RestoreCallbacks();
        p.Group("nmi_op");
        for (int op = 0; op < 4; op++)
        {
            p.Put64(page, Good);
            p.Call($"{op} good", Hypercall.NmiOp, [op, page]);
            p.Put64(page, ProbeCode.NotCanonical);
            p.Call($"{op} noncanonical", Hypercall.NmiOp, [op, page]);
            p.Call($"{op} null", Hypercall.NmiOp, [op, 0]);
            p.Call($"{op} unmapped", Hypercall.NmiOp, [op, ProbeCode.Unmapped]);
        }

        p.Make(Hypercall.NmiOp, 1, page);
        p.Group("fpu_taskswitch");
        foreach (int set in (int[])[0, 1, -1, 0])
            p.Call($"{set}", Hypercall.FpuTaskswitch, [set]);
        p.Group("stack_switch");
        p.Call("good", Hypercall.StackSwitch, [FlatSelectors.Data, p.Page + 4096]);
        p.Call("ss 0", Hypercall.StackSwitch, [0, p.Page + 4096]);
        p.Call("ss 10", Hypercall.StackSwitch, [0x10, p.Page + 4096]);
        p.Call("noncanonical", Hypercall.StackSwitch, [FlatSelectors.Data, ProbeCode.NotCanonical]);
    }

    private static void DebugRegisters(ProbeCode p)
    {
        p.Group("debugreg");
        for (int register = 0; register < 10; register++)
        {
            p.Call($"get {register}", Hypercall.GetDebugreg, [register]);
            foreach ((string name, ulong value) in ((string, ulong)[])[("0", 0), ("good", Good), ("hypervisor", ProbeCode.Hypervisor),
                ("noncanonical", ProbeCode.NotCanonical), ("high", 0x1_0000_0000), ("ones", 0xffff_ffff)])
            {
                if (register is < 6 or > 7 || name is not "good")
                    p.Call($"set {register} {name}", Hypercall.SetDebugreg, [register, value]);
            }

            p.Call($"get {register} after", Hypercall.GetDebugreg, [register]);
        }

        foreach (ulong control in (ulong[])[0x400, 1, 0x2_0000, 0x2_0001, 0x2000, 0x100, 0xd_0001, 0x1_0002])
        {
            p.Call($"set 7 {control:x}", Hypercall.SetDebugreg, [7, control]);
            p.Call($"get 7 {control:x}", Hypercall.GetDebugreg, [7]);
        }

        p.Make(Hypercall.SetDebugreg, 7, 0);
        p.Call("get -1", Hypercall.GetDebugreg, [-1]);
        p.Call("set -1", Hypercall.SetDebugreg, [-1, 0]);
    }

    private static void Tables(ProbeCode p)
    {
        p.Group("set_gdt");
        ulong page = p.Page;
        p.Put64(page, Argument.Frame(p.Second));
        p.Call("writable", Hypercall.SetGdt, [page, 8]);
        p.Clear(p.Spare);
        p.G.Remap(p.Spare, GuestCode.ReadOnly);
        p.Put64(page, Argument.Frame(p.Spare));
        p.Call("good", Hypercall.SetGdt, [page, 8]);
        p.Call("512", Hypercall.SetGdt, [page, 512]);
        p.Call("513", Hypercall.SetGdt, [page, 513]);
        p.Call("7168", Hypercall.SetGdt, [page, 7168]);
        p.Call("7169", Hypercall.SetGdt, [page, 7169]);
        p.Call("-1", Hypercall.SetGdt, [page, -1]);
        foreach ((string name, Argument frame) in ((string, Argument)[])[("none", ProbeCode.NoFrame), ("0", 0), ("1", 1),
            ("table", Argument.Slot(p.TableFrame(1))), ("-1", -1)])
        {
            p.Put64(page, frame);
            p.Call($"frame {name}", Hypercall.SetGdt, [page, 8]);
        }

        foreach ((string name, ulong address) in ProbeCode.BadPointers)
            p.Call(name, Hypercall.SetGdt, [address, 8]);
        p.Call("no entries", Hypercall.SetGdt, [page, 0]);
        p.Call("no entries null", Hypercall.SetGdt, [0, 0]);
        p.G.Remap(p.Spare, GuestCode.Writable);
    }

    private static void Descriptors(ProbeCode p)
    {
        p.Group("update_descriptor");
        p.G.Remap(p.Spare, GuestCode.ReadOnly);
        p.Put64(p.Page, Argument.Frame(p.Spare));
        p.Make(Hypercall.SetGdt, p.Page, 16);
        (string, ulong)[] descriptors = [("null", 0), ("code64", 0x00af_fb00_0000_ffff), ("code64 ring0", 0x00af_9b00_0000_ffff),
            ("code64 ring1", 0x00af_bb00_0000_ffff),
            ("code32", 0x00cf_fb00_0000_ffff), ("data", 0x00cf_f300_0000_ffff), ("data ring0", 0x00cf_9300_0000_ffff),
                ("call gate", 0x0000_ec00_e033_0000),
            ("call gate ring0", 0x0000_8c00_e033_0000), ("interrupt gate", 0x0000_ee00_e033_0000), ("task gate", 0x0000_e500_0000_0000),
                ("tss", 0x0000_e900_0000_0067),
            ("ldt", 0x0000_e200_0000_ffff), ("not present", 0x00cf_7300_0000_ffff), ("conforming", 0x00cf_ff00_0000_ffff),
                ("expand down", 0x00cf_f700_0000_ffff), ("ones", ulong.MaxValue),
            ("long and 32", 0x00ef_fb00_0000_ffff), ("call gate zero selector", 0x0000_ec00_0000_0000)];
        foreach ((string name, ulong descriptor) in descriptors)
        {
            p.Make(Hypercall.UpdateDescriptor, Argument.Machine(p.Spare + 16), 0);
            p.Call(name, Hypercall.UpdateDescriptor, [Argument.Machine(p.Spare + 16), descriptor], p.Spare + 16, p.Spare + 20);
        }

        p.Call("unaligned", Hypercall.UpdateDescriptor, [Argument.Machine(p.Spare + 4), 0]);
        p.Call("odd", Hypercall.UpdateDescriptor, [Argument.Machine(p.Spare + 17), 0]);
        p.Call("data page", Hypercall.UpdateDescriptor, [Argument.Machine(p.Second), 0x00cf_f300_0000_ffff], p.Second, p.Second + 4);
        p.Call("no frame", Hypercall.UpdateDescriptor, [ProbeCode.NoFrame << 12, 0]);
        p.Call("frame 0", Hypercall.UpdateDescriptor, [0, 0]);
        p.Call("frame 1", Hypercall.UpdateDescriptor, [4096, 0]);
        p.Call("ones", Hypercall.UpdateDescriptor, [-1, 0]);
        p.C.mov(Iced.Intel.AssemblerRegisters.rax, GuestCode.Absolute(p.TableFrame(1)));
        p.C.shl(Iced.Intel.AssemblerRegisters.rax, 12);
        p.C.mov(GuestCode.Absolute(p.Second), Iced.Intel.AssemblerRegisters.rax);
        p.Call("table", Hypercall.UpdateDescriptor, [Argument.Slot(p.Second), 0]);
        p.Make(Hypercall.SetGdt, p.Page, 0);
        p.G.Remap(p.Spare, GuestCode.Writable);
    }

    private static void Bases(ProbeCode p)
    {
        p.Group("set_segment_base");
        for (int which = 0; which < 5; which++)
        {
            foreach ((string name, ulong value) in ((string, ulong)[])[("0", 0), ("good", Good), ("hypervisor", ProbeCode.Hypervisor),
                ("noncanonical", ProbeCode.NotCanonical), ("selector", 0x1233)])
                p.Call($"{which} {name}", Hypercall.SetSegmentBase, [which, value]);
        }

        for (int which = 0; which < 4; which++)
            p.Make(Hypercall.SetSegmentBase, which, 0);
        p.Call("-1", Hypercall.SetSegmentBase, [-1, 0]);
    }
}
