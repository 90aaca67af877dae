using Tessera.Sdk.Xen;
using static Tessera.Kernel.Tests.Scripted.Script;
using static Tessera.Kernel.Tests.Scripted.Struct;

namespace Tessera.Kernel.Tests.Scripted;

/// <summary>sched_op and its older form (public/sched.h).</summary>
internal sealed class SchedRows
{
    private const int Port = 3;
    private const long Millisecond = 1_000_000;

    /// <summary>Where the ports to poll are.</summary>
    private static readonly ulong Ports = At(Free);

    private static readonly Store Unmasked = new(SharedInfoAt(VcpuInfo.UpcallMask), new(U8(0)));
    private static readonly Bounce Upcall = new(Callback(CallbackType.Event), Masks: true);

    private static IEnumerable<TestCaseData> Rows => Row.Cases(
        new("yield", Op(SchedOp.Yield, 0), Outcome: Outcome.Yields),
        new("block unmasks events and waits", Op(SchedOp.Block, 0), Outcome: Outcome.Sleeps, Memory: [Unmasked]),
        new("block with an event pending goes on with it", Op(SchedOp.Block, 0), Memory: [Unmasked], Enters: Upcall,
            After: [BindIpi, Send]),
        new("block with a masked port pending waits", Op(SchedOp.Block, 0), Outcome: Outcome.Sleeps, Memory: [Unmasked],
            After: [BindIpi, Stores(SharedInfoAt(SharedInfo.EventMask), U64(1 << Port)), Send]),

        new("poll without ports and timeout waits", Poll(0), Outcome: Outcome.Sleeps),
        new("poll for a port that is not pending waits", Poll(1), Outcome: Outcome.Sleeps, After: [BindIpi, PortsAre(Port)]),
        new("poll for a pending port goes on", Poll(1), After: [BindIpi, PortsAre(Port), Send]),
        new("poll for a pending and masked port goes on", Poll(2),
            After: [BindIpi, Stores(SharedInfoAt(SharedInfo.EventMask), U64(1 << Port)), PortsAre(1, Port), Send]),
        new("poll with an event that can be taken goes on with it", Poll(0), Enters: Upcall,
            After: [BindIpi, Send, Stores(SharedInfoAt(VcpuInfo.UpcallMask), U8(0))]),
        new("poll with a timeout waits", Poll(0, 5 * Millisecond), Outcome: Outcome.Sleeps),
        new("poll ends with its timeout", TimeIs(6 * Millisecond), After: [Poll(0, 5 * Millisecond)]),
        new("poll goes on until its timeout", TimeIs(4 * Millisecond), Outcome: Outcome.Sleeps, After: [Poll(0, 5 * Millisecond)]),
        new("poll for a timeout that has passed goes on", TimeIs(4 * Millisecond), After: [TimeIs(2 * Millisecond), Poll(0, Millisecond)]),
        new("poll for 129 ports", Poll(129), Rax: -EINVAL),
        new("poll for a port beyond the last", Poll(1), Rax: -EINVAL, After: [PortsAre(4096)]),
        new("poll with ports that cannot be read", Call(Hypercall.SchedOp, SchedOp.Poll, new Struct(U64(Nowhere), U32(1), U64(0))),
            Rax: -EFAULT),
        new("poll with no argument", Op(SchedOp.Poll, Nowhere), Rax: -EFAULT),

        new("shutdown with poweroff", Shutdown(ShutdownReason.Poweroff), Outcome: Outcome.Ends, Reason: "poweroff"),
        new("shutdown with reboot", Shutdown(ShutdownReason.Reboot), Outcome: Outcome.Ends, Reason: "reboot"),
        new("shutdown with suspend", Shutdown(ShutdownReason.Suspend), Outcome: Outcome.Ends, Reason: "suspend"),
        new("shutdown with crash", Shutdown(ShutdownReason.Crash), Outcome: Outcome.Ends,
            Reason: "crash: the guest kernel reported a crash"),
        new("shutdown with watchdog", Shutdown(ShutdownReason.Watchdog), Outcome: Outcome.Ends, Reason: "watchdog"),
        new("shutdown with soft_reset", Shutdown(ShutdownReason.SoftReset), Outcome: Outcome.Ends, Reason: "softreset"),
        new("shutdown for a reason there is not", Shutdown((ShutdownReason)6), Outcome: Outcome.Ends, Reason: "shutdown reason 6"),
        new("shutdown with no argument", Op(SchedOp.Shutdown, Nowhere), Rax: -EFAULT),
        new("remote_shutdown of domain 0", Op(SchedOp.RemoteShutdown, new Struct(U16(0), U16(0), U32(0))), Rax: -EPERM),
        new("remote_shutdown of nobody", Op(SchedOp.RemoteShutdown, new Struct(U16(5555), U16(0), U32(0))), Rax: -ESRCH),
        new("shutdown_code goes before the shutdown's own", Shutdown(ShutdownReason.Reboot), Outcome: Outcome.Ends, Reason: "suspend",
            After: [Op(SchedOp.ShutdownCode, new Struct(U32(2)))]),
        new("watchdog with no argument", Op(SchedOp.Watchdog, 0), Rax: -EFAULT),
        new("watchdog", Op(SchedOp.Watchdog, new Struct(U32(0), U32(1))), Rax: 1),
        new("a watchdog that nobody kicks ends the domain", TimeIs(1_001 * Millisecond), Outcome: Outcome.Ends, Reason: "watchdog",
            After: [Op(SchedOp.Watchdog, new Struct(U32(0), U32(1)))]),
        new("a watchdog that is kicked waits again", TimeIs(1_500 * Millisecond),
            After: [Op(SchedOp.Watchdog, new Struct(U32(0), U32(1))), TimeIs(900 * Millisecond), Op(SchedOp.Watchdog, new Struct(U32(1), U32(1)))]),
        new("a third watchdog", Op(SchedOp.Watchdog, new Struct(U32(0), U32(9))), Rax: 0xffff_ffe4,
            After: [Op(SchedOp.Watchdog, new Struct(U32(0), U32(9))), Op(SchedOp.Watchdog, new Struct(U32(0), U32(9)))]),
        new("watchdog there is not", Op(SchedOp.Watchdog, new Struct(U32(1), U32(1))), Rax: -EINVAL),
        new("watchdog that was stopped", Op(SchedOp.Watchdog, new Struct(U32(1), U32(1))), Rax: -EINVAL,
            After: [Op(SchedOp.Watchdog, new Struct(U32(0), U32(1))), Op(SchedOp.Watchdog, new Struct(U32(1), U32(0)))]),
        new("pin_override", Op(SchedOp.PinOverride, 0), Rax: -EPERM),
        new("an operation there is not", Op((SchedOp)8, 0), Rax: -ENOSYS),

        new("compat yield", Compat(SchedOp.Yield, 0), Outcome: Outcome.Yields),
        new("compat block", Compat(SchedOp.Block, 0), Outcome: Outcome.Sleeps, Memory: [Unmasked]),
        new("compat shutdown has its reason in the register", Compat(SchedOp.Shutdown, ShutdownReason.Reboot), Outcome: Outcome.Ends,
            Reason: "reboot"),
        new("compat poll there is not", Compat(SchedOp.Poll, 0), Rax: -ENOSYS));

    [TestCaseSource(nameof(Rows))]
    public void A_scheduling_operation(Row row) => row.Check();

    private static Step BindIpi => Call(Hypercall.EventChannelOp, EventChannelOp.BindIpi, new Struct(U32(0), U32(0)));

    private static Step Send => Call(Hypercall.EventChannelOp, EventChannelOp.Send, new Struct(U32(Port)));

    private static Step Op(SchedOp operation, Argument argument) => Call(Hypercall.SchedOp, operation, argument);

    private static Step Compat(SchedOp operation, Argument argument) => Call(Hypercall.SchedOpCompat, operation, argument);

    private static Step Shutdown(ShutdownReason reason) => Op(SchedOp.Shutdown, new Struct(U32(reason)));

    private static Step Poll(int count, long timeout = 0) => Op(SchedOp.Poll, new Struct(U64(Ports), U32(count), U64(timeout)));

    private static Step PortsAre(params int[] ports) => Stores(Ports, [.. ports.Select(port => U32(port))]);
}
