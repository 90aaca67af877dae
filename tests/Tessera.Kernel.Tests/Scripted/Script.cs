using Iced.Intel;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Tests.Scripted;

/// <summary>The words that rows are written in.</summary>
internal static class Script
{
    public const ulong Self = DomainIds.Self;
    public const long EPERM = 1, ENOENT = 2, ESRCH = 3, ENXIO = 6, E2BIG = 7, EACCES = 13, EFAULT = 14, EBUSY = 16, EEXIST = 17, EINVAL = 22, ENOSYS = 38;
    public const long ENODATA = 61, EOPNOTSUPP = 95;

    /// <summary>The kernel's code, a page that nothing else uses.</summary>
    public const int CodePage = 128;

    /// <summary>The kernel's stack; it grows down from this page's end.</summary>
    public const int StackPage = 130;

    /// <summary>The user mode's stack.</summary>
    public const int UserStackPage = 132;

    /// <summary>Where the structures lie that a hypercall passes.</summary>
    public const int ArgumentPage = 134;

    /// <summary>The first of the pages up to 500 that are for rows: mapped writable and used by nobody.</summary>
    public const int Free = 140;

    /// <summary>The last page that is mapped.</summary>
    public const int LastPage = 511;

    /// <summary>Where handlers would be: nothing is ever run there.</summary>
    private const ulong Handlers = 0xffff_ffff_8100_0000;

    /// <summary>An address where nothing is mapped.</summary>
    public const ulong Nowhere = 0x0000_7000_0000_0000;

    /// <summary>Not a canonical address.</summary>
    public const ulong NotCanonical = 0x0000_8000_0000_0000;

    /// <summary>Present, writable, user, accessed, dirty: what a page of the kernel has.</summary>
    public const ulong Rw = 0x67;

    /// <summary>The same, not writable.</summary>
    public const ulong Ro = 0x65;

    /// <summary>GS bases that kernel and user mode begin with.</summary>
    public const ulong KernelGs = 0xffff_ffff_8200_0000, UserGs = 0x5555_0000_1000;

    /// <summary>The address of a page's byte.</summary>
    public static ulong At(int page, int offset = 0) => ScriptedGuest.VirtBase + ((ulong)page << 12) + (ulong)offset;

    /// <summary>The end of the kernel's stack.</summary>
    public static ulong KernelStack => At(StackPage + 1);

    /// <summary>The number of a page's machine frame.</summary>
    public static Value Frame(int page) => new(guest => guest.Frame(page));

    /// <summary>The machine address of a page's byte.</summary>
    public static Value Machine(int page, int offset = 0) => new(guest => (guest.Frame(page) << 12) + (ulong)offset);

    /// <summary>A page-table entry that maps a page.</summary>
    public static Value Entry(int page, ulong flags) => new(guest => (guest.Frame(page) << 12) | flags);

    /// <summary>The machine address of the level-1 entry that maps a page of the kernel.</summary>
    public static Value EntryOf(int page) => new(guest => guest.EntryOf(At(page), 1));

    /// <summary>The machine address of the entry of a level on the way to an address.</summary>
    public static Value EntryOf(ulong address, int level) => new(guest => guest.EntryOf(address, level));

    /// <summary>The frame of the boot L4 table, and of the other tables on the way to the kernel.</summary>
    public static Value Table(int level) => new(guest => guest.EntryOf(ScriptedGuest.VirtBase, level) >> 12);

    /// <summary>The number of the domain's last frame.</summary>
    public static Value LastFrame => new(guest => guest.Frame(guest.OwnFrames - 1));

    /// <summary>The number of a frame that is not the domain's: the first where it sees what others grant it, if they do.</summary>
    public static Value ForeignFrame => new(guest => guest.Frame(guest.AllFrames));

    /// <summary>The machine address of such a frame.</summary>
    public static Value ForeignAddress => ForeignFrame * 4096;

    /// <summary>A page-table entry that maps such a frame.</summary>
    public static Value ForeignEntry(ulong flags) => ForeignAddress | flags;

    /// <summary>The other domain's number.</summary>
    public static Value Other => new(guest => guest.Other.Id);

    /// <summary>The machine address of a byte of shared_info.</summary>
    public static Value SharedInfoAt(int offset) => new(guest => guest.SharedInfo + (ulong)offset);

    /// <summary>Where the handler of a vector is.</summary>
    public static ulong Handler(int vector) => Handlers + ((ulong)vector * 16);

    /// <summary>Where the handler of a callback is.</summary>
    public static ulong Callback(CallbackType type) => Handlers + 0x2000 + ((ulong)type * 16);

    /// <summary>
    /// A hypercall by `syscall` from kernel mode. Structures among the arguments lie in memory, and their address is passed.
    /// </summary>
    public static Step Call(Hypercall number, params Argument[] arguments)
    {
        R[] order = [R.Rdi, R.Rsi, R.Rdx, R.R10, R.R8, R.R9];
        List<(R, Value)> registers = [(R.Rax, number)];
        List<Store> stores = [];
        int next = 0;
        foreach ((Argument argument, R register) in arguments.Zip(order))
        {
            if (argument.Struct is { } structure)
            {
                ulong address = At(ArgumentPage, next);
                stores.Add(new Store(address, structure));
                registers.Add((register, address));
                next = (next + structure.Bytes + 63) & ~63;
            }
            else
            {
                registers.Add((register, argument.Value));
            }
        }

        return new Step([.. registers], [.. stores], new Trap { Kind = TrapKind.Syscall, IsInterruptible = true });
    }

    /// <summary>The guest writes memory.</summary>
    public static Step Stores(Value address, params Member[] members) => new([], [new Store(address, new Struct(members))], null);

