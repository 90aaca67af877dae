using System.Diagnostics;
using Tessera.Sdk.Cpu;
using static Iced.Intel.AssemblerRegisters;

namespace Tessera.Sdk.Conformance.Cpu;

// Deadlines and kicks.
public sealed partial class CpuEngineSuite
{
    [Check("An endless loop ends at the deadline and goes on.")]
    private void An_endless_loop_ends_at_the_deadline_and_goes_on() => OnEngineThread(thread =>
    {
        using EngineGuest guest = Looping(Engine);
        ulong before = 0;
        // A busy host may let a deadline pass before the first instruction: what counts is the slices in which something was done.
        for (int done = 0; done < 5;)
        {
            Nanoseconds deadline = new Nanoseconds(Stopwatch.GetTimestamp()) + Nanoseconds.FromMilliseconds(5);
            Trap trap = guest.Cpus[0].Run(thread, deadline);
            Expect.Equal(trap.Kind, TrapKind.Preempted, trap.Diagnosis);
            Expect.True(trap.IsInterruptible);
            Expect.True(Stopwatch.GetTimestamp() >= deadline.Value);
            Expect.True(guest.State.Rax >= before);
            done += guest.State.Rax > before ? 1 : 0;
            before = guest.State.Rax;
        }
    });

    [Check("A past deadline returns without progress.")]
    private void A_past_deadline_returns_without_progress() => OnEngineThread(thread =>
    {
        using EngineGuest guest = Looping(Engine);
        Expect.Equal(guest.Cpus[0].Run(thread, Nanoseconds.Zero).Kind, TrapKind.Preempted);
        Expect.Equal(guest.State.Rip, EngineGuest.Code);
    });

    [Check("A kick before the run ends it at once.")]
    private void A_kick_before_the_run_ends_it_at_once() => OnEngineThread(thread =>
    {
        using EngineGuest guest = Looping(Engine);
        thread.Kick();
        thread.Kick();
        Expect.Equal(guest.Cpus[0].Run(thread, Nanoseconds.Never).Kind, TrapKind.Preempted);
        Expect.Equal(guest.State.Rax, 0UL);
    });

    [Check("A kick from another thread ends the run.")]
    private void A_kick_from_another_thread_ends_the_run() => OnEngineThread(thread =>
    {
        using EngineGuest guest = Looping(Engine);
        for (int round = 0; round < 20; round++)
        {
            using Timer kicker = new(_ => thread.Kick(), null, 1, Timeout.Infinite);
            Expect.Equal(guest.Cpus[0].Run(thread, Nanoseconds.Never).Kind, TrapKind.Preempted);
        }
    });

    private static EngineGuest Looping(ICpuEngine engine)
    {
        EngineGuest guest = new(engine);
        guest.Assemble(code =>
        {
            Iced.Intel.Label again = code.CreateLabel();
            code.Label(ref again);
            code.inc(rax);
            code.jmp(again);
        });
        return guest;
    }

    [Check("Preemption loses no breakpoint.")]
    private void Preemption_loses_no_breakpoint() => OnEngineThread(thread =>
    {
        using EngineGuest guest = new(Engine);
        guest.Assemble(code =>
        {
            Iced.Intel.Label again = code.CreateLabel();
            code.Label(ref again);
            code.inc(rax);
            code.int3();
            code.jmp(again);
        });
        ulong breakpoints = 0;
        for (int run = 0; run < 30_000; run++)
        {
            // Every length from nothing to more than a trap takes: preemption strikes at each step of a delivery.
            Nanoseconds deadline = new(Stopwatch.GetTimestamp() + (run % 100 * 1000));
            Trap trap = guest.Cpus[0].Run(thread, deadline);
            if (trap.Kind == TrapKind.Preempted)
                continue;
            Expect.Equal((trap.Kind, trap.Vector), (TrapKind.Exception, (byte)3), trap.Diagnosis);
            Expect.Equal(guest.State.Rax, ++breakpoints, "the guest went on without its breakpoint");
        }

        Expect.True(breakpoints > 0);
    });
}
