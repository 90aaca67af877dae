using Iced.Intel;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Cpu.X64;
using static Iced.Intel.AssemblerRegisters;

namespace Tessera.Sdk.Conformance.Cpu;

// ILogsDirtyFrames: no write is missed.
public sealed partial class CpuEngineSuite
{
    private const int DataPages = 8;
    private const ulong AccessedDirty = PageTableEntry.Accessed | PageTableEntry.Dirty;

    [Check("A frame that guest code writes is logged each time, and one that it reads is not.")]
    private void A_frame_that_guest_code_writes_is_logged_each_time() => OnEngineThread(thread =>
    {
        using EngineGuest guest = ReadingAndWriting(cpus: 2);
        ILogsDirtyFrames machine = Logging(guest);
        // It is in every TLB for writing before the log begins.
        Expect.Equal(Write(guest, thread), 0U);
        machine.StartLog();
        Expect.Equal(Taken(guest, DataFrames), []);
        for (int round = 0; round < 10; round++)
        {
            Expect.True(Read(guest, thread) is not null);
            Expect.Equal(Taken(guest, DataFrames), [], "it was only read");
            Expect.Equal(Write(guest, thread), 0U);
            Expect.Equal(Taken(guest, DataFrames), [EngineGuest.FirstData], $"round {round}");
            Expect.Equal(Write(guest, thread, round % 2), 0U, "by another CPU, too");
            Expect.Equal(Write(guest, thread, round % 2), 0U);
            Expect.Equal(Taken(guest, DataFrames), [EngineGuest.FirstData], $"round {round}");
        }

        machine.StopLog();
        Expect.Equal(Write(guest, thread), 0U);
        machine.StartLog();
        Expect.Equal(Taken(guest, DataFrames), [], "a new log begins empty");
        machine.StopLog();
    });

    [Check("Whatever changes memory is logged: stores of every kind, over two pages, and a cpu's marks in page tables.")]
    private void Whatever_changes_memory_is_logged() => OnEngineThread(thread =>
    {
        using EngineGuest guest = Storing();
        ILogsDirtyFrames machine = Logging(guest);
        machine.StartLog();
        for (int round = 0; round < 20; round++)
        {
            if (round % 4 == 0)
                ForgetMarks(guest);
            _ = Taken(guest, 0, EngineGuest.Frames);
            byte[][] before = Contents(guest);
            guest.State.Rip = EngineGuest.Code;
            guest.State.Rsp = EngineGuest.StackTop;
            guest.State.R15 = (ulong)round;
            Trap trap = guest.Run(thread);
            Expect.Equal(trap.Kind, TrapKind.Hypercall, $"{trap.Vector} at {trap.FaultAddress:x}: {trap.Diagnosis}");
            byte[][] after = Contents(guest);
            int[] changed = [.. Enumerable.Range(0, EngineGuest.Frames).Where(frame => !before[frame].AsSpan().SequenceEqual(after[frame]))];
            Expect.True(changed.Count(frame => frame >= EngineGuest.FirstData && frame < EngineGuest.FirstData + DataPages) == DataPages, "the guest stores into every page");
            Expect.Equal(changed.Except(Taken(guest, 0, EngineGuest.Frames)).ToArray(), [], $"frames that changed and are not in the log, round {round}");
        }
    });

    [Check("A log that cannot be is refused.")]
    private void A_log_that_cannot_be_is_refused()
    {
        using EngineGuest guest = new(Engine);
        ILogsDirtyFrames machine = Logging(guest);
        ulong[] bitmap = new ulong[Words(EngineGuest.Frames)];
        Expect.Throws<InvalidOperationException>(() => machine.TakeLog(guest.Frame(0), bitmap));
        machine.StartLog();
        Expect.Throws<ArgumentException>(() => machine.TakeLog(guest.Frame(1), bitmap));
        Expect.Throws<ArgumentException>(() => machine.TakeLog(guest.Frame(0), new ulong[bitmap.Length - 1]));
        machine.StopLog();
        machine.StopLog();
        Expect.Throws<InvalidOperationException>(() => machine.TakeLog(guest.Frame(0), bitmap));
    }

    private static (int First, int Count) DataFrames => (EngineGuest.FirstData, DataPages);

    private static ILogsDirtyFrames Logging(EngineGuest guest) =>
        guest.Machine as ILogsDirtyFrames ?? throw new NotPromisedException("The engine does not log which frames are written (ILogsDirtyFrames).");

    private static int Words(int frames) => (frames + 63) / 64;

    private static int[] Taken(EngineGuest guest, (int First, int Count) of) => Taken(guest, of.First, of.Count);

    /// <summary>Takes the log, and looks at some frames of it.</summary>
    private static int[] Taken(EngineGuest guest, int first, int count)
    {
        ulong[] bitmap = new ulong[Words(EngineGuest.Frames)];
        Logging(guest).TakeLog(guest.Frame(0), bitmap);
        return [.. Enumerable.Range(first, count).Where(frame => (bitmap[frame / 64] & (1UL << (frame % 64))) != 0)];
    }

    private static byte[][] Contents(EngineGuest guest) =>
        [.. Enumerable.Range(0, EngineGuest.Frames).Select(frame => System.Runtime.InteropServices.MemoryMarshal.AsBytes(guest.Words(frame)).ToArray())];

    /// <summary>No page has been used yet, as far as the tables tell: the CPU will write that.</summary>
    private static void ForgetMarks(EngineGuest guest)
    {
        for (int index = 0; index < PageTableEntry.EntriesPerTable; index++)
        {
            if (PageTableEntry.IsPresent(guest.Words(EngineGuest.L1)[index]))
                guest.Change(EngineGuest.L1, index, guest.Words(EngineGuest.L1)[index] & ~AccessedDirty);
        }
    }

    /// <summary>Stores that depend on R15, a few into each page of data.</summary>
    private EngineGuest Storing()
    {
        EngineGuest guest = new(Engine);
        guest.Assemble(code =>
        {
            code.mov(rbx, EngineGuest.Data);
            code.mov(__[rbx + 8], r15);
            code.add(__dword_ptr[rbx + 0x1010], 1);
            code.movq(xmm0, r15);
            code.movups(__xmmword_ptr[rbx + 0x2ff8], xmm0); // pages 2 and 3
            code.inc(__byte_ptr[rbx + 0x3ff0]);
            code.mov(rax, r15);
            code.inc(rax);
            code.lea(rdi, __[rbx + 0x4f00]); // pages 4 and 5
            code.mov(ecx, 64);
            code.rep.stosq();
            code.mov(eax, 1);
            code.@lock.xadd(__[rbx + 0x6020], rax);
            code.mov(ecx, r15d);
            code.xchg(__[rbx + 0x7004], ecx);
            code.inc(__qword_ptr[rbx + 0x7800]);
            code.inc(__qword_ptr[rbx + 0x5c00]);
            code.inc(__qword_ptr[rbx + 0x2c00]);
            code.inc(__qword_ptr[rbx + 0x10]);
            code.push(r15);
            guest.Hypercall(code);
        });
        return guest;
    }
}
