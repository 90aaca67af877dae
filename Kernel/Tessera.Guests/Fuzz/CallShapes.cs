using Iced.Intel;
using Tessera.Sdk.Xen;
using static Iced.Intel.AssemblerRegisters;

namespace Tessera.Guests.Fuzz;

/// <summary>
/// Gives a random call the shape its number wants (a pointer and a count, a sub-op and a pointer…), so that it comes past the first check
/// and its structures, which stay random, meet the ones behind.
/// </summary>
/// <param name="f">The hostile guest.</param>
/// <param name="call">Number and five arguments.</param>
/// <param name="random">Subroutine: RAX random, changes RCX.</param>
/// <param name="grants">Shapes of grant operations.</param>
internal sealed class CallShapes(FuzzCode f, ulong call, Label random, GrantShapes grants)
{
    private static readonly Hypercall[] PointerAndCount = [Hypercall.SetTrapTable, Hypercall.MmuUpdate, Hypercall.SetGdt, Hypercall.Multicall, Hypercall.MmuextOp];

    private static readonly Hypercall[] OperationAndPointer =
    [
        Hypercall.MemoryOp, Hypercall.XenVersion, Hypercall.SchedOp, Hypercall.CallbackOp, Hypercall.EventChannelOp, Hypercall.PhysdevOp, Hypercall.NmiOp,
    ];

    private static readonly Hypercall[] Grants = [Hypercall.GrantTableOp];
    private static readonly Hypercall[] OperationVcpuAndPointer = [Hypercall.VcpuOp];
    private static readonly Hypercall[] OperationCountAndPointer = [Hypercall.ConsoleIo];
    private static readonly Hypercall[] AddressAndEntry = [Hypercall.UpdateVaMapping, Hypercall.UpdateVaMappingOtherdomain];

    private readonly GuestCode _g = f.G;
    private readonly Assembler _c = f.C;

    /// <summary>Shapes the call and goes on at the label.</summary>
    public void Emit(Label done)
    {
        (Hypercall[] Numbers, Action Shape)[] shapes =
        [
            (PointerAndCount, () =>
            {
                Window(0);
                Small(1, 7);
                Constant(2, 0);
                Constant(3, DomainIds.Self);
            }),
            (OperationAndPointer, () =>
            {
                Small(0, 31);
                Window(1);
                Small(2, 3);
            }),
            (Grants, () =>
            {
                Label wellFormed = _c.CreateLabel(), shaped = _c.CreateLabel();
                _c.call(random);
                _c.test(al, 3);
                _c.jne(wellFormed);
                Small(0, 31);
                Window(1);
                Small(2, 3);
                _c.jmp(shaped);
                _c.Label(ref wellFormed);
                grants.Emit();
                Store(0);
                Constant(1, grants.Structure);
                Constant(2, 1);
                _c.Label(ref shaped);
                _c.zero_bytes();
            }),
            (OperationVcpuAndPointer, () =>
            {
                Small(0, 15);
                Constant(1, 0);
                Window(2);
            }),
            (OperationCountAndPointer, () =>
            {
                Small(0, 1);
                Small(1, 255);
                Window(2);
            }),
            (AddressAndEntry, () =>
            {
                Window(0);
                OwnEntry(1);
                Small(2, 7);
                Constant(3, DomainIds.Self);
            }),
        ];
        foreach ((Hypercall[] numbers, Action shape) in shapes)
        {
            Label other = _c.CreateLabel();
            _g.Set(rax, numbers.Aggregate(0UL, (mask, number) => mask | (1UL << (int)number)));
            _c.mov(rcx, GuestCode.Absolute(call));
            _c.bt(rax, rcx);
            _c.jae(other);
            shape();
            _c.jmp(done);
            _c.Label(ref other);
        }

        _c.zero_bytes();
    }

    private void Store(int argument) => _c.mov(GuestCode.Absolute(call + 8 + (ulong)(8 * argument)), rax);

    private void Constant(int argument, ulong value)
    {
        _g.Set(rax, value);
        Store(argument);
    }

    private void Small(int argument, int mask)
    {
        _c.call(random);
        _c.and(eax, mask);
        Store(argument);
    }

    private void Window(int argument)
    {
        _c.call(random);
        _c.and(eax, (FuzzCode.WindowPages * GuestImage.PageSize) - 8);
        _g.Set(rcx, f.Window);
        _c.add(rax, rcx);
        Store(argument);
    }

    // Any of the domain's frames, with any flags.
    private void OwnEntry(int argument)
    {
        _c.call(random);
        _c.mov(rsi, rax);
        _c.shr(rsi, 40);
        _c.and(esi, 0xFFF);
        _c.mov(eax, eax);
        _g.LoadStartInfo(rcx);
        _c.xor(edx, edx);
        _c.div(__qword_ptr[rcx + StartInfo.NrPages]);
        _g.LoadFrameList(rcx);
        _c.mov(rax, __qword_ptr[rcx + (rdx * 8)]);
        _c.shl(rax, 12);
        _c.or(rax, rsi);
        Store(argument);
    }
}
