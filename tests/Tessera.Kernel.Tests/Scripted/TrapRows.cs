using Iced.Intel;
using Tessera.Sdk.Xen;
using static Iced.Intel.AssemblerRegisters;
using static Tessera.Kernel.Tests.Scripted.Script;
using static Tessera.Kernel.Tests.Scripted.Struct;

namespace Tessera.Kernel.Tests.Scripted;

/// <summary>
/// Exceptions, `int n` and system calls, and the frame by which a guest's handler learns of them (Xen's create_bounce_frame); what a guest
/// sets for it, and the way back by iret.
/// </summary>
internal sealed class TrapRows
{
    private const ulong TrapFlag = 0x100;
    private const ulong Flags = 0x246;

    /// <summary>NT, RF and AC, and the arithmetic flags.</summary>
    private const ulong Marked = 0x5_4ad7;
    private const int SoftwareInterrupt = 2;

    private static readonly Step Unmask = Stores(SharedInfoAt(VcpuInfo.UpcallMask), U8(0));

    private static IEnumerable<TestCaseData> Exceptions => Row.Cases(
        new("#DE in the kernel", Raises(0), Enters: new(Handler(0))),
        new("#DE in user mode", Raises(0), Enters: new(Handler(0)), After: ToUser()),
        new("#DB masks events where the gate says so", Raises(1), Enters: new(Handler(1), Masks: true), After: [Unmask]),
        new("#DB of a single step says so in DR6", Raises(1, 0, (R.Rflags, Flags | TrapFlag)), Enters: new(Handler(1), Masks: true),
            Registers: [(R.Dr6, 0xffff_4ff0)]),
        new("#BP in user mode", Raises(3), Enters: new(Handler(3)), After: ToUser()),
        new("#BR without a handler", Raises(5), Outcome: Outcome.Ends, Reason: "exception 5 (error code 0x0) without a handler"),
        new("#UD in the kernel", Faults(6, code => code.ud2()), Enters: new(Handler(6))),
        new("#NM lets the guest use vectors", Raises(7), Enters: new(Handler(7)), Registers: [(R.TaskSwitched, 0)],
            After: [Call(Hypercall.FpuTaskswitch, 1)]),
        new("#DF", Raises(8), Outcome: Outcome.Ends, Reason: "double fault"),
        new("#TS has an error code", Raises(10, 0x28), Enters: new(Handler(10), Error: 0x28)),
        new("#NP has an error code", Raises(11, 0x30), Enters: new(Handler(11), Error: 0x30), After: ToUser()),
        new("#SS has an error code", Raises(12, 0), Enters: new(Handler(12), Error: 0)),
        new("#GP has an error code", Raises(13, 0x28), Enters: new(Handler(13), Error: 0x28)),
        new("#MF has none", Raises(16), Enters: new(Handler(16))),
        new("#AC has an error code", Raises(17, 0), Enters: new(Handler(17), Error: 0), After: ToUser()),
        new("#XM has none", Raises(19), Enters: new(Handler(19))),
        new("#CP has an error code", Raises(21, 3), Enters: new(Handler(21), Error: 3)),
        new("the frame has IF where events are not masked", Raises(0, 0, (R.Rflags, 0x46)), Enters: new(Handler(0)), After: [Unmask]),
        new("the frame has the flags, and the handler begins without some", Raises(16, 0, (R.Rflags, Marked)), Enters: new(Handler(16))),
        new("the frame of user mode has them too", Raises(16, 0, (R.Rflags, Marked | TrapFlag)), Enters: new(Handler(16)),
            After: [.. ToUser(), Unmask]),
        new("the frame is aligned", Raises(0, 0, (R.Rsp, At(StackPage, 0x7e9))), Enters: new(Handler(0))),
        new("the frame is aligned with an error code", Raises(13, 8, (R.Rsp, At(StackPage, 0x7f8))), Enters: new(Handler(13), Error: 8)),
        new("the frame lies over two pages", Raises(0, 0, (R.Rsp, At(StackPage, 16))), Enters: new(Handler(0))),
        new("from a 32-bit process the handler is of 64 bits", Raises(0, 0, (R.Is32Bit, 1), (R.Cs, FlatSelectors.Code32)),
            Enters: new(Handler(0)), After: ToUser()),
        new("a stack that cannot be written ends the domain", Raises(0, 0, (R.Rsp, Nowhere)), Outcome: Outcome.Ends,
            Reason: "kernel stack at 0x6fffffffffc8 cannot be written"),
        new("a stack that is read-only ends the domain", Raises(0), Outcome: Outcome.Ends, Reason: "cannot be written",
            After: [Call(Hypercall.UpdateVaMapping, At(StackPage), Entry(StackPage, Ro), 0)]),
        new("a user mode whose kernel has no stack ends the domain", Raises(0), Outcome: Outcome.Ends, Reason: "cannot be written",
            Registers: [], After: [.. ToUser()[..1], Call(Hypercall.StackSwitch, 0, Nowhere), .. ToUser()[2..]]),
        new("the engine cannot go on", Fails("it lost its way"), Outcome: Outcome.Ends, Reason: "crash: it lost its way"),
        new("the engine cannot go on and does not say why", Fails(null), Outcome: Outcome.Ends, Reason: "the CPU engine cannot go on"));

