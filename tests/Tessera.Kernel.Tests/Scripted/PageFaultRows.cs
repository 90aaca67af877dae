using Iced.Intel;
using Tessera.Sdk.Xen;
using static Iced.Intel.AssemblerRegisters;
using static Tessera.Kernel.Tests.Scripted.Script;
using static Tessera.Kernel.Tests.Scripted.Struct;

namespace Tessera.Kernel.Tests.Scripted;

/// <summary>
/// Page faults, which a guest's handler finds with the address in vcpu_info and with the mode it was in; those that the tables do not
/// explain; and writes to page tables, which Xen
/// does as updates. The engine's error codes are of ring 3, both for kernel and process.
/// </summary>
internal sealed class PageFaultRows
{
    private const uint Present = 1, Write = 2, User = 4, Reserved = 8, Fetch = 16;
    private const uint TableWrite = Present | Write | User;
    private const int Vector = 14;
    private const int Page = Free;
    private const ulong Carry = 1, Parity = 4, Zero = 0x40, Sign = 0x80, Overflow = 0x800;
    private const ulong Flags = 0x202;

    private static IEnumerable<TestCaseData> Faults => Row.Cases(
        new("a read of the kernel where nothing is mapped", Fault(Nowhere, User), Enters: At14(0), Memory: [Cr2(Nowhere)]),
        new("a write of the kernel where nothing is mapped", Fault(Nowhere + 8, User | Write), Enters: At14(Write),
            Memory: [Cr2(Nowhere + 8)]),
        new("a read of a process where nothing is mapped", Fault(Nowhere, User), Enters: At14(User), Memory: [Cr2(Nowhere)],
            After: ToUser()),
        new("a write of a process to a page that is read-only", Fault(At(Page), TableWrite), Enters: At14(TableWrite),
            Memory: [Cr2(At(Page))], After: [ReadOnly(Page), .. ToUser()]),
        new("a write of the kernel to a page that is read-only", Fault(At(Page, 8), TableWrite), Enters: At14(Present | Write),
            Memory: [Cr2(At(Page, 8))], After: [ReadOnly(Page)]),
        new("a fetch", Fault(At(Page), Present | User | Fetch), Enters: At14(Present | Fetch), Memory: [Cr2(At(Page))]),
        new("an address that is not canonical", Fault(NotCanonical, User), Enters: At14(0), Memory: [Cr2(NotCanonical)]),
        new("a slot of the host's own is one where nothing is mapped", Fault(HypervisorRange.Start + 8, Present | User | Reserved),
            Enters: At14(Present | User), Memory: [Cr2(HypervisorRange.Start + 8)], After: ToUser()),
        new("a fault that the tables do not explain", Fault(At(Page), User)),
        new("a write that the tables allow", Fault(At(Page), TableWrite)),
        new("a write that only the tables' writable bit forbids", Fault(At(Page), User | Write), Enters: At14(Write),
            Memory: [Cr2(At(Page))], After: [ReadOnly(Page)]),
        new("the same for the eighth time", Fault(At(Page), User), After: [.. Enumerable.Repeat(Fault(At(Page), User), 7)]),
        new("the same for the ninth time is the guest's", Fault(At(Page), User), Enters: At14(0), Memory: [Cr2(At(Page))],
            After: [.. Enumerable.Repeat(Fault(At(Page), User), 8)]),
        new("the address is where vcpu_info is", Fault(Nowhere, User), Enters: At14(0), Memory: [new(At(Page, 16), new(U64(Nowhere)))],
            After: [Call(Hypercall.VcpuOp, VcpuOp.RegisterVcpuInfo, 0, new Struct(U64(Frame(Page)), U32(0), U32(0)))]),
        new("another one begins anew", Fault(At(Page + 1), User), After: [.. Enumerable.Repeat(Fault(At(Page), User), 8)]));

