using System.Runtime.InteropServices;
using Tessera.Kernel.Hypercalls;
using Tessera.Kernel.Traps;
using Tessera.Sdk;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Cpu.X64;
using Tessera.Sdk.Memory;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Tests;

/// <summary>
/// A physical CPU whose time is always over: each entry into the VMM may do one step of a long hypercall and no more. The guest repeats the call, and what comes
/// out is what an uninterrupted one would have answered.
/// </summary>
internal sealed class PreemptionTests
{
    private const int Tables = 200;
    private const int FirstTable = HandDomain.FreePage;
    private const int DataPage = FirstTable + Tables;
    private const int Level2 = DataPage + 1;
    private const int Level3 = Level2 + 1;
    private const int RequestPage = Level3 + 1;
    private const ulong FreeSlot = 300;
    private const long Below = (Tables + 2) * 512L;

    private HandMachine _machine = null!;
    private HandDomain _guest = null!;

    [SetUp]
    public void Power_on()
    {
        _machine = new HandMachine();
        _guest = _machine.Create();
    }

    [TearDown]
    public void Everything_ends_with_the_domain()
    {
        _machine.Machine.Destroy(_guest.Domain);
        long left = _machine.Machine.Frames.AssignedFrames;
        _machine.Dispose();
        Assert.That(left, Is.Zero);
    }

    [Test]
    public void One_call_that_links_and_unlinks_all_memory_is_done_in_steps_of_a_fixed_length()
    {
        BuildTables();
        ulong slot = _guest.Domain.Mmu.Root(0, userMode: false).Address + (FreeSlot * 8);
        ulong[] requests = [.. Enumerable.Range(0, 6).SelectMany(index => new[] { slot, index % 2 == 0 ? _guest.Frame(Level3).Address | 0x27 : 0 })];
        Write(requests);
        (long result, int entries) = Call(Hypercall.MmuUpdate, _guest.Address(RequestPage), 6, _guest.Address(RequestPage) + 1024, DomainIds.Self);
        Assert.That(result, Is.Zero);
        Assert.That(MemoryMarshal.Read<uint>(_guest.Page(RequestPage)[1024..]), Is.EqualTo(6), "as many as were asked for are said to be done");
        Assert.That(entries, Is.GreaterThan(5 * Below / MmuLimits.EntriesAtOnce));
        Assert.That(_guest.Domain.Frames.TypeOf(_guest.Frame(Level3)), Is.EqualTo((FrameType.None, 0L)));
    }

    [Test]
    public void Pins_in_a_multicall_are_done_in_steps()
    {
        BuildTables();
        ulong operations = _guest.Address(RequestPage) + 2048;
        Write(
        [
            (ulong)Hypercall.MmuextOp, 99, operations, 1, 0, DomainIds.Self, 0, 0,
            (ulong)Hypercall.MmuextOp, 99, operations + 24, 1, 0, DomainIds.Self, 0, 0,
            (ulong)Hypercall.XenVersion, 99, (ulong)VersionOp.Version, 0, 0, 0, 0, 0,
        ]);
        Span<ulong> words = MemoryMarshal.Cast<byte, ulong>(_guest.Page(RequestPage)[2048..]);
        (words[0], words[1]) = ((ulong)MmuExtOp.PinL3Table, (ulong)_guest.Frame(Level3).Value);
        (words[3], words[4]) = ((ulong)MmuExtOp.UnpinTable, (ulong)_guest.Frame(Level3).Value);
        (long result, int entries) = Call(Hypercall.Multicall, _guest.Address(RequestPage), 3);
        Assert.That(result, Is.Zero);
        Span<ulong> calls = MemoryMarshal.Cast<byte, ulong>(_guest.Page(RequestPage));
        Assert.That((calls[1], calls[9], calls[17]), Is.EqualTo((0UL, 0UL, 0x40011UL)));
        Assert.That(entries, Is.GreaterThan(3 * Below / MmuLimits.EntriesAtOnce / 2));
    }

    [Test]
    public void A_direct_write_to_a_table_waits_for_the_validation_it_asks_for()
    {
        BuildTables();
        InstructionEmulator emulator = new();
        Vcpu vcpu = _guest.Domain.Vcpus[0];
        Mfn root = _guest.Domain.Mmu.Root(0, userMode: false);
        // mov [rdi], rsi
        new byte[] { 0x48, 0x89, 0x37 }.CopyTo(_guest.Page(RequestPage));
        ref GuestCpuState state = ref vcpu.Cpu.State;
        (state.Rip, state.Rdi, state.Rsi) = (_guest.Address(RequestPage), FreeSlot * 8, _guest.Frame(Level3).Address | 0x27);
        int times = 0;
        while (state.Rip == _guest.Address(RequestPage))
        {
            Assert.That(emulator.TryTableWrite(vcpu, state.Rdi, root.Address + (FreeSlot * 8)), Is.True);
            _guest.Domain.FinishMmuWork();
            times++;
        }

        Assert.That((times, _guest.Domain.MmuHost.Table(root)[(int)FreeSlot]), Is.EqualTo((2, _guest.Frame(Level3).Address | 0x27)));
    }