    private static IEnumerable<TestCaseData> SoftwareInterrupts => Row.Cases(
        new("int 0x80 of user mode", Interrupt(0x80), Enters: new(Handler(0x80), Saved: (R.Rip, At(CodePage, 2))), After: ToUser()),
        new("int 0x80 of the kernel", Interrupt(0x80), Enters: new(Handler(0x80), Saved: (R.Rip, At(CodePage, 2)))),
        new("int 0x81 to a gate of the kernel's", Interrupt(0x81), Enters: new(Handler(0x81), Saved: (R.Rip, At(CodePage, 2)))),
        new("int 0x81 of user mode to it", Interrupt(0x81), Enters: new(Handler(13), Error: (0x81 << 3) | SoftwareInterrupt),
            After: ToUser()),
        new("int 0x82 to a gate that is open to nobody", Interrupt(0x82), Enters: new(Handler(13), Error: (0x82 << 3) | SoftwareInterrupt)),
        new("int 0x90 without a gate", Interrupt(0x90), Enters: new(Handler(13), Error: (0x90 << 3) | SoftwareInterrupt)),
        new("int 0x80 that comes as #UD", Faults(6, 0, [0xcd, 0x80]), Enters: new(Handler(0x80), Saved: (R.Rip, At(CodePage, 2))),
            After: ToUser()),
        new("int 3 of two bytes", Faults(13, (3 << 3) | SoftwareInterrupt, [0xcd, 0x03]),
            Enters: new(Handler(3), Saved: (R.Rip, At(CodePage, 2))), After: ToUser()),
        new("int 0x80 with a prefix", Faults(13, (0x80 << 3) | SoftwareInterrupt, [0x48, 0xcd, 0x80]),
            Enters: new(Handler(0x80), Saved: (R.Rip, At(CodePage, 3))), After: ToUser()),
        new("int 0x80 with two prefixes", Faults(13, (0x80 << 3) | SoftwareInterrupt, [0x66, 0x2e, 0xcd, 0x80]),
            Enters: new(Handler(0x80), Saved: (R.Rip, At(CodePage, 4))), After: ToUser()),
        new("int 13 pushes no error code", Interrupt(13), Enters: new(Handler(13), Saved: (R.Rip, At(CodePage, 2))),
            After: [SetTraps(Gate(13, 3))]),
        new("a #GP by an external event is no int", Faults(13, (0x80 << 3) | SoftwareInterrupt | 1, [0x90]),
            Enters: new(Handler(13), Error: (0x80 << 3) | SoftwareInterrupt | 1)));

