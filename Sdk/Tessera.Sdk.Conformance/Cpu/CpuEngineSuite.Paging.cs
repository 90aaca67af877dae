using System.Runtime.InteropServices;
using Iced.Intel;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Cpu.X64;
using static Iced.Intel.AssemblerRegisters;

namespace Tessera.Sdk.Conformance.Cpu;

// Changes of page tables, effective at the next entry.
public sealed partial class CpuEngineSuite
{
    private const ulong Writable = 2;
    private const ulong User = 4;
    private const ulong NoExecute = 1UL << 63;
    private const int ManyChanges = 4096;
    private static readonly int DataEntry = EngineGuest.EntryOf(EngineGuest.Data);

    [Check("Another frame is seen at the next entry every time.")]
    private void Another_frame_is_seen_at_the_next_entry_every_time() => OnEngineThread(thread =>
    {
        using EngineGuest guest = ReadingAndWriting();
        for (int round = 0; round < 200; round++)
        {
            int frame = EngineGuest.FirstData + (round % 8);
            guest.Words(frame)[0] = (ulong)round;
            guest.Change(EngineGuest.L1, DataEntry, guest.Frame(frame).Address | EngineGuest.Rights);
            Expect.Equal(Read(guest, thread), (ulong)round);
        }
    });

    [Check("A page made read only faults on writing and not present on reading.")]
    private void A_page_made_read_only_faults_on_writing_and_not_present_on_reading() => OnEngineThread(thread =>
    {
        using EngineGuest guest = ReadingAndWriting();
        ulong entry = guest.Words(EngineGuest.L1)[DataEntry];
        for (int round = 0; round < 20; round++)
        {
            Expect.Equal(Write(guest, thread), 0U, "writable");
            guest.Change(EngineGuest.L1, DataEntry, entry & ~Writable);
            Expect.Equal(Write(guest, thread), 7U, "present, write, user");
            Expect.True(Read(guest, thread) is not null);
            guest.Change(EngineGuest.L1, DataEntry, 0);
            Expect.True(Read(guest, thread) is null, "not present");
            guest.Change(EngineGuest.L1, DataEntry, entry);
        }
    });

    [Check("A page made supervisor or not executable faults.")]
    private void A_page_made_supervisor_or_not_executable_faults() => OnEngineThread(thread =>
    {
        using EngineGuest guest = ReadingAndWriting();
        ulong data = guest.Words(EngineGuest.L1)[DataEntry];
        Expect.True(Read(guest, thread) is not null);
        guest.Change(EngineGuest.L1, DataEntry, data & ~User);
        Expect.True(Read(guest, thread) is null);
        Expect.True(Read(guest, thread) is null);

        ulong code = guest.Words(EngineGuest.L1)[0];
        guest.Change(EngineGuest.L1, 0, code | NoExecute);
        guest.State.Rip = EngineGuest.Code;
        Trap trap = guest.Run(thread);
        Expect.Equal((trap.Kind, trap.Vector, trap.ErrorCode), (TrapKind.Exception, (byte)14, 0x15u), trap.Diagnosis);
        guest.Change(EngineGuest.L1, 0, code);
        guest.Change(EngineGuest.L1, DataEntry, data);
        Expect.True(Read(guest, thread) is not null);
    });

    [Check("A pointer to another table is seen at every level.")]
    [Case(EngineGuest.L2, 2)]
    [Case(EngineGuest.L3, 0)]
    [Case(EngineGuest.L4, 0)]
    private void A_pointer_to_another_table_is_seen_at_every_level(int level, int index) => OnEngineThread(thread =>
    {
        using EngineGuest guest = ReadingAndWriting();
        const int Copies = 64;
        // A second tree below the changed entry whose data page is another one.
        int table = EngineGuest.L1;
        guest.Words(EngineGuest.L1).CopyTo(guest.Words(Copies));
        guest.Words(Copies)[DataEntry] = guest.Frame(EngineGuest.FirstData + 5).Address | EngineGuest.Rights;
        for (int below = EngineGuest.L2; below > level; below--)
        {
            int copy = Copies + (EngineGuest.L1 - below);
            guest.Words(below).CopyTo(guest.Words(copy));
            guest.Words(copy)[below == EngineGuest.L2 ? 2 : 0] = guest.Frame(Copies + (table - below) - 1).Address | EngineGuest.Rights;
        }

        int top = Copies + (EngineGuest.L1 - level) - 1;
        guest.Words(EngineGuest.FirstData)[0] = 1;
        guest.Words(EngineGuest.FirstData + 5)[0] = 2;
        ulong original = guest.Words(level)[index];
        for (int round = 0; round < 10; round++)
        {
            Expect.Equal(Read(guest, thread), 1UL);
            guest.Change(level, index, guest.Frame(top).Address | EngineGuest.Rights);
            Expect.Equal(Read(guest, thread), 2UL);
            guest.Change(level, index, original);
        }
    });

