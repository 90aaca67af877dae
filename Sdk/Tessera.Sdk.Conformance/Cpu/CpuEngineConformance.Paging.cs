using System.Runtime.InteropServices;
using Iced.Intel;
using NUnit.Framework;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Cpu.X64;
using static Iced.Intel.AssemblerRegisters;

namespace Tessera.Sdk.Conformance.Cpu;

// Changes of page tables, effective at the next entry.
public abstract partial class CpuEngineConformance
{
    private const ulong Writable = 2;
    private const ulong User = 4;
    private const ulong NoExecute = 1UL << 63;
    private const int ManyChanges = 4096;
    private static readonly int DataEntry = EngineGuest.EntryOf(EngineGuest.Data);

    /// <summary>Another frame is seen at the next entry every time.</summary>
    [Test]
    public void Another_frame_is_seen_at_the_next_entry_every_time() => OnEngineThread(thread =>
    {
        using EngineGuest guest = ReadingAndWriting();
        for (int round = 0; round < 200; round++)
        {
            int frame = EngineGuest.FirstData + (round % 8);
            guest.Words(frame)[0] = (ulong)round;
            guest.Change(EngineGuest.L1, DataEntry, guest.Frame(frame).Address | EngineGuest.Rights);
            Assert.That(Read(guest, thread), Is.EqualTo((ulong)round));
        }
    });

    /// <summary>A page made read only faults on writing and not present on reading.</summary>
    [Test]
    public void A_page_made_read_only_faults_on_writing_and_not_present_on_reading() => OnEngineThread(thread =>
    {
        using EngineGuest guest = ReadingAndWriting();
        ulong entry = guest.Words(EngineGuest.L1)[DataEntry];
        for (int round = 0; round < 20; round++)
        {
            Assert.That(Write(guest, thread), Is.Zero, "writable");
            guest.Change(EngineGuest.L1, DataEntry, entry & ~Writable);
            Assert.That(Write(guest, thread), Is.EqualTo(7), "present, write, user");
            Assert.That(Read(guest, thread), Is.Not.Null);
            guest.Change(EngineGuest.L1, DataEntry, 0);
            Assert.That(Read(guest, thread), Is.Null, "not present");
            guest.Change(EngineGuest.L1, DataEntry, entry);
        }
    });

    /// <summary>A page made supervisor or not executable faults.</summary>
    [Test]
    public void A_page_made_supervisor_or_not_executable_faults() => OnEngineThread(thread =>
    {
        using EngineGuest guest = ReadingAndWriting();
        ulong data = guest.Words(EngineGuest.L1)[DataEntry];
        Assert.That(Read(guest, thread), Is.Not.Null);
        guest.Change(EngineGuest.L1, DataEntry, data & ~User);
        Assert.That(Read(guest, thread), Is.Null);
        Assert.That(Read(guest, thread), Is.Null);

        ulong code = guest.Words(EngineGuest.L1)[0];
        guest.Change(EngineGuest.L1, 0, code | NoExecute);
        guest.State.Rip = EngineGuest.Code;
        Trap trap = guest.Run(thread);
        Assert.That((trap.Kind, trap.Vector, trap.ErrorCode), Is.EqualTo((TrapKind.Exception, (byte)14, 0x15u)), trap.Diagnosis);
        guest.Change(EngineGuest.L1, 0, code);
        guest.Change(EngineGuest.L1, DataEntry, data);
        Assert.That(Read(guest, thread), Is.Not.Null);
    });