    [TestCase(MemoryOp.DecreaseReservation)]
    [TestCase(MemoryOp.PopulatePhysmap)]
    public void Memory_comes_and_goes_frame_by_frame(MemoryOp operation)
    {
        const int Count = 40;
        for (int page = FirstTable; page < FirstTable + Count; page++)
            _guest.Clear(page);
        Reserve(MemoryOp.DecreaseReservation, Count, out int steps);
        if (operation == MemoryOp.PopulatePhysmap)
            Reserve(operation, Count, out steps);
        Assert.That(steps, Is.EqualTo(Count));
    }

    [Test]
    public void Copies_between_grants_are_done_one_by_one()
    {
        const int Count = 40;
        CopyOperation[] copies = [.. Enumerable.Range(0, Count).Select(_ => new CopyOperation
        {
            Source = (ulong)_guest.Frame(FirstTable).Value, SourceDomain = DomainIds.Self,
            Destination = (ulong)_guest.Frame(FirstTable + 1).Value, DestinationDomain = DomainIds.Self, Length = 4096,
        })];
        MemoryMarshal.AsBytes(copies.AsSpan()).CopyTo(_guest.Page(RequestPage));
        (long result, int steps) = Call(Hypercall.GrantTableOp, (ulong)GrantTableOp.Copy, _guest.Address(RequestPage), Count);
        Assert.That((result, steps), Is.EqualTo((0L, Count)));
    }

    [TestCase(TrapKind.Hypercall, 1, 1)]
    [TestCase(TrapKind.Hypercall, 5, 5)]
    [TestCase(TrapKind.Syscall, 5, 2)]
    public void A_call_that_is_not_done_is_made_again_by_the_instruction_it_came_by(TrapKind kind, int bytes, int back)
    {
        const ulong Place = 0x1000;
        using HandMachine machine = new(hypercallInstruction: new byte[bytes]);
        HandDomain guest = machine.Create();
        Vcpu vcpu = guest.Domain.Vcpus[0];
        MemoryMarshal.AsBytes<ulong>([(ulong)Hypercall.XenVersion, 99, (ulong)VersionOp.Version, 0, 0, 0, 0, 0, (ulong)Hypercall.XenVersion, 99, 0, 0, 0, 0, 0, 0]).CopyTo(guest.Page(RequestPage));
        ref GuestCpuState state = ref vcpu.Cpu.State;
        (state.Rax, state.Rdi, state.Rsi, state.Rip) = ((ulong)Hypercall.Multicall, guest.Address(RequestPage), 2, Place);
        Assert.That(new TrapRouter(machine.Machine.Hypercalls, machine.Machine.Cpuid, bytes).Handle(vcpu, machine.Pcpu, new Trap { Kind = kind, IsInterruptible = true }), Is.EqualTo(TrapOutcome.Reschedule));
        Assert.That((state.Rip, state.Rsi), Is.EqualTo((Place - (ulong)back, 1UL)));
    }

    private void Reserve(MemoryOp operation, int count, out int steps)
    {
        ulong[] frames = [.. Enumerable.Range(0, count).Select(index => operation == MemoryOp.DecreaseReservation ? (ulong)_guest.Frame(FirstTable + index).Value : (ulong)(FirstTable + index))];
        MemoryMarshal.AsBytes(frames.AsSpan()).CopyTo(_guest.Page(RequestPage)[1024..]);
        Write([_guest.Address(RequestPage) + 1024, (ulong)count, 0, DomainIds.Self]);
        (long result, steps) = Call(Hypercall.MemoryOp, (ulong)operation, _guest.Address(RequestPage));
        Assert.That(result, Is.EqualTo(count));
    }

    // 200 level-1 tables, each full of read-only mappings, below one of level 2 and one of level 3.
    private void BuildTables()
    {
        ulong data = _guest.Frame(DataPage).Address | 0x25;
        for (int table = FirstTable; table <= Level3; table++)
        {
            if (table == DataPage)
                continue;
            Span<ulong> entries = _guest.Domain.MmuHost.Table(_guest.Frame(table));
            for (int index = 0; index < entries.Length; index++)
            {
                entries[index] = table == Level3 ? _guest.Frame(Level2).Address | 0x27
                    : table == Level2 ? _guest.Frame(FirstTable + (index % Tables)).Address | 0x27 : data;
            }

            _guest.Clear(table);
        }
    }

    private void Write(ReadOnlySpan<ulong> words) => MemoryMarshal.AsBytes(words).CopyTo(_guest.Page(RequestPage));

    /// <summary>Makes the guest call and repeat the call until it is done.</summary>
    /// <returns>The result, and how often the VMM was entered, each time for one step.</returns>
    private (long Result, int Entries) Call(Hypercall number, params ReadOnlySpan<ulong> arguments)
    {
        Vcpu vcpu = _guest.Domain.Vcpus[0];
        ref GuestCpuState state = ref vcpu.Cpu.State;
        const ulong Place = 0x1000;
        Span<ulong> all = stackalloc ulong[4];
        arguments.CopyTo(all);
        (state.Rax, state.Rdi, state.Rsi, state.Rdx, state.R10) = ((ulong)number, all[0], all[1], all[2], all[3]);
        int entries = 0;
        do
        {
            state.Rip = Place;
            _ = _machine.Machine.Hypercalls.Run(vcpu, _machine.Pcpu, 2);
            entries++;
        }
        while (state.Rip != Place);

        while (!_guest.Domain.Mmu.Work(MmuLimits.EntriesAtOnce))
            entries++;
        return ((long)state.Rax, entries);
    }
}
