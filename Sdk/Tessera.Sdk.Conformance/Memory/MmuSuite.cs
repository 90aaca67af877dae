using Tessera.Sdk.Memory;
using Tessera.Sdk.Xen;
using static Tessera.Sdk.Conformance.Memory.Entry;

namespace Tessera.Sdk.Conformance.Memory;

/// <summary>
/// The conformance suite of MMU virtualizations: what hypercalls answer, what a CPU then finds from the roots that the MMU names, and that no
/// guest gets at a frame that is not its own, at a table, or at the VMM's slots.
/// </summary>
/// <param name="mmu">The MMU's name in the report.</param>
/// <param name="create">Makes the MMU of a machine; called many times.</param>
/// <param name="options">How thorough to be; only the random guests and their length count.</param>
public sealed partial class MmuSuite(string mmu, Func<IMmuVirtualization> create, ConformanceOptions? options = null)
    : MethodSuite(mmu, new ConformanceOptions().HangLimit)
{
    private readonly ConformanceOptions _options = options ?? new();
    private ModelFrames _frames = null!;
    private MmuMachine _machine = null!;
    private BootTables _tables = null!;

    /// <summary>The checks of every MMU, in the order of a report card.</summary>
    public static IReadOnlyList<CheckInfo> AllChecks { get; } = [.. CheckMethod.Of(typeof(MmuSuite)).Select(static method => method.Info)];

    private protected override CheckResult Carry(string name)
    {
        PowerOn();
        return base.Carry(name);
    }

    private void PowerOn()
    {
        _frames = new ModelFrames();
        _machine = new MmuMachine(create(), _frames);
        _tables = new BootTables(_machine);
    }

    /// <summary>The address space of <see cref="BootTables"/>, adopted.</summary>
    private void Boot() => Expect.Equal(_machine.Mmu.AdoptBootTables(_tables.L4), XenErrno.Success, "tables as a builder makes them");

    /// <summary>A frame that nothing is held on: the guest may map it writable.</summary>
    private void IsPlain(Mfn frame)
    {
        Expect.Equal(_machine.Write(_tables.L1, 400, frame.Address | P | RW), XenErrno.Success, $"{frame} is plain memory");
        Expect.Equal(_machine.Write(_tables.L1, 400, 0), XenErrno.Success);
    }

    /// <summary>A frame that the guest may not write.</summary>
    private void IsNotPlain(Mfn frame) =>
        Expect.Equal(_machine.Write(_tables.L1, 400, frame.Address | P | RW), XenErrno.EBUSY, $"{frame} is in use");

    private static ulong Page(int index) => BootTables.Page(index).Value;
}
