using Tessera.Sdk.Xen;

namespace Tessera.Guests.Probe;

/// <summary>xen_version, console_io, vm_assist, physdev_op, and the hypercalls that are not a guest's.</summary>
internal static class VersionCases
{
    private const int VersionOps = 12;
    private const int PhysdevOps = 34;
    private const int Numbers = 64;

    public static void Emit(ProbeCode p)
    {
        Version(p);
        Console(p);
        Assist(p);
        Physdev(p);
        Others(p);
    }

    private static void Version(ProbeCode p)
    {
        p.Group("version");
        ulong page = p.Page;
        for (int op = 0; op < VersionOps; op++)
        {
            p.Clear(page);
            p.Call($"{op}", Hypercall.XenVersion, [op, page], page, page + 4, page + 8, page + 12);
            foreach ((string name, ulong address) in ProbeCode.BadPointers)
                p.Call($"{op} {name}", Hypercall.XenVersion, [op, address]);
        }

        for (int submap = 0; submap < 4; submap++)
        {
            p.Put32(page, submap, 0);
            p.Call($"features {submap}", Hypercall.XenVersion, [(int)VersionOp.GetFeatures, page], page + 4);
        }
    }

    private static void Console(ProbeCode p)
    {
        p.Group("console_io");
        for (int op = 0; op < 4; op++)
        {
            p.Call($"{op} none", Hypercall.ConsoleIo, [op, 0, p.Page]);
            p.Call($"{op} unmapped", Hypercall.ConsoleIo, [op, 4, ProbeCode.Unmapped]);
            p.Call($"{op} negative", Hypercall.ConsoleIo, [op, -1, p.Page]);
        }
    }

    private static void Assist(ProbeCode p)
    {
        p.Group("vm_assist");
        for (int command = 0; command < 3; command++)
        {
            foreach (int type in (int[])[0, 1, 2, 3, 5, 6, 7, 31, 32, 33, 63, 64, -1])
                p.Call($"{command} {type}", Hypercall.VmAssist, [command, type]);
        }

        p.Call("iopl on", Hypercall.VmAssist, [(int)VmAssistCommand.Enable, (int)VmAssistType.ArchitecturalIopl]);
        p.Call("iopl off", Hypercall.VmAssist, [(int)VmAssistCommand.Disable, (int)VmAssistType.ArchitecturalIopl]);
    }

    private static void Physdev(ProbeCode p)
    {
        p.Group("physdev_op");
        ulong page = p.Page;
        for (int op = 0; op < PhysdevOps; op++)
        {
            p.Clear(page);
            p.Call($"{op} zero", Hypercall.PhysdevOp, [op, page], page, page + 4);
            p.Call($"{op} null", Hypercall.PhysdevOp, [op, 0]);
            p.Call($"{op} noncanonical", Hypercall.PhysdevOp, [op, ProbeCode.NotCanonical]);
        }

        foreach (int level in (int[])[0, 1, 2, 3, 4, -1])
        {
            p.Put32(page, level);
            p.Call($"iopl {level}", Hypercall.PhysdevOp, [(int)PhysdevOp.SetIopl, page]);
        }

        foreach (int ports in (int[])[0, 1, 65536, 65537, 70000, -1])
        {
            p.Put64(page, p.Second, ports);
            p.Call($"iobitmap {ports}", Hypercall.PhysdevOp, [(int)PhysdevOp.SetIobitmap, page]);
        }

        p.Put64(page, 0, 0);
        p.Make(Hypercall.PhysdevOp, (int)PhysdevOp.SetIobitmap, page);
        p.Make(Hypercall.PhysdevOp, (int)PhysdevOp.SetIopl, page);
        p.Call("compat", Hypercall.PhysdevOpCompat, [page]);
        p.Call("compat null", Hypercall.PhysdevOpCompat, [0]);
        foreach (int irq in (int[])[0, 1, 15, 16, 255, 256, 99999])
        {
            p.Put32(page, irq, 0);
            p.Call($"irq_status {irq}", Hypercall.PhysdevOp, [5, page], page + 4);
        }
    }

    // With a page of zeros, which has no good interface version, and with pointers to nowhere.
    private static void Others(ProbeCode p)
    {
        p.Group("hypercall");
        ulong page = p.Page;
        Hypercall[] privileged = [Hypercall.PlatformOp, Hypercall.Sysctl, Hypercall.Domctl, Hypercall.XsmOp, Hypercall.KexecOp,
            Hypercall.TmemOp, Hypercall.ArgoOp,
            Hypercall.XenpmuOp, Hypercall.DmOp, Hypercall.HypfsOp, Hypercall.XenoprofOp, Hypercall.Arch0, (Hypercall)49, (Hypercall)50];
        foreach (Hypercall number in privileged)
        {
            p.Clear(page);
            p.Call($"{(int)number} zero", number, [page, 0, 0, 0]);
            p.Call($"{(int)number} op0", number, [0, page, 0, 0]);
            p.Call($"{(int)number} op1", number, [1, page, 0, 0]);
            p.Call($"{(int)number} null", number, [0, 0, 0, 0]);
            p.Call($"{(int)number} noncanonical", number, [ProbeCode.NotCanonical, ProbeCode.NotCanonical, 0, 0]);
        }

        p.Put32(page, 1, 0x15);
        p.Call("35 version 15", Hypercall.Sysctl, [page]);
        p.Put32(page, 1, 0x15);
        p.Call("36 version 15", Hypercall.Domctl, [page]);
        p.Put32(page, 1, 0x03000001);
        p.Call("7 version", Hypercall.PlatformOp, [page]);
        p.Clear(page);
        for (int op = 0; op < 27; op++)
        {
            p.Call($"hvm_op {op}", Hypercall.HvmOp, [op, page]);
            p.Call($"hvm_op {op} null", Hypercall.HvmOp, [op, 0]);
        }

        for (int number = 43; number < Numbers; number++)
        {
            if (number is < 48 or > 50)
                p.Call($"{number}", (ulong)number, [0, 0, 0]);
        }

        foreach (ulong number in (ulong[])[11, 27, 64, 100, 127, 128, 255, 4096, 0x7fff_ffff, 0xffff_ffff, 0x1_0000_0011, ulong.MaxValue])
            p.Call($"{number:x} high", number, [0, 0, 0]);
    }
}
