using Tessera.Sdk.Xen;
using static Tessera.Kernel.Tests.Scripted.Script;
using static Tessera.Kernel.Tests.Scripted.Struct;

namespace Tessera.Kernel.Tests.Scripted;

/// <summary>
/// set_timer_op and vcpu_op (public/vcpu.h). VIRQ_TIMER is bound to port 3 where it matters; time begins with the machine.
/// </summary>
internal sealed class TimeRows
{
    private const int Port = 3;
    private const long Millisecond = 1_000_000;
    private const int Info = Free;

    /// <summary>A timer that was set in the past, or none: too long a time for any.</summary>
    private const long Late = 9 * Millisecond;

    private static readonly Step Quiet = Stores(SharedInfoAt(SharedInfo.EventPending), U64(0));

    private static IEnumerable<TestCaseData> Rows => Row.Cases(
        new("set_timer_op raises VIRQ_TIMER at its time", TimeIs(3 * Millisecond), Events: [Port],
            After: [BindTimer, SetTimer(2 * Millisecond)]),
        new("set_timer_op does not before", TimeIs(3 * Millisecond / 2), After: [BindTimer, SetTimer(2 * Millisecond)]),
        new("set_timer_op for an instant that has passed", SetTimer(1), Events: [Port], After: [BindTimer, TimeIs(Millisecond)]),
        new("set_timer_op replaces the instant", TimeIs(3 * Millisecond),
            After: [BindTimer, SetTimer(2 * Millisecond), SetTimer(4 * Millisecond)]),
        new("set_timer_op 0 stops it", TimeIs(Late), After: [BindTimer, SetTimer(2 * Millisecond), SetTimer(0)]),
        new("set_timer_op happens once", TimeIs(Late), After: [BindTimer, SetTimer(2 * Millisecond), TimeIs(3 * Millisecond), Quiet]),

        new("is_up", Op(VcpuOp.IsUp, 0, 0), Rax: 1),
        new("is_up of a vCPU there is not", Op(VcpuOp.IsUp, 1, 0), Rax: -ENOENT),
        new("is_up of a vCPU there cannot be", Op(VcpuOp.IsUp, 0xffff_ffff, 0), Rax: -ENOENT),
        new("initialise of the vCPU that runs", Op(VcpuOp.Initialise, 0, At(Free)), Rax: -EEXIST),
        new("up of the vCPU that runs", Op(VcpuOp.Up, 0, 0)),
        new("an operation there is not", Op((VcpuOp)14, 0, 0), Rax: -ENOSYS),

        new("get_runstate_info", Op(VcpuOp.GetRunstateInfo, 0, Sized(48)),
            Out: new(U32(RunState.Running), U32(0), Any(8), Any(8), Any(8), U64(0), Any(8))),
        new("get_runstate_info to nowhere", Op(VcpuOp.GetRunstateInfo, 0, Nowhere), Rax: -EFAULT),
        new("register_runstate_memory_area fills the area", Op(VcpuOp.RegisterRunstateMemoryArea, 0, new Struct(U64(At(Free)))),
            Memory: [new(At(Free), new(U32(RunState.Running), U32(0), Any(8), Any(8), Any(8), U64(0), Any(8)))]),
        new("register_runstate_memory_area 0", Op(VcpuOp.RegisterRunstateMemoryArea, 0, new Struct(U64(0)))),
        new("register_runstate_memory_area nowhere yet", Op(VcpuOp.RegisterRunstateMemoryArea, 0, new Struct(U64(Nowhere)))),
        new("register_runstate_memory_area in the hypervisor", Op(VcpuOp.RegisterRunstateMemoryArea, 0, new Struct(U64(HypervisorRange.Start))), Rax: -EFAULT),
        new("register_runstate_memory_area with no argument", Op(VcpuOp.RegisterRunstateMemoryArea, 0, Nowhere), Rax: -EFAULT),
        new("the area is filled when the vCPU runs again", Call(Hypercall.SchedOp, SchedOp.Yield, 0), Outcome: Outcome.Yields,
            Memory: [new(At(Free), new(U32(RunState.Running), U32(0), Any(8), Any(8), Any(8), U64(0), Any(8)))],
            After: [Op(VcpuOp.RegisterRunstateMemoryArea, 0, new Struct(U64(At(Free))))]),
        new("register_vcpu_time_memory_area", Op(VcpuOp.RegisterVcpuTimeMemoryArea, 0, new Struct(U64(At(Free)))),
            Memory: [new(At(Free), new(U32(2), U32(0), U64(0), U64(0), U32(1U << 31), U8(1), U8(1)))]),
        new("register_vcpu_time_memory_area nowhere yet", Op(VcpuOp.RegisterVcpuTimeMemoryArea, 0, new Struct(U64(Nowhere)))),
        new("register_vcpu_time_memory_area with no argument", Op(VcpuOp.RegisterVcpuTimeMemoryArea, 0, Nowhere), Rax: -EFAULT),

        new("set_periodic_timer raises VIRQ_TIMER", TimeIs(5 * Millisecond / 2), Events: [Port],
            After: [BindTimer, Periodic(2 * Millisecond)]),
        new("set_periodic_timer raises it again and again", TimeIs(5 * Millisecond), Events: [Port],
            After: [BindTimer, Periodic(2 * Millisecond), TimeIs(3 * Millisecond), Quiet]),
        new("set_periodic_timer of 1 ms", Periodic(Millisecond)),
        new("set_periodic_timer of less than 1 ms", Periodic(Millisecond - 1), Rax: -EINVAL),
        new("set_periodic_timer with no argument", Op(VcpuOp.SetPeriodicTimer, 0, Nowhere), Rax: -EFAULT),
        new("stop_periodic_timer", TimeIs(Late), After: [BindTimer, Periodic(2 * Millisecond), Op(VcpuOp.StopPeriodicTimer, 0, 0)]),
        new("set_singleshot_timer raises VIRQ_TIMER once", TimeIs(3 * Millisecond), Events: [Port],
            After: [BindTimer, Singleshot(2 * Millisecond, SingleshotTimerFlags.Future)]),
        new("set_singleshot_timer for an instant that has passed", Singleshot(1, SingleshotTimerFlags.None), Events: [Port],
            After: [BindTimer, TimeIs(Millisecond)]),
        new("set_singleshot_timer for the future alone, which it is not", Singleshot(1, SingleshotTimerFlags.Future), Events: [Port],
            After: [BindTimer, TimeIs(Millisecond)]),
        new("set_singleshot_timer with no argument", Op(VcpuOp.SetSingleshotTimer, 0, Nowhere), Rax: -EFAULT),
        new("stop_singleshot_timer", TimeIs(Late),
            After: [BindTimer, Singleshot(2 * Millisecond, SingleshotTimerFlags.None), Op(VcpuOp.StopSingleshotTimer, 0, 0)]),
        new("stop_periodic_timer leaves the single-shot timer", TimeIs(3 * Millisecond), Events: [Port],
            After: [BindTimer, Singleshot(2 * Millisecond, SingleshotTimerFlags.None), Op(VcpuOp.StopPeriodicTimer, 0, 0)]),
        new("stop_singleshot_timer leaves the periodic timer", TimeIs(3 * Millisecond), Events: [Port],
            After: [BindTimer, Periodic(2 * Millisecond), Op(VcpuOp.StopSingleshotTimer, 0, 0)]),
        new("set_singleshot_timer leaves the periodic timer", TimeIs(3 * Millisecond), Events: [Port],
            After: [BindTimer, Periodic(2 * Millisecond), Singleshot(Late, SingleshotTimerFlags.None)]),

        new("register_vcpu_info moves it and raises everything once", Register(Frame(Info), 0x100),
            Memory: [new(At(Info, 0x100), Everything)]),
        new("register_vcpu_info at a page's end", Register(Frame(Info), 4096 - 64),
            Memory: [new(At(Info, 4096 - 64), Everything)]),
        new("events go to where vcpu_info is", Call(Hypercall.EventChannelOp, EventChannelOp.Send, new Struct(U32(Port))),
            Memory: [new(SharedInfoAt(SharedInfo.EventPending), new(U64(1 << Port))), new(At(Info), new(U8(1), U8(1), U64(1)))],
            After: [Call(Hypercall.EventChannelOp, EventChannelOp.BindIpi, new Struct(U32(0), U32(0))), Register(Frame(Info), 0),
                Stores(At(Info), U8(0), U8(1), U64(0))]),
        new("register_vcpu_info across a page's end", Register(Frame(Info), 4096 - 56), Rax: -ENXIO),
        new("register_vcpu_info twice", Register(Frame(Info + 1), 0), Rax: -EINVAL, After: [Register(Frame(Info), 0)]),
        new("register_vcpu_info in a page table", Register(Table(1), 0), Rax: -EINVAL),
        new("register_vcpu_info in no frame", Register(0, 0), Rax: -EINVAL),
        new("register_vcpu_info with no argument", Op(VcpuOp.RegisterVcpuInfo, 0, Nowhere), Rax: -EFAULT));

