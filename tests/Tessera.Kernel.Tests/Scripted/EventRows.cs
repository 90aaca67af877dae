using Tessera.Sdk.Xen;
using static Tessera.Kernel.Tests.Scripted.Script;
using static Tessera.Kernel.Tests.Scripted.Struct;

namespace Tessera.Kernel.Tests.Scripted;

/// <summary>
/// event_channel_op (public/event_channel.h). Ports 1 and 2 are the store's and the console's; the first that a guest gets is 3.
/// </summary>
internal sealed class EventRows
{
    private const int First = 3;
    private const int Second = 4;
    private const int NoPort = 9;
    private const int NoDomain = 77;
    private const ulong FirstBit = 1 << First;
    private const int PendingWord = SharedInfo.EventPending;
    private const int MaskWord = SharedInfo.EventMask;

    private static IEnumerable<TestCaseData> Rows => Row.Cases(
        new("bind_virq answers the first free port", BindVirq(Virq.Console, 0), Out: Binding(Virq.Console, 0, First)),
        new("bind_virq of a virq there is not", BindVirq((Virq)24, 0), Rax: -EINVAL),
        new("bind_virq to a vCPU there is not", BindVirq(Virq.Timer, 1), Rax: -ENOENT),
        new("bind_virq a second time", BindVirq(Virq.Timer, 0), Rax: -EEXIST, After: [BindVirq(Virq.Timer, 0)]),
        new("bind_virq after the port was closed", BindVirq(Virq.Timer, 0), Out: Binding(Virq.Timer, 0, First),
            After: [BindVirq(Virq.Timer, 0), Close(First)]),
        new("bind_ipi answers the next free port", BindIpi(0), Out: new(U32(0), U32(Second)), After: [BindIpi(0)]),
        new("bind_ipi answers a port that was closed", BindIpi(0), Out: new(U32(0), U32(First)),
            After: [BindIpi(0), BindIpi(0), Close(First)]),
        new("bind_ipi of a vCPU there is not", BindIpi(1), Rax: -ENOENT),
        new("bind_vcpu of an unbound port", BindVcpu(First, 0), After: [AllocateUnbound(Self, Self)]),
        new("bind_vcpu of a port bound to a global virq", BindVcpu(First, 0), After: [BindVirq(Virq.Console, 0)]),
        new("bind_vcpu of the timer's port", BindVcpu(First, 0), Rax: -EINVAL, After: [BindVirq(Virq.Timer, 0)]),
        new("bind_vcpu of an IPI", BindVcpu(First, 0), Rax: -EINVAL, After: [BindIpi(0)]),
        new("bind_vcpu of a closed port", BindVcpu(NoPort, 0), Rax: -EINVAL),
        new("bind_vcpu to a vCPU there is not", BindVcpu(First, 1), Rax: -ENOENT, After: [AllocateUnbound(Self, Self)]),

        new("alloc_unbound answers a port", AllocateUnbound(Self, Other), Out: new(U16(Self), U16(Other), U32(First))),
        new("alloc_unbound by its own number", AllocateUnbound(Own, 0), Out: new(U16(Own), U16(0), U32(First))),
        new("alloc_unbound in another domain", AllocateUnbound(Other, Self), Rax: -EPERM),
        new("bind_interdomain to an own port makes the new one pending", BindInterdomain(Self, First),
            Out: new(U16(Self), U32(First), U32(Second)), Events: [Second], After: [AllocateUnbound(Self, Self)]),
        new("bind_interdomain to a port that the other domain left for this one", BindInterdomain(Other, First),
            Out: new(U16(Other), U32(First), U32(First)), Events: [First], After: [OtherDoes(AllocateUnbound(Self, Other))]),
        new("bind_interdomain to a port that is for somebody else", BindInterdomain(Other, First), Rax: -EINVAL,
            After: [OtherDoes(AllocateUnbound(Self, Self))]),
        new("bind_interdomain to a closed port", BindInterdomain(Self, NoPort), Rax: -EINVAL),
        new("bind_interdomain twice", BindInterdomain(Self, First), Rax: -EINVAL,
            After: [AllocateUnbound(Self, Self), BindInterdomain(Self, First)]),
        new("bind_interdomain with no domain", BindInterdomain(NoDomain, First), Rax: -ESRCH),

        new("send to an IPI makes it pending", Send(First), Events: [First], After: [BindIpi(0)]),
        new("send to the other end", Send(Second), Events: [First],
            After: [AllocateUnbound(Self, Self), BindInterdomain(Self, First), Stores(SharedInfoAt(PendingWord), U64(0))]),
        new("send to an unbound port is dropped", Send(First), After: [AllocateUnbound(Self, Other)]),
        new("send to a virq", Send(First), Rax: -EINVAL, After: [BindVirq(Virq.Timer, 0)]),
        new("send to a port that is closed", Send(NoPort), Rax: -EINVAL),
        new("send to port 0", Send(0), Rax: -EINVAL),
        new("send to a port beyond the last", Send(4096), Rax: -EINVAL),
        new("send to a masked port makes it pending and no more", Send(First), Memory: [new(SharedInfoAt(PendingWord), new(U64(FirstBit)))],
            After: [BindIpi(0), Mask(FirstBit)]),
        new("send to a pending port changes nothing", Send(First),
            After: [BindIpi(0), Send(First), Stores(SharedInfoAt(VcpuInfo.PendingSelector), U64(0)), Stores(SharedInfoAt(0), U8(0))]),
        new("unmask delivers what was held back", Unmask(First), Events: [First], Memory: [new(SharedInfoAt(MaskWord), new(U64(0)))],
            After: [BindIpi(0), Mask(FirstBit), Send(First)]),
        new("unmask of a port that is not pending", Unmask(First), Memory: [new(SharedInfoAt(MaskWord), new(U64(1)))],
            After: [BindIpi(0), Mask(FirstBit | 1)]),
        new("unmask of a closed port", Unmask(NoPort)),
        new("unmask beyond the ports there are", Unmask(1000), Rax: -EINVAL),

        new("close takes the pending bit", Close(First), Memory: [new(SharedInfoAt(PendingWord), new(U64(0)))],
            After: [BindIpi(0), Send(First)]),
        new("close of a closed port", Close(NoPort), Rax: -EINVAL),
        new("close leaves the other end unbound", Status(Self, First), Out: State(Self, First, EventChannelState.Unbound, U16(Own)),
            After: [AllocateUnbound(Self, Self), BindInterdomain(Self, First), Close(Second)]),
        new("reset closes every port", Status(Self, First), Out: State(Self, First, EventChannelState.Closed),
            After: [BindIpi(0), Reset(Self)]),
        new("reset of another domain", Reset(Other), Rax: -EPERM),

        new("status of a closed port", Status(Self, NoPort), Out: State(Self, NoPort, EventChannelState.Closed)),
        new("status of an unbound port names the domain", Status(Self, First),
            Out: State(Self, First, EventChannelState.Unbound, U16(Other)), After: [AllocateUnbound(Self, Other)]),
        new("status of an interdomain port names domain and port", Status(Own, First),
            Out: State(Own, First, EventChannelState.Interdomain, U16(Own), U32(Second)),
            After: [AllocateUnbound(Self, Self), BindInterdomain(Self, First)]),
        new("status of a virq names it", Status(Self, First), Out: State(Self, First, EventChannelState.Virq, U32(Virq.ConRing)),
            After: [BindVirq(Virq.ConRing, 0)]),
        new("status of an IPI", Status(Self, First), Out: State(Self, First, EventChannelState.Ipi), After: [BindIpi(0)]),
        new("status of the console's port", Status(Self, 2), Out: State(Self, 2, EventChannelState.Interdomain)),
        new("status of another domain", Status(Other, First), Rax: -EPERM),
        new("status of a port beyond the last", Status(Self, 4096), Rax: -EINVAL),

        new("the FIFO ABI's init_control in no frame", Op(EventChannelOp.InitControl, U64(0), U32(0), U32(0)), Rax: -EINVAL),
        new("the FIFO ABI's init_control of a vCPU there is not", Op(EventChannelOp.InitControl, U64(0), U32(0), U32(9)), Rax: -ENOENT),
        new("the FIFO ABI's init_control", Op(EventChannelOp.InitControl, U64(Frame(Free)), U32(0), U32(0)), Rax: -ENOSYS),
        new("the FIFO ABI's expand_array", Op(EventChannelOp.ExpandArray, U64(0)), Rax: -EOPNOTSUPP),
        new("set_priority", Op(EventChannelOp.SetPriority, U64(0)), Rax: -ENOSYS),
        new("an operation there is not", Op((EventChannelOp)99, U64(0)), Rax: -ENOSYS));