    /// <summary>A pointer to another table is seen at every level.</summary>
    [TestCase(EngineGuest.L2, 2)]
    [TestCase(EngineGuest.L3, 0)]
    [TestCase(EngineGuest.L4, 0)]
    public void A_pointer_to_another_table_is_seen_at_every_level(int level, int index) => OnEngineThread(thread =>
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
            Assert.That(Read(guest, thread), Is.EqualTo(1));
            guest.Change(level, index, guest.Frame(top).Address | EngineGuest.Rights);
            Assert.That(Read(guest, thread), Is.EqualTo(2));
            guest.Change(level, index, original);
        }
    });

    /// <summary>More changes than the queue holds are all seen.</summary>
    [Test]
    public void More_changes_than_the_queue_holds_are_all_seen() => OnEngineThread(thread =>
    {
        using EngineGuest guest = ReadingAndWriting();
        ulong a = guest.Frame(EngineGuest.FirstData).Address | EngineGuest.Rights;
        ulong b = guest.Frame(EngineGuest.FirstData + 1).Address | EngineGuest.Rights;
        guest.Words(EngineGuest.FirstData)[0] = 1;
        guest.Words(EngineGuest.FirstData + 1)[0] = 2;
        Assert.That(Read(guest, thread), Is.EqualTo(1));
        for (int index = 100; index < 100 + ManyChanges; index++)
            guest.Machine.EntryChanged(guest.Frame(40 + (index / 512)).Address + ((ulong)index % 512 * 8), a, b);
        guest.Change(EngineGuest.L1, DataEntry, b);
        Assert.That(Read(guest, thread), Is.EqualTo(2));
        for (int index = 64; index < 256; index += 2)
            guest.Change(EngineGuest.L1, index, 0);
        guest.Change(EngineGuest.L1, DataEntry, a);
        Assert.That(Read(guest, thread), Is.EqualTo(1));
    });

    /// <summary>A change reaches every cpu of the machine.</summary>
    [Test]
    public void A_change_reaches_every_cpu_of_the_machine() => OnEngineThread(thread =>
    {
        using EngineGuest guest = ReadingAndWriting(cpus: 3);
        for (int round = 0; round < 20; round++)
        {
            int frame = EngineGuest.FirstData + (round % 2);
            guest.Words(frame)[0] = (ulong)round;
            guest.Change(EngineGuest.L1, DataEntry, guest.Frame(frame).Address | EngineGuest.Rights);
            for (int cpu = 0; cpu < 3; cpu++)
                Assert.That(Read(guest, thread, (cpu + round) % 3), Is.EqualTo((ulong)round));
        }
    });

    /// <summary>A read only region can be read and never written.</summary>
    [Test]
    public void A_read_only_region_can_be_read_and_never_written() => OnEngineThread(thread =>
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
                Assert.That(Read(guest, thread), Is.EqualTo(77));
                guest.State.Rip = EngineGuest.Code + 0x100;
                guest.State.Rbx = EngineGuest.Data;
                guest.State.Rax = 99;
                Trap trap = guest.Run(thread);
                Assert.That(trap.Kind, Is.Not.EqualTo(TrapKind.Hypercall).And.Not.EqualTo(TrapKind.Preempted));
                Assert.That(page[0], Is.EqualTo(77));
            }
            finally
            {
                NativeMemory.AlignedFree(page);
            }
        }
    });

    /// <summary>Memory that the machine does not have is fatal and says so.</summary>
    [Test]
    public void Memory_that_the_machine_does_not_have_is_fatal_and_says_so() => OnEngineThread(thread =>
    {
        using EngineGuest guest = ReadingAndWriting();
        guest.Change(EngineGuest.L1, DataEntry, (0x123456UL << 12) | EngineGuest.Rights);
        guest.State.Rbx = EngineGuest.Data;
        guest.State.Rip = EngineGuest.Code;
        Trap trap = guest.Run(thread);
        Assert.That(trap.Kind, Is.EqualTo(TrapKind.Fatal));
        Assert.That(trap.Diagnosis, Does.Contain("0x123456000"));
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
        Assert.That(trap.Kind, Is.AnyOf(TrapKind.Hypercall, TrapKind.Exception), trap.Diagnosis);
        return trap.Kind == TrapKind.Hypercall ? state.Rax : null;
    }

    private static uint Write(EngineGuest guest, IEngineThread thread)
    {
        guest.State.Rip = EngineGuest.Code + 0x100;
        guest.State.Rbx = EngineGuest.Data;
        Trap trap = guest.Run(thread);
        Assert.That(trap.Kind, Is.AnyOf(TrapKind.Hypercall, TrapKind.Exception), trap.Diagnosis);
        return trap.ErrorCode;
    }
}