    private static IEnumerable<TestCaseData> SystemCalls => Row.Cases(
        new("syscall of user mode", SystemCall((R.Rax, 39)), Enters: new(Callback(CallbackType.Syscall)), After: ToUser()),
        new("syscall where its callback masks events", SystemCall(), Enters: new(Callback(CallbackType.Syscall), Masks: true),
            After: [Register(CallbackType.Syscall, CallbackFlags.MaskEvents), Unmask, .. ToUser()]),
        new("syscall without a callback", SystemCall((R.Rip, At(CodePage, 2))), Enters: new(Handler(6), Saved: (R.Rip, At(CodePage))),
            Registers: [], After: [Call(Hypercall.SetCallbacks, 0, 0, 0), .. ToUser()]),
        new("syscall after set_callbacks", SystemCall(), Enters: new(Handler(99)),
            After: [Call(Hypercall.SetCallbacks, Handler(97), Handler(98), Handler(99)), .. ToUser()]),
        new("syscall after set_callbacks with none that is canonical", SystemCall(), Enters: new(Callback(CallbackType.Syscall)),
            After: [Call(Hypercall.SetCallbacks, NotCanonical, NotCanonical, NotCanonical), .. ToUser()]),
        new("syscall of a 32-bit process", SystemCall(Process32), Enters: new(Callback(CallbackType.Syscall32)),
            After: [Register(CallbackType.Syscall32, CallbackFlags.None), .. ToUser()]),
        new("syscall of a 32-bit process without a callback", SystemCall([.. Process32, (R.Rip, At(CodePage, 2))]),
            Enters: new(Handler(6), Saved: (R.Rip, At(CodePage))), After: ToUser()),
        new("syscall of a 32-bit process that comes as #UD does what the processor would", Faults(6, 0, Syscall, Process32),
            Enters: new(Callback(CallbackType.Syscall32), Saved: [(R.Rip, (uint)At(CodePage, 2)), (R.Cs, FlatSelectors.Code32)]),
            Registers: [(R.Rcx, (uint)At(CodePage, 2)), (R.R11, 0x202)],
            After: [Register(CallbackType.Syscall32, CallbackFlags.None), .. ToUser()]),
        new("the same without a callback", Faults(6, 0, Syscall, Process32), Enters: new(Handler(6)), After: ToUser()),
        new("the same of a 64-bit process", Faults(6, 0, Syscall), Enters: new(Handler(6)),
            After: [Register(CallbackType.Syscall32, CallbackFlags.None), .. ToUser()]),
        new("syscall of 32-bit code in the kernel is no hypercall", SystemCall((R.Is32Bit, 1), (R.Rip, At(CodePage, 2))),
            Enters: new(Handler(6), Saved: (R.Rip, At(CodePage)))),
        new("sysenter keeps nothing of where it came from", Faults(13, 0, Sysenter, Process32),
            Enters: new(Callback(CallbackType.Sysenter), Saved: [(R.Rip, 0), (R.Rsp, 0), (R.Cs, 3)]),
            After: [Register(CallbackType.Sysenter, CallbackFlags.None), .. ToUser()]),
        new("sysenter without a callback", Faults(13, 0, Sysenter, Process32), Enters: new(Handler(13), Error: 0), After: ToUser()),
        new("sysenter of the kernel", Faults(13, 0, Sysenter), Enters: new(Handler(13), Error: 0),
            After: [Register(CallbackType.Sysenter, CallbackFlags.None)]),
        new("sysenter where the processor has none", Faults(6, 0, Sysenter, Process32), Enters: new(Handler(6)),
            After: [Register(CallbackType.Sysenter, CallbackFlags.None), .. ToUser()]),
        new("the engine's instruction in user mode", EntryInstruction((R.Rip, At(CodePage, 3))),
            Enters: new(Handler(13), Error: 0, Saved: (R.Rip, At(CodePage))), Registers: [(R.Rip, Handler(13))], After: ToUser()));