    [Check("More changes than the queue holds are all seen.")]
    private void More_changes_than_the_queue_holds_are_all_seen() => OnEngineThread(thread =>
    {
        using EngineGuest guest = ReadingAndWriting();
        ulong a = guest.Frame(EngineGuest.FirstData).Address | EngineGuest.Rights;
        ulong b = guest.Frame(EngineGuest.FirstData + 1).Address | EngineGuest.Rights;
        guest.Words(EngineGuest.FirstData)[0] = 1;
        guest.Words(EngineGuest.FirstData + 1)[0] = 2;
        Expect.Equal(Read(guest, thread), 1UL);
        for (int index = 100; index < 100 + ManyChanges; index++)
            guest.Machine.EntryChanged(guest.Frame(40 + (index / 512)).Address + ((ulong)index % 512 * 8), a, b);
        guest.Change(EngineGuest.L1, DataEntry, b);
        Expect.Equal(Read(guest, thread), 2UL);
        for (int index = 64; index < 256; index += 2)
            guest.Change(EngineGuest.L1, index, 0);
        guest.Change(EngineGuest.L1, DataEntry, a);
        Expect.Equal(Read(guest, thread), 1UL);
    });

    [Check("A change reaches every cpu of the machine.")]
    private void A_change_reaches_every_cpu_of_the_machine() => OnEngineThread(thread =>
    {
        using EngineGuest guest = ReadingAndWriting(cpus: 3);
        for (int round = 0; round < 20; round++)
        {
            int frame = EngineGuest.FirstData + (round % 2);
            guest.Words(frame)[0] = (ulong)round;
            guest.Change(EngineGuest.L1, DataEntry, guest.Frame(frame).Address | EngineGuest.Rights);
            for (int cpu = 0; cpu < 3; cpu++)
                Expect.Equal(Read(guest, thread, (cpu + round) % 3), (ulong)round);
        }
    });

    [Check("A read only region can be read and never written.")]
    private void A_read_only_region_can_be_read_and_never_written() => OnEngineThread(thread =>
    {
        unsafe
        {
            // SAFETY: one aligned page, freed after the machine that maps it.
            ulong* page = (ulong*)NativeMemory.AlignedAlloc(4096, 4096);
            page[0] = 77;
            try
            {
                Mfn frame = new(Engine.Facts.ReservedFrames + 1000);
                using EngineGuest guest = ReadingAndWriting(extra: new MemoryRegion(frame, 1, (nint)page, IsReadOnly: true));
                guest.Change(EngineGuest.L1, DataEntry, frame.Address | EngineGuest.Rights);
                Expect.Equal(Read(guest, thread), 77UL);
                guest.State.Rip = EngineGuest.Code + 0x100;
                guest.State.Rbx = EngineGuest.Data;
                guest.State.Rax = 99;
                Trap trap = guest.Run(thread);
                Expect.True(trap.Kind is not (TrapKind.Hypercall or TrapKind.Preempted));
                Expect.Equal(page[0], 77UL);
            }
            finally
            {
                NativeMemory.AlignedFree(page);
            }
        }
    });

    [Check("Memory that the machine does not have is fatal and says so.")]
    private void Memory_that_the_machine_does_not_have_is_fatal_and_says_so() => OnEngineThread(thread =>
    {
        using EngineGuest guest = ReadingAndWriting();
        guest.Change(EngineGuest.L1, DataEntry, (0x123456UL << 12) | EngineGuest.Rights);
        guest.State.Rbx = EngineGuest.Data;
        guest.State.Rip = EngineGuest.Code;
        Trap trap = guest.Run(thread);
        Expect.Equal(trap.Kind, TrapKind.Fatal);
        Expect.True(trap.Diagnosis!.Contains("0x123456000", StringComparison.Ordinal));
    });

    /// <summary>At Code: read [rbx] into rax, hypercall. At Code + 0x100: write rax to [rbx], hypercall.</summary>
    private EngineGuest ReadingAndWriting(int cpus = 1, MemoryRegion? extra = null)
    {
        EngineGuest guest = new(Engine, cpus, extra);
        guest.Assemble(code =>
        {
            code.mov(rax, __qword_ptr[rbx]);
            guest.Hypercall(code);
        });
        guest.Assemble(
            code =>
            {
                code.mov(__qword_ptr[rbx], rax);
                guest.Hypercall(code);
            },
            0x100);
        return guest;
    }

    private static ulong? Read(EngineGuest guest, IEngineThread thread, int cpu = 0)
    {
        ref GuestCpuState state = ref guest.Cpus[cpu].State;
        state.Rip = EngineGuest.Code;
        state.Rbx = EngineGuest.Data;
        Trap trap = guest.Run(thread, cpu);
        Expect.True(trap.Kind is TrapKind.Hypercall or TrapKind.Exception, trap.Diagnosis);
        return trap.Kind == TrapKind.Hypercall ? state.Rax : null;
    }

    private static uint Write(EngineGuest guest, IEngineThread thread, int cpu = 0)
    {
        ref GuestCpuState state = ref guest.Cpus[cpu].State;
        state.Rip = EngineGuest.Code + 0x100;
        state.Rbx = EngineGuest.Data;
        Trap trap = guest.Run(thread, cpu);
        Expect.True(trap.Kind is TrapKind.Hypercall or TrapKind.Exception, trap.Diagnosis);
        return trap.ErrorCode;
    }
}