    private static IEnumerable<TestCaseData> TableWrites => Row.Cases(
        new("mov of an entry", Writes(0, code => code.mov(__[rdi], rsi), (R.Rsi, Entry(Page + 1, Rw))), Registers: [Next(3)],
            Memory: [Becomes(Entry(Page + 1, Rw))]),
        new("mov of 0", Writes(0, code => code.mov(__qword_ptr[rdi], 0)), Registers: [Next(7)], Memory: [Becomes(0)]),
        new("mov of an entry's lower half", Writes(0, code => code.mov(__[rdi], esi), (R.Rsi, Entry(Page + 1, Rw))), Registers: [Next(2)],
            Memory: [Becomes(Entry(Page + 1, Rw))]),
        new("mov of its upper half", Writes(4, code => code.mov(__dword_ptr[rdi], 0x8000_0000u)), Registers: [Next(6)],
            Memory: [Becomes(Entry(Page, Rw | (1UL << 63)))]),
        new("mov of a byte", Writes(0, code => code.mov(__byte_ptr[rdi], 0x25)), Registers: [Next(3)],
            Memory: [Becomes(Entry(Page, 0x25))]),
        new("xchg gives the old entry", Writes(0, code => code.xchg(__[rdi], rsi), (R.Rsi, Entry(Page + 1, Rw))),
            Registers: [Next(3), (R.Rsi, Entry(Page, Rw))], Memory: [Becomes(Entry(Page + 1, Rw))]),
        new("and takes a bit", Writes(0, code => code.and(__qword_ptr[rdi], ~2), (R.Rflags, Flags | Carry | Overflow)),
            Registers: [Next(4), (R.Rflags, Flags | Parity)], Memory: [Becomes(Entry(Page, 0x65))]),
        new("and to nothing", Writes(0, code => code.and(__qword_ptr[rdi], 0), (R.Rflags, Flags)),
            Registers: [Next(4), (R.Rflags, Flags | Zero | Parity)], Memory: [Becomes(0)]),
        new("or of a byte", Writes(0, code => code.or(__byte_ptr[rdi], 2), (R.Rflags, Flags | Parity | Zero)),
            Registers: [Next(3), (R.Rflags, Flags)], Memory: [Becomes(Entry(Page, Rw))], After: [ReadOnly(Page)]),
        new("or sets the sign", Writes(0, code => code.or(__[rdi], rsi), (R.Rsi, 1UL << 63), (R.Rflags, Flags)),
            Registers: [Next(3), (R.Rflags, Flags | Sign)], Memory: [Becomes(Entry(Page, Rw | (1UL << 63)))]),
        new("btr of a bit that is set", Writes(0, code => code.btr(__qword_ptr[rdi], 1), (R.Rflags, Flags)),
            Registers: [Next(5), (R.Rflags, Flags | Carry)], Memory: [Becomes(Entry(Page, Ro))]),
        new("btr of a bit that is not", Writes(0, code => code.btr(__qword_ptr[rdi], 9), (R.Rflags, Flags | Carry)),
            Registers: [Next(5), (R.Rflags, Flags)]),
        new("bts of a bit that is not set", Writes(0, code => code.bts(__qword_ptr[rdi], 9), (R.Rflags, Flags | Carry)),
            Registers: [Next(5), (R.Rflags, Flags)], Memory: [Becomes(Entry(Page, Rw | 0x200))]),
        new("bts of a bit that is", Writes(0, code => code.bts(__qword_ptr[rdi], 1), (R.Rflags, Flags)),
            Registers: [Next(5), (R.Rflags, Flags | Carry)]),
        new("cmpxchg of what is there",
            Writes(0, code => code.cmpxchg(__[rdi], rsi), (R.Rax, Entry(Page, Rw)), (R.Rsi, Entry(Page + 1, Rw)), (R.Rflags, Flags)),
            Registers: [Next(4), (R.Rflags, Flags | Zero)], Memory: [Becomes(Entry(Page + 1, Rw))]),
        new("cmpxchg of something else",
            Writes(0, code => code.cmpxchg(__[rdi], rsi), (R.Rax, 5), (R.Rsi, Entry(Page + 1, Rw)), (R.Rflags, Flags | Zero)),
            Rax: Entry(Page, Rw), Registers: [Next(4), (R.Rflags, Flags)]),
        new("an entry of the higher tables", Writes(0, code => code.mov(__[rdi], rsi), (R.Rdi, Upper), (R.Rsi, 0)) with { Address = Upper },
            Registers: [Next(3)], Memory: [new(Upper, new(U64(0)))]),
        new("an entry that is refused faults", Writes(0, code => code.mov(__[rdi], rsi), (R.Rsi, ForeignEntry(Rw))),
            Enters: At14(Present | Write), Memory: [Cr2(Pte)]),
        new("an entry of the VMM's faults", Writes(0, code => code.mov(__[rdi], rsi), (R.Rsi, 0)) with { Address = Slot256 },
            Enters: At14(Present | Write), Memory: [Cr2(Slot256)]),
        new("an instruction that is not known faults", Writes(0, code => code.inc(__qword_ptr[rdi])), Enters: At14(Present | Write),
            Memory: [Cr2(Pte)]),
        new("a vector register faults", Writes(0, code => code.movq(__qword_ptr[rdi], xmm0)), Enters: At14(Present | Write),
            Memory: [Cr2(Pte)]),
        new("sixteen bytes fault", Writes(0, code => code.movups(__xmmword_ptr[rdi], xmm0)), Enters: At14(Present | Write),
            Memory: [Cr2(Pte)]),
        new("a write over two entries faults", Writes(4, code => code.mov(__[rdi], rsi)), Enters: At14(Present | Write),
            Memory: [Cr2(Pte + 4)]),
        new("a write of a process faults", Writes(0, code => code.mov(__[rdi], rsi), (R.Rsi, 0)), Enters: At14(TableWrite),
            Memory: [Cr2(Pte)], After: ToUser()));