    private static IEnumerable<TestCaseData> Unreadable => Row.Cases(
        [.. from operation in Enum.GetValues<EventChannelOp>()
            where operation is not (EventChannelOp.BindPirq or >= EventChannelOp.InitControl)
            select new Row($"{operation} with no argument", Call(Hypercall.EventChannelOp, operation, Nowhere), Rax: -EFAULT)]);

    [TestCaseSource(nameof(Rows))]
    [TestCaseSource(nameof(Unreadable))]
    public void An_event_channel_operation(Row row) => row.Check();

    private static Value Own => new(guest => guest.Id);

    private static Step BindVirq(Virq virq, Value vcpu) => Op(EventChannelOp.BindVirq, U32(virq), U32(vcpu), U32(0));

    private static Step BindIpi(Value vcpu) => Op(EventChannelOp.BindIpi, U32(vcpu), U32(0));

    private static Step BindVcpu(Value port, Value vcpu) => Op(EventChannelOp.BindVcpu, U32(port), U32(vcpu));

    private static Step AllocateUnbound(Value domain, Value remote) => Op(EventChannelOp.AllocUnbound, U16(domain), U16(remote), U32(0));

    private static Step BindInterdomain(Value domain, Value port) => Op(EventChannelOp.BindInterdomain, U16(domain), U32(port), U32(0));

    private static Step Send(Value port) => Op(EventChannelOp.Send, U32(port));

    private static Step Unmask(Value port) => Op(EventChannelOp.Unmask, U32(port));

    private static Step Close(Value port) => Op(EventChannelOp.Close, U32(port));

    private static Step Reset(Value domain) => Op(EventChannelOp.Reset, U16(domain));

    private static Step Status(Value domain, Value port) => Op(EventChannelOp.Status, U16(domain), U32(port), U32(99), U32(99), U64(0));

    private static Struct Binding(Value what, Value vcpu, Value port) => new(U32(what), U32(vcpu), U32(port));

    private static Struct State(Value domain, Value port, EventChannelState state, params Member[] detail) =>
        new([U16(domain), U32(port), U32(state), U32(0), .. detail]);

    private static Step Mask(ulong ports) => Stores(SharedInfoAt(MaskWord), U64(ports));

    private static Step Op(EventChannelOp operation, params Member[] argument) =>
        Call(Hypercall.EventChannelOp, operation, new Struct(argument));
}