    private static IEnumerable<TestCaseData> Returns => Row.Cases(
        new("iret in the kernel",
            ReturnsTo(At(CodePage, 8), FlatSelectors.Code64 & ~3, 0x202, At(StackPage, 0x100), FlatSelectors.Data & ~3), Rax: ReturnedRax,
            Registers: [(R.Rip, At(CodePage, 8)), (R.Rflags, 0x202), (R.Rsp, At(StackPage, 0x100)), .. Scratch], Memory: [MaskIs(0)]),
        new("iret to user mode", ReturnsTo(At(CodePage, 8), FlatSelectors.Code64, 0x297, At(UserStackPage), FlatSelectors.Data),
            Rax: ReturnedRax,
            Registers: [(R.Rip, At(CodePage, 8)), (R.Rflags, 0x297), (R.Rsp, At(UserStackPage)), (R.GsBase, UserGs), .. Scratch],
            Memory: [MaskIs(0)], After: ToUser()[..3]),
        new("iret without IF masks events", ReturnsTo(At(CodePage), FlatSelectors.Code64 & ~3, 0x2, At(StackPage), FlatSelectors.Data),
            Rax: ReturnedRax, Registers: [(R.Rip, At(CodePage)), (R.Rflags, 0x202), (R.Rsp, At(StackPage)), .. Scratch],
            Memory: [MaskIs(1)], After: [Unmask]),
        new("iret after a syscall leaves R11 and RCX",
            ReturnsTo(At(CodePage), FlatSelectors.Code64, 0x202, At(UserStackPage), FlatSelectors.Data, IretFrame.InSyscall),
            Rax: ReturnedRax, Registers: [(R.Rip, At(CodePage)), (R.Rflags, 0x202), (R.Rsp, At(UserStackPage)), (R.GsBase, UserGs)],
            Memory: [MaskIs(0)], After: ToUser()[..3]),
        new("iret gives no IOPL, NT, VM, VIF, VIP or reserved flag",
            ReturnsTo(At(CodePage), FlatSelectors.Code64 & ~3, -1, At(StackPage), FlatSelectors.Data), Rax: ReturnedRax,
            Registers: [(R.Rip, At(CodePage)), (R.Rflags, 0x25_0fd7), (R.Rsp, At(StackPage)), .. Scratch], Memory: [MaskIs(0)]),
        new("iret to a 32-bit process", ReturnsTo(At(CodePage), FlatSelectors.Code32, 0x202, At(UserStackPage), FlatSelectors.Data),
            Rax: ReturnedRax,
            Registers: [(R.Rip, At(CodePage)), (R.Rflags, 0x202), (R.Rsp, At(UserStackPage)), (R.GsBase, UserGs),
                (R.Cs, FlatSelectors.Code32), (R.Is32Bit, 1), .. Scratch],
            Memory: [MaskIs(0)], After: ToUser()[..3]),
        new("iret to user mode with events pending takes them at once",
            ReturnsTo(At(CodePage), FlatSelectors.Code64, 0x202, At(UserStackPage), FlatSelectors.Data), Rax: ReturnedRax,
            Registers: [(R.Rip, At(CodePage)), (R.Rflags, 0x202), (R.Rsp, At(UserStackPage)), .. Scratch], Memory: [MaskIs(0)],
            Enters: new(Callback(CallbackType.Event), Masks: true, FromUser: true), After: [BindIpi, Send, .. ToUser()[..3]]),
        new("iret with no frame", new Step([(R.Rax, Hypercall.Iret), (R.Rsp, Nowhere)], [], SystemCall().Trap), Outcome: Outcome.Ends,
            Reason: "iret with no frame on its stack at 0x700000000000"),
        new("iret to user mode without a user page table",
            ReturnsTo(At(CodePage), FlatSelectors.Code64, 0x202, At(UserStackPage), FlatSelectors.Data), Outcome: Outcome.Ends,
            Reason: "without a user page table"));