    /// <summary>The guest changes registers.</summary>
    public static Step Sets(params (R, Value)[] registers) => new(registers, [], null);

    /// <summary>The engine reports an exception.</summary>
    public static Step Raises(int vector, uint error = 0, params (R, Value)[] registers) =>
        new(registers, [], new Trap { Kind = TrapKind.Exception, Vector = (byte)vector, ErrorCode = error, IsInterruptible = true });

    /// <summary>An instruction at Rip, in the code page, raises an exception there.</summary>
    public static Step Faults(int vector, Action<Assembler> instruction, params (R, Value)[] registers) =>
        Faults(vector, 0, Assemble(instruction), registers);

    /// <summary>Bytes at Rip, in the code page, raise an exception there.</summary>
    public static Step Faults(int vector, uint error, byte[] code, params (R, Value)[] registers) =>
        Raises(vector, error, [(R.Rip, At(CodePage)), .. registers]) with
        {
            Stores = [new Store(At(CodePage), new Struct(Struct.Raw(code)))],
        };

    /// <summary>An instruction in the code page raises #PF.</summary>
    public static Step PageFault(Value address, uint error, Action<Assembler> instruction, params (R, Value)[] registers) =>
        Faults(14, error, Assemble(instruction), registers) with { Address = address };

    /// <summary>The engine's own entry instruction.</summary>
    public static Step EntryInstruction(params (R, Value)[] registers) =>
        new(registers, [], new Trap { Kind = TrapKind.Hypercall, IsInterruptible = true });

    /// <summary>`syscall`; in kernel mode a hypercall.</summary>
    public static Step SystemCall(params (R, Value)[] registers) =>
        new(registers, [], new Trap { Kind = TrapKind.Syscall, IsInterruptible = true });

    /// <summary>The guest runs until the engine's deadline.</summary>
    public static Step Runs(long nanoseconds, bool isInterruptible = true) =>
        new([], [], new Trap { Kind = TrapKind.Preempted, IsInterruptible = isInterruptible }) { Time = nanoseconds };

    /// <summary>The engine cannot go on.</summary>
    public static Step Fails(string? diagnosis) => new([], [], new Trap { Kind = TrapKind.Fatal, Diagnosis = diagnosis });

    /// <summary>Time goes on to an instant, ns since the machine's start, while the guest does nothing or sleeps.</summary>
    public static Step TimeIs(long nanoseconds) => new([], [], null) { Until = nanoseconds };

    /// <summary>The other domain does it.</summary>
    public static Step OtherDoes(Step step) => step with { IsOthers = true };

    /// <summary>
    /// What takes the guest to user mode, on the kernel's own tables: new_user_baseptr, stack_switch, set_segment_base, iret.
    /// </summary>
    public static Step[] ToUser(params (R, Value)[] registers) =>
    [
        Call(Hypercall.MmuextOp, new Struct(Struct.U32(MmuExtOp.NewUserBaseptr), Struct.U64(Table(4)), Struct.U64(0)), 1, 0, Self),
        Call(Hypercall.StackSwitch, FlatSelectors.Data, KernelStack),
        Call(Hypercall.SetSegmentBase, SegmentBase.GsUser, UserGs),
        ReturnsTo(At(CodePage), FlatSelectors.Code64, 0x202, At(UserStackPage + 1), FlatSelectors.Data),
        Sets(registers),
    ];

    /// <summary>iret by a frame on the stack.</summary>
    public static Step ReturnsTo(Value rip, Value cs, Value rflags, Value rsp, Value ss, ulong flags = 0) =>
        new(
            [(R.Rax, Hypercall.Iret), (R.Rsp, At(StackPage, 0x800))],
            [new Store(At(StackPage, 0x800), IretFrame(rip, cs, rflags, rsp, ss, flags))],
            new Trap { Kind = TrapKind.Syscall, IsInterruptible = true });

    /// <summary>RAX, R11 and RCX as the frames of <see cref="ReturnsTo"/> have them.</summary>
    public const ulong ReturnedRax = 0xaaaa, ReturnedR11 = 0x1111, ReturnedRcx = 0xcccc;

    private static Struct IretFrame(Value rip, Value cs, Value rflags, Value rsp, Value ss, ulong flags) => new(
        Struct.U64(ReturnedRax), Struct.U64(ReturnedR11), Struct.U64(ReturnedRcx), Struct.U64(flags),
        Struct.U64(rip), Struct.U64(cs), Struct.U64(rflags), Struct.U64(rsp), Struct.U64(ss));

    /// <summary>The bytes of an instruction in the code page.</summary>
    public static byte[] Assemble(Action<Assembler> write)
    {
        Assembler assembler = new(64);
        write(assembler);
        using MemoryStream stream = new();
        _ = assembler.Assemble(new StreamCodeWriter(stream), At(CodePage));
        return stream.ToArray();
    }
}

/// <summary>An argument of a hypercall: a number, or a structure in memory.</summary>
internal readonly struct Argument
{
    public Value Value { get; private init; }

    public Struct? Struct { get; private init; }

    public static implicit operator Argument(Value value) => new() { Value = value };

    public static implicit operator Argument(ulong number) => new() { Value = number };

    public static implicit operator Argument(long number) => new() { Value = number };

    public static implicit operator Argument(int number) => new() { Value = number };

    public static implicit operator Argument(uint number) => new() { Value = number };

    public static implicit operator Argument(ushort number) => new() { Value = number };

    public static implicit operator Argument(Enum number) => new() { Value = number };

    public static implicit operator Argument(Struct structure) => new() { Struct = structure };
}
