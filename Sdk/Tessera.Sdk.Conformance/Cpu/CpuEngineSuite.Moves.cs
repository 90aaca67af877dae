using System.Diagnostics;
using System.Runtime.Intrinsics.X86;
using Iced.Intel;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Cpu.X64;
using static Iced.Intel.AssemblerRegisters;

namespace Tessera.Sdk.Conformance.Cpu;

// ICapturesCpu: a guest that is moved while it runs.
public sealed partial class CpuEngineSuite
{
    [Check("A loop of x87, SSE and AVX that is moved from machine to machine computes what it would have otherwise.")]
    private void A_loop_that_is_moved_from_machine_to_machine_computes_the_same() => OnEngineThread(thread =>
    {
        AssertMoves([(Engine, thread), (Engine, thread)], wholeCapture: true);
    });

    [Check("A loop that is moved from engine to engine computes the same.")]
    private void A_loop_that_is_moved_from_engine_to_engine_computes_the_same() => OnEngineThread(thread =>
    {
        using ICpuEngine other = OtherEngine();
        using IEngineThread otherThread = other.EnterThread(0);
        AssertMoves([(Engine, thread), (other, otherThread)], wholeCapture: false);
    });

    /// <summary>Runs the loop at one place, and then once more, moved whenever its time is over; with more rounds where that gave few moves, as on a fast host.</summary>
    private void AssertMoves((ICpuEngine Engine, IEngineThread Thread)[] places, bool wholeCapture)
    {
        const int LeastMoves = 20;
        const int MostRounds = 600_000 << 8;
        int moves = 0;
        for (int rounds = 600_000; moves < LeastMoves; rounds *= 4)
        {
            Expect.True(rounds <= MostRounds, "it was not moved: its time is never over, or only where it cannot be moved");
            using EngineGuest first = new(places[0].Engine), second = new(places[1].Engine);
            bool wide = Avx.IsSupported && Capturing(first).CaptureBytes >= XsaveArea.AvxEnd && Capturing(second).CaptureBytes >= XsaveArea.AvxEnd;
            Compute(first, rounds, wide);
            Compute(second, rounds, wide);
            moves = Moves([(first, places[0].Thread), (second, places[1].Thread)], wholeCapture);
        }

        Note($"{moves} moves");
    }

    /// <returns>How often it was moved.</returns>
    private static int Moves((EngineGuest Guest, IEngineThread Thread)[] places, bool wholeCapture)
    {
        int place = 0;
        (EngineGuest guest, IEngineThread thread) = places[place];
        Expect.Equal(guest.Run(thread).Kind, TrapKind.Hypercall);
        ulong expected = guest.State.Rax;
        byte[] expectedCapture = CaptureOf(guest);
        guest.State.Rip = EngineGuest.Code;

        byte[] carried = new byte[places.Max(each => Capturing(each.Guest).CaptureBytes)];
        int moves = 0;
        for (int entries = 0; ; entries++)
        {
            // A slice that grows: many moves where a machine is fast, an end where it is slow.
            Trap trap = guest.Cpus[0].Run(thread, new Nanoseconds(Stopwatch.GetTimestamp() + 10_000 + (entries * 500)));
            if (trap.Kind == TrapKind.Hypercall)
                break;
            Expect.Equal(trap.Kind, TrapKind.Preempted, $"{trap.Vector} {trap.Diagnosis}");
            if (!trap.IsInterruptible)
                continue;
            place = (place + 1) % places.Length;
            (EngineGuest to, IEngineThread toThread) = places[place];
            Span<byte> area = carried.AsSpan(0, Capturing(guest).CaptureBytes);
            Capturing(guest).Capture(area);
            Capturing(to).Restore(area);
            Mfn root = to.State.Root;
            to.State = guest.State;
            to.State.Root = root;
            (guest, thread) = (to, toThread);
            moves++;
        }

        Expect.Equal(guest.State.Rax, expected);
        byte[] capture = CaptureOf(guest);
        if (wholeCapture)
            Expect.Equal(capture, expectedCapture);
        else
            AssertSameCapture(capture, expectedCapture);
        return moves;
    }

    /// <summary>A loop whose every value hangs on all before it: on an x87 stack, control words, XMM and, if wide, YMM registers. It writes no memory, and reads the same everywhere.</summary>
    private static void Compute(EngineGuest guest, int rounds, bool wide)
    {
        guest.Words(EngineGuest.FirstData)[0] = OddControlWord | ((ulong)OddMxcsr << 32);
        guest.Words(EngineGuest.FirstData)[1] = BitConverter.SingleToUInt32Bits(3.6f) | ((ulong)BitConverter.SingleToUInt32Bits(0.345f) << 32);
        guest.Assemble(code =>
        {
            Label again = code.CreateLabel();
            code.mov(rbx, EngineGuest.Data);
            code.fninit();
            code.fldcw(__word_ptr[rbx]);
            code.ldmxcsr(__dword_ptr[rbx + 4]);
            code.fld(__dword_ptr[rbx + 8]);
            code.fld(__dword_ptr[rbx + 12]);
            code.movss(xmm0, __dword_ptr[rbx + 12]);
            code.movss(xmm1, __dword_ptr[rbx + 12]);
            code.shufps(xmm1, xmm1, 0);
            if (wide)
            {
                code.vbroadcastss(ymm2, __dword_ptr[rbx + 12]);
                code.vbroadcastss(ymm3, __dword_ptr[rbx + 8]);
            }

            code.mov(eax, 1);
            code.mov(ecx, rounds);
            code.Label(ref again);

            // x → r x (1 - x), rounded as the control word says.
            code.fld1();
            code.fsub(st0, st1);
            code.fmulp(st1, st0);
            code.fmul(st0, st1);
            code.mulss(xmm0, xmm1);
            code.addss(xmm0, xmm1);
            code.cvtsi2sd(xmm15, ecx);
            if (wide)
            {
                code.vinsertf128(ymm4, ymm2, xmm0, 1);
                code.vperm2f128(ymm2, ymm2, ymm2, 1);
                code.vmulps(ymm2, ymm2, ymm4);
                code.vdivps(ymm2, ymm2, ymm3);
                code.vaddps(ymm2, ymm2, ymm3);
            }

            code.imul(rax, rax, 0x1234567);
            code.add(rax, rcx);
            code.dec(ecx);
            code.jne(again);
            guest.Hypercall(code);
        });
    }

    private ICpuEngine OtherEngine()
    {
        try
        {
            return createOther?.Invoke() ?? throw new NotPromisedException("No other engine was named.");
        }
        catch (EngineException exception)
        {
            throw new NotPromisedException(exception.Message);
        }
    }
}