    private static IEnumerable<TestCaseData> Settings => Row.Cases(
        new("set_trap_table changes one gate", Raises(0), Enters: new(Handler(99)),
            After: [SetTraps(new Struct(U8(0), U8(0), U16(FlatSelectors.Code64), U64(Handler(99))))]),
        new("set_trap_table leaves the others", Raises(6), Enters: new(Handler(6)), After: [SetTraps(Gate(0, 0))]),
        new("set_trap_table 0 clears it", Raises(0), Outcome: Outcome.Ends, Reason: "without a handler",
            After: [Call(Hypercall.SetTrapTable, 0)]),
        new("set_trap_table with an address that is not canonical",
            Call(Hypercall.SetTrapTable, Array(new Struct(U64(0), U64(NotCanonical)), End)), Rax: -EINVAL),
        new("set_trap_table that cannot be read", Call(Hypercall.SetTrapTable, Nowhere), Rax: -EFAULT),
        new("set_trap_table without an end", Call(Hypercall.SetTrapTable, Array([.. Enumerable.Repeat(Gate(0, 0), 257)])), Rax: -EINVAL),
        new("stack_switch", Call(Hypercall.StackSwitch, FlatSelectors.Data, KernelStack)),
        new("fpu_taskswitch sets TS", Call(Hypercall.FpuTaskswitch, 1), Registers: [(R.TaskSwitched, 1)]),
        new("fpu_taskswitch clears TS", Call(Hypercall.FpuTaskswitch, 0), Registers: [(R.TaskSwitched, 0)],
            After: [Call(Hypercall.FpuTaskswitch, 1)]),
        new("callback_op register to an address that is not canonical", Register(CallbackType.Event, CallbackFlags.None, NotCanonical),
            Rax: -EINVAL),
        new("callback_op register with no argument", Call(Hypercall.CallbackOp, CallbackOp.Register, Nowhere), Rax: -EFAULT),
        new("callback_op unregister has a shorter argument", Call(Hypercall.CallbackOp, CallbackOp.Unregister, At(LastPage, 4096 - 4)),
            After: [Stores(At(LastPage, 4096 - 4), U16(CallbackType.Nmi), U16(0))]),
        new("callback_op unregister with no argument", Call(Hypercall.CallbackOp, CallbackOp.Unregister, Nowhere), Rax: -EFAULT),
        new("callback_op of another kind", Call(Hypercall.CallbackOp, (CallbackOp)2, Nowhere), Rax: -ENOSYS));

    private static IEnumerable<TestCaseData> Callbacks => Row.Cases(
        [.. from type in (CallbackType[])[.. Enumerable.Range(0, 9).Select(number => (CallbackType)number), (CallbackType)0xffff]
            let exists = Enum.IsDefined(type) && type != CallbackType.SysenterDeprecated
            from row in (Row[])
            [
                new($"register {type}", Register(type, CallbackFlags.None), Rax: exists ? 0 : -ENOSYS),
                new($"unregister {type}", Call(Hypercall.CallbackOp, CallbackOp.Unregister, new Struct(U16(type), U16(0))),
                    Rax: type == CallbackType.Nmi ? 0 : exists ? -EINVAL : -ENOSYS),
            ]
            select row]);

    [TestCaseSource(nameof(Exceptions))]
    public void An_exception(Row row) => row.Check();

    [TestCaseSource(nameof(SoftwareInterrupts))]
    public void A_software_interrupt(Row row) => row.Check();

    [TestCaseSource(nameof(SystemCalls))]
    public void A_system_call(Row row) => row.Check();

    [TestCaseSource(nameof(Returns))]
    public void A_return(Row row) => row.Check();

    [TestCaseSource(nameof(Settings))]
    [TestCaseSource(nameof(Callbacks))]
    public void A_setting(Row row) => row.Check();

    private static byte[] Syscall => [0x0f, 0x05];

    private static byte[] Sysenter => [0x0f, 0x34];

    /// <summary>A process of 32 bits, on Linux's selector.</summary>
    private static (R, Value)[] Process32 => [(R.Is32Bit, 1), (R.Cs, 0x23)];

    private static (R, Value)[] Scratch => [(R.R11, ReturnedR11), (R.Rcx, ReturnedRcx)];

    private static Step BindIpi => Call(Hypercall.EventChannelOp, EventChannelOp.BindIpi, new Struct(U32(0), U32(0)));

    private static Step Send => Call(Hypercall.EventChannelOp, EventChannelOp.Send, new Struct(U32(3)));

    private static Struct End => new(U64(0), U64(0));

    private static Struct Gate(int vector, int dpl) => new(U8(vector), U8(dpl), U16(FlatSelectors.Code64), U64(Handler(vector)));

    private static Store MaskIs(int mask) => new(SharedInfoAt(VcpuInfo.UpcallMask), new(U8(mask)));

    private static Step SetTraps(Struct gate) => Call(Hypercall.SetTrapTable, Array(gate, End));

    private static Step Register(CallbackType type, CallbackFlags flags, ulong? address = null) =>
        Call(Hypercall.CallbackOp, CallbackOp.Register, new Struct(U16(type), U16(flags), U64(address ?? Callback(type))));

    private static Step Interrupt(int vector) => Faults(13, (uint)(vector << 3) | SoftwareInterrupt, [0xcd, (byte)vector]);
}
