using Iced.Intel;
using Tessera.Plugins.Cpu.Software;
using Tessera.Sdk;
using Tessera.Sdk.Conformance.Cpu;
using Tessera.Sdk.Cpu;
using static Iced.Intel.AssemblerRegisters;

namespace Tessera.Engine.Software.Tests;

/// <summary>Programs of nothing but rare jumps come back at their deadline like any other, by the host's time and by their work. Each counts its rounds in RSI.</summary>
[TestFixture(false)]
[TestFixture(true)]
internal sealed class UnendingCodeTests(bool counted)
{
    private const long Work = 100_000;
    private const ushort UserCode64 = 0xe033;
    private const ushort UserData = 0xe02b;

    /// <summary>Eight bytes that lie in two pages.</summary>
    private const ulong Crossing = EngineGuest.Data + 4096 - 3;

    [Test]
    public void A_jump_by_a_word_across_two_pages() => ComesBack(guest => guest.Assemble(code => { code.inc(rsi); code.jmp(__qword_ptr[Crossing]); }), guest => Put(guest, Crossing, EngineGuest.Code));

    [Test]
    public void A_far_jump_to_itself() => ComesBack(
        guest => guest.Assemble(code =>
        {
            code.inc(rsi);
            code.db(0x48, 0xff, 0x2b); // jmp far fword [rbx]
        }),
        guest =>
        {
            Put(guest, EngineGuest.Data, EngineGuest.Code);
            Put(guest, EngineGuest.Data + 8, UserCode64);
            guest.State.Rbx = EngineGuest.Data;
        });

    [Test]
    public void A_return_from_an_interrupt_to_its_beginning() => ComesBack(
        guest => guest.Assemble(code =>
        {
            Label again = code.CreateLabel();
            code.Label(ref again);
            code.inc(rsi);
            code.mov(rcx, rsp);
            code.push(UserData);
            code.push(rcx);
            code.pushfq();
            code.push(UserCode64);
            code.lea(rdx, __[again]);
            code.push(rdx);
            code.iretq();
        }),
        static _ => { });

    [Test]
    public void A_call_whose_return_address_lies_across_two_pages() => ComesBack(
        guest => guest.Assemble(code =>
        {
            Label next = code.CreateLabel();
            Label again = code.CreateLabel();
            code.Label(ref again);
            code.inc(rsi);
            code.mov(rsp, Crossing + 8);
            code.call(next);
            code.Label(ref next);
            code.lea(rdx, __[again]);
            code.mov(__qword_ptr[rsp], rdx);
            code.ret();
        }),
        static _ => { });

    /// <summary>Of 32 bits, jumps that all go forward come round.</summary>
    [Test]
    public void Forward_jumps_around_4_GiB() => ComesBack(
        guest =>
        {
            // The same page in each GiB: a jump to the next one, and from the last to the first.
            const int Gibibytes = 4;
            const int CountBytes = 1;
            const int JumpBytes = 5;
            for (int gibibyte = 1; gibibyte < Gibibytes; gibibyte++)
                guest.Words(EngineGuest.L3)[gibibyte] = guest.Words(EngineGuest.L3)[0];
            byte[] code = new byte[CountBytes + (Gibibytes * JumpBytes)];
            code[0] = 0x46; // inc esi
            for (int gibibyte = 0; gibibyte < Gibibytes; gibibyte++)
            {
                int distance = (1 << 30) - (gibibyte == Gibibytes - 1 ? code.Length : 0);
                int place = CountBytes + (gibibyte * JumpBytes);
                code[place] = 0xe9;
                BitConverter.TryWriteBytes(code.AsSpan(place + 1), distance);
            }

            guest.Assemble(assembler => assembler.db(code));
        },
        guest => (guest.State.Is32Bit, guest.State.Cs) = (true, 0xe023));

    private static void Put(EngineGuest guest, ulong address, ulong value)
    {
        Span<byte> data = System.Runtime.InteropServices.MemoryMarshal.AsBytes(guest.Words(EngineGuest.FirstData));
        Span<byte> next = System.Runtime.InteropServices.MemoryMarshal.AsBytes(guest.Words(EngineGuest.FirstData + 1));
        for (int place = 0; place < sizeof(ulong); place++, value >>= 8)
        {
            int at = (int)(address - EngineGuest.Data) + place;
            (at < 4096 ? data : next)[at & 4095] = (byte)value;
        }
    }

    private void ComesBack(Action<EngineGuest> write, Action<EngineGuest> prepare)
    {
        // One that does not come back keeps its thread and all that it runs in; the test fails all the same.
        Task runs = Task.Factory.StartNew(() => Run(write, prepare), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
        Assert.That(((IAsyncResult)runs).AsyncWaitHandle.WaitOne(Hang.Limit), Is.True, "it does not come back");
        runs.GetAwaiter().GetResult();
    }

    private void Run(Action<EngineGuest> write, Action<EngineGuest> prepare)
    {
        using SoftwareEngine engine = new(new SoftwareOptions());
        using IEngineThread thread = engine.EnterThread(0);
        using EngineGuest guest = new(engine, time: counted ? new GuestTime { InstructionsPerMicrosecond = 300, Seed = 5 } : null);
        write(guest);
        prepare(guest);
        for (int round = 0; round < 3; round++)
        {
            ulong before = guest.State.Rsi;
            // Where the host is slow the time may be over before it has begun.
            for (int milliseconds = 20; guest.State.Rsi == before; milliseconds *= 2)
            {
                Assert.That(milliseconds, Is.LessThan(60_000), "it gets nowhere");
                long time = 0;
                Trap trap = counted ? ((IGuestClock)guest.Cpus[0]).Run(thread, ref time, Work) : guest.Run(thread, milliseconds: milliseconds);
                Assert.That((trap.Kind, trap.Vector), Is.EqualTo((TrapKind.Preempted, (byte)0)), $"at 0x{guest.State.Rip:x}: {trap.Diagnosis}");
                if (counted)
                    Assert.That(time, Is.InRange(Work, Work + 20));
            }
        }
    }
}
