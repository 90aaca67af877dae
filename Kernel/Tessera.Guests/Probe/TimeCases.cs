using Tessera.Sdk.Xen;

namespace Tessera.Guests.Probe;

/// <summary>sched_op, vcpu_op, timers and multicall.</summary>
internal static class TimeCases
{
    public static void Emit(ProbeCode p)
    {
        Schedule(p);
        Vcpus(p);
        Timers(p);
        Multicalls(p);
    }

    private static void Poll(ProbeCode p, string name, ulong ports, long count, long timeout, int first = 1, int second = 1)
    {
        p.Put32(p.Second, first, second);
        p.Put64(p.Page, ports, count, timeout);
        p.Call($"poll {name}", Hypercall.SchedOp, [(int)SchedOp.Poll, p.Page]);
    }

    private static void Schedule(ProbeCode p)
    {
        p.Group("sched_op");
        p.Call("yield", Hypercall.SchedOp, [0, 0]);
        for (int op = 2; op < 10; op++)
        {
            foreach ((string name, ulong address) in ProbeCode.BadPointers)
                p.Call($"{op} {name}", Hypercall.SchedOp, [op, address]);
        }

        // Ports that are not pending with an instant that has passed: the poll comes back at once.
        p.C.mov(GuestCode.Absolute(p.G.Shared + SharedInfo.EventPending), 0);
        Poll(p, "none", p.Second, 0, 1);
        Poll(p, "one", p.Second, 1, 1);
        Poll(p, "two", p.Second, 2, 1);
        Poll(p, "port 0", p.Second, 1, 1, 0);
        Poll(p, "free port", p.Second, 1, 1, 1000);
        Poll(p, "port beyond", p.Second, 1, 1, 200000);
        Poll(p, "second beyond", p.Second, 2, 1, 1, 200000);
        Poll(p, "128 ports", p.Second, 128, 1);
        Poll(p, "129 ports", p.Second, 129, 1);
        Poll(p, "bad list", ProbeCode.Unmapped, 1, 1);
        Poll(p, "null list", 0, 1, 1);
        foreach ((string name, int number) in (IEnumerable<(string, int)>)[("self", DomainIds.Self), .. ProbeCode.OtherDomains])
        {
            p.Put32(p.Page, number, 0);
            p.Call($"remote_shutdown {name}", Hypercall.SchedOp, [(int)SchedOp.RemoteShutdown, p.Page]);
        }

        foreach ((long id, long timeout) in ((long, long)[])[(1, 0), (1, 100), (5, 10), (-1, 0), (0, 300), (1, 300), (1, 0), (1, 0),
            (0, 300), (0, 300), (0, 300), (2, 0), (1, 0)])
        {
            p.Put32(p.Page, id, timeout);
            p.Call($"watchdog {id} {timeout}", Hypercall.SchedOp, [(int)SchedOp.Watchdog, p.Page]);
        }

        foreach (long cpu in (long[])[-1, 0, 1, 9999])
        {
            p.Put32(p.Page, cpu);
            p.Call($"pin_override {cpu}", Hypercall.SchedOp, [(int)SchedOp.PinOverride, p.Page]);
        }

        foreach (int reason in (int[])[6, 255, 256, -1, 0])
        {
            p.Put32(p.Page, reason);
            p.Call($"shutdown_code {reason}", Hypercall.SchedOp, [(int)SchedOp.ShutdownCode, p.Page]);
        }

        p.Call("compat yield", Hypercall.SchedOpCompat, [0, 0]);
        foreach (int op in (int[])[3, 4, 99])
            p.Call($"compat {op}", Hypercall.SchedOpCompat, [op, 0]);
    }

    private static void Vcpus(ProbeCode p)
    {
        p.Group("vcpu_op");
        for (int op = 0; op < 16; op++)
        {
            if (op is not (1 or 2 or 10))
            {
                p.Clear(p.Page);
                p.Call($"{op} zero", Hypercall.VcpuOp, [op, 0, p.Page]);
            }

            foreach (long vcpu in (long[])[1, 99, -1])
                p.Call($"{op} vcpu {vcpu}", Hypercall.VcpuOp, [op, vcpu, p.Page]);
            if (op == 2)
                continue;
            foreach ((string name, ulong address) in ProbeCode.BadPointers)
                p.Call($"{op} {name}", Hypercall.VcpuOp, [op, 0, address]);
        }

        foreach ((string name, ulong address) in (IEnumerable<(string, ulong)>)[("good", p.Second), .. ProbeCode.BadPointers])
        {
            p.Put64(p.Page, address);
            p.Call($"runstate area {name}", Hypercall.VcpuOp, [(int)VcpuOp.RegisterRunstateMemoryArea, 0, p.Page]);
            p.Call($"time area {name}", Hypercall.VcpuOp, [(int)VcpuOp.RegisterVcpuTimeMemoryArea, 0, p.Page]);
        }

        foreach (ulong place in (ulong[])[0, 0xff, 0x1_0000])
        {
            p.Put64(p.Page, place);
            p.Make(Hypercall.VcpuOp, (int)VcpuOp.RegisterRunstateMemoryArea, 0, p.Page);
        }

        p.Put64(p.Page, 0);
        p.Make(Hypercall.VcpuOp, (int)VcpuOp.RegisterRunstateMemoryArea, 0, p.Page);
        p.Make(Hypercall.VcpuOp, (int)VcpuOp.RegisterVcpuTimeMemoryArea, 0, p.Page);
        foreach ((string name, Argument frame, int offset) in ((string, Argument, int)[])[("offset 4096", Argument.Frame(p.Spare), 4096),
            ("offset 4095", Argument.Frame(p.Spare), 4095),
            ("offset 4", Argument.Frame(p.Spare), 4), ("offset 4040", Argument.Frame(p.Spare), 4040),
                ("offset -1", Argument.Frame(p.Spare), -1), ("no frame", ProbeCode.NoFrame, 0), ("frame 1", 1, 0),
            ("table", Argument.Slot(p.TableFrame(1)), 0)])
        {
            p.Put64(p.Page, frame);
            p.Put32(p.Page + 8, offset, 0);
            p.Call($"register_vcpu_info {name}", Hypercall.VcpuOp, [(int)VcpuOp.RegisterVcpuInfo, 0, p.Page]);
        }
    }