    [TestCaseSource(nameof(Rows))]
    public void An_operation_on_time_or_a_vCPU(Row row) => row.Check();

    /// <summary>A vcpu_info that has just been moved: pending, masked, all selectors, no CR2, and the time.</summary>
    private static Struct Everything => new(
        U8(1), U8(1), U64(ulong.MaxValue), U64(0), U64(0), U32(2), U32(0), U64(0), U64(0), U32(1U << 31), U8(1), U8(1));

    private static Step BindTimer => Call(Hypercall.EventChannelOp, EventChannelOp.BindVirq, new Struct(U32(Virq.Timer), U32(0), U32(0)));

    private static Step SetTimer(long instant) => Call(Hypercall.SetTimerOp, instant);

    private static Step Op(VcpuOp operation, Argument vcpu, Argument argument) => Call(Hypercall.VcpuOp, operation, vcpu, argument);

    private static Step Periodic(long period) => Op(VcpuOp.SetPeriodicTimer, 0, new Struct(U64(period)));

    private static Step Singleshot(long instant, SingleshotTimerFlags flags) =>
        Op(VcpuOp.SetSingleshotTimer, 0, new Struct(U64(instant), U32(flags)));

    private static Step Register(Value frame, int offset) => Op(VcpuOp.RegisterVcpuInfo, 0, new Struct(U64(frame), U32(offset), U32(0)));

    private static Struct Sized(int bytes) => new(Text("", bytes));
}
