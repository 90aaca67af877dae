using Tessera.Sdk.Xen;
using static Tessera.Kernel.Tests.Scripted.Script;
using static Tessera.Kernel.Tests.Scripted.Struct;

namespace Tessera.Kernel.Tests.Scripted;

/// <summary>When a pending event becomes an upcall, and with which frame.</summary>
internal sealed class UpcallRows
{
    private const int Port = 3;
    private const long Millisecond = 1_000_000;

    private static readonly Step Unmask = Stores(SharedInfoAt(VcpuInfo.UpcallMask), U8(0));

    private static IEnumerable<TestCaseData> Rows => Row.Cases(
        new("an event that is not masked is taken behind the hypercall", Send, Events: [Port], Enters: Upcall, After: [BindIpi, Unmask]),
        new("an event while all are masked waits", Send, Events: [Port], After: [BindIpi]),
        new("an event that waited is taken behind the next trap after the guest unmasked", Ask, Rax: 4096, Enters: Upcall,
            After: [BindIpi, Send, Unmask]),
        new("an upcall goes to a callback that was registered since", Send, Events: [Port], Enters: new(Handler(40), Masks: true),
            After: [BindIpi, Call(Hypercall.CallbackOp, CallbackOp.Register, new Struct(U16(CallbackType.Event), U16(0), U64(Handler(40)))),
                Unmask]),
        new("without a callback there is no upcall", Send, Events: [Port], After: [BindIpi, Call(Hypercall.SetCallbacks, 0, 0, 0), Unmask]),
        new("an event is taken on top of an exception", Raises(0),
            Enters: Upcall with { Saved = [(R.Rip, Handler(0)), (R.Rsp, KernelStack - 56)] }, Memory: [new(KernelStack - 56, Below)],
            After: [BindIpi, Send, Unmask]),
        new("a timer's event comes while the guest runs", Runs(3 * Millisecond), Events: [Port], Enters: Upcall,
            After: [BindTimer, SetTimer(2 * Millisecond), Unmask]),
        new("a process is taken out of its mode for it", Runs(3 * Millisecond), Events: [Port], Enters: Upcall,
            After: [BindTimer, SetTimer(2 * Millisecond), .. ToUser()]),
        new("in the middle of a delivery nothing is delivered", Runs(3 * Millisecond, isInterruptible: false), Events: [Port],
            After: [BindTimer, SetTimer(2 * Millisecond), Unmask]),
        new("behind that delivery it is", Ask, Rax: 4096, Enters: Upcall,
            After: [BindTimer, SetTimer(2 * Millisecond), Unmask, Runs(3 * Millisecond, isInterruptible: false)]),
        new("an upcall whose stack cannot be written ends the domain", Send with { Registers = [.. Send.Registers, (R.Rsp, Nowhere)] },
            Rax: 0, Events: [Port], Outcome: Outcome.Ends, Reason: "while an exception or event is delivered", After: [BindIpi, Unmask]),
        new("time that is over brings others' turn", Runs(50 * Millisecond), Outcome: Outcome.IsPreempted));

    [TestCaseSource(nameof(Rows))]
    public void An_event(Row row) => row.Check();

    private static Bounce Upcall => new(Callback(CallbackType.Event), Masks: true);

    /// <summary>The frame of the exception, with the registers that every guest begins with.</summary>
    private static Struct Below => new(U64(0xc0c0), U64(0x1b1b), U64(At(CodePage, 0x100)), U64(FlatSelectors.Code64 & ~3), U64(0x246),
        U64(KernelStack), U64(FlatSelectors.Data));

    private static Step Ask => Call(Hypercall.XenVersion, VersionOp.Pagesize, 0);

    private static Step BindIpi => Call(Hypercall.EventChannelOp, EventChannelOp.BindIpi, new Struct(U32(0), U32(0)));

    private static Step BindTimer => Call(Hypercall.EventChannelOp, EventChannelOp.BindVirq, new Struct(U32(Virq.Timer), U32(0), U32(0)));

    private static Step SetTimer(long instant) => Call(Hypercall.SetTimerOp, instant);

    private static Step Send => Call(Hypercall.EventChannelOp, EventChannelOp.Send, new Struct(U32(Port)));
}