    private static void Timers(ProbeCode p)
    {
        p.Group("timer");
        foreach ((string name, long period) in ((string, long)[])[("0", 0), ("1", 1), ("999999", 999_999), ("1 ms", 1_000_000),
            ("1 hour", 3_600_000_000_000), ("huge", long.MaxValue), ("-1", -1)])
        {
            p.Put64(p.Page, period);
            p.Call($"periodic {name}", Hypercall.VcpuOp, [(int)VcpuOp.SetPeriodicTimer, 0, p.Page]);
        }

        p.Call("stop periodic", Hypercall.VcpuOp, [(int)VcpuOp.StopPeriodicTimer, 0, 0]);
        foreach ((string name, long instant, int flags) in ((string, long, int)[])[("past", 1, 0), ("past future", 1, 1), ("0", 0, 0),
            ("never", long.MaxValue, 0), ("-1", -1, 0), ("flags 2", 1, 2)])
        {
            p.Put64(p.Page, instant, flags);
            p.Call($"single {name}", Hypercall.VcpuOp, [(int)VcpuOp.SetSingleshotTimer, 0, p.Page]);
        }

        p.Call("stop single", Hypercall.VcpuOp, [(int)VcpuOp.StopSingleshotTimer, 0, 0]);
        foreach (long instant in (long[])[0, 1, long.MaxValue, -1, 0])
            p.Call($"set_timer_op {instant:x}", Hypercall.SetTimerOp, [instant]);
        // A poll without an end until the timer's event, which is its own port's.
        p.Put32(p.Page, (int)Virq.Timer, 0, 0);
        p.Make(Hypercall.EventChannelOp, (int)EventChannelOp.BindVirq, p.Page);
        p.C.mov(GuestCode.Absolute(p.G.Shared + SharedInfo.EventPending), 0);
        p.Call("set_timer_op now", Hypercall.SetTimerOp, [1]);
        p.Call("block", Hypercall.SchedOp, [(int)SchedOp.Block, 0]);
        p.Facts("masked after block", p.G.Shared + VcpuInfo.UpcallMask - 1);
        p.G.MaskUpcall();
        p.Facts("upcalls", p.Upcalls);
    }

    private static void Multicalls(ProbeCode p)
    {
        p.Group("multicall");
        void Entry(int index, ulong op, Argument first, Argument second)
        {
            ulong at = p.Page + ((ulong)index * MultiCallEntry.Size);
            p.Put64(at, op, 0x7777, first, second, 0, 0, 0, 0);
        }

        p.Clear(p.Page);
        Entry(0, (ulong)Hypercall.XenVersion, 0, 0);
        Entry(1, 63, 0, 0);
        Entry(2, 4096, 0, 0);
        Entry(3, (ulong)Hypercall.Multicall, p.Page, 1);
        Entry(4, (ulong)Hypercall.Iret, 0, 0);
        Entry(5, (ulong)Hypercall.SetSegmentBase, 9, 0);
        Entry(6, 0x1_0000_0011, 0, 0);
        foreach (int count in (int[])[1, 3])
            p.Call($"{count}", Hypercall.Multicall, [p.Page, count], p.Page + 8, p.Page + 72, p.Page + 136);
        p.Call("one by one 3", Hypercall.Multicall, [p.Page + 192, 1], p.Page + 200);
        p.Call("one by one 5", Hypercall.Multicall, [p.Page + 320, 1], p.Page + 328);
        p.Call("one by one 6", Hypercall.Multicall, [p.Page + 384, 1], p.Page + 392);
        p.Call("none", Hypercall.Multicall, [p.Page, 0]);
        foreach ((string name, ulong address) in ProbeCode.BadPointers)
        {
            p.Call($"none {name}", Hypercall.Multicall, [address, 0]);
            p.Call(name, Hypercall.Multicall, [address, 1]);
        }
    }
}