    [TestCaseSource(nameof(Faults))]
    public void A_page_fault(Row row) => row.Check();

    [TestCaseSource(nameof(TableWrites))]
    public void A_write_to_a_page_table(Row row) => row.Check();

    /// <summary>The guest's address of the entry that maps the page, in a table that is mapped for reading.</summary>
    private static Value Pte => InKernel(EntryOf(Page));

    /// <summary>The guest's address of an entry of level 2 that nothing needs: what the page after the last would go through.</summary>
    private static Value Upper => InKernel(EntryOf(At(0) + (500UL << 21), 2));

    private static Value Slot256 => InKernel(EntryOf(HypervisorRange.Start, 4));

    private static Value InKernel(Value machineAddress) => new(guest => machineAddress.Of(guest) - (guest.Frame(0) << 12) + At(0));

    private static Bounce At14(uint error) => new(Handler(Vector), Error: error);

    private static Store Cr2(Value address) => new(SharedInfoAt(VcpuInfo.Cr2), new(U64(address)));

    private static Store Becomes(Value entry) => new(EntryOf(Page), new(U64(entry)));

    private static (R, Value) Next(int bytes) => (R.Rip, At(CodePage, bytes));

    private static Step ReadOnly(int page) => IsEntry(page, Entry(page, Ro));

    private static Step IsEntry(Value entry) => IsEntry(Page, entry);

    private static Step IsEntry(int page, Value entry) => Call(Hypercall.UpdateVaMapping, At(page), entry, 0);

    private static Step Fault(Value address, uint error) => PageFault(address, error, code => code.nop());

    private static Step Writes(int offset, Action<Assembler> instruction, params (R, Value)[] registers) =>
        PageFault(Pte + (ulong)offset, TableWrite, instruction, [(R.Rdi, Pte + (ulong)offset), .. registers]);
}
