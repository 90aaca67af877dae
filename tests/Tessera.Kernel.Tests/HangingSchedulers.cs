using System.Runtime.InteropServices;
using Iced.Intel;
using Tessera.Guests;
using Tessera.Kernel.Tests.FastPath;
using Tessera.Sdk;
using Tessera.Sdk.Cpu.X64;
using Tessera.Sdk.Scheduling.Core;
using Tessera.Sdk.Xen;
using static Iced.Intel.AssemblerRegisters;

namespace Tessera.Kernel.Tests;

/// <summary>A scheduler that does not come back, in each call that it can hang in, on real guests: it is thrown out, and the guest whose trap it hung in goes on as well.</summary>
[TestFixtureSource(typeof(Engines), nameof(Engines.Each))]
internal sealed class HangingSchedulers(string engine)
{
    private const int Port = 4;
    private const int Ports = 0x40;
    private const int Poll = 0x20;
    private const int Count = 0x80;

    [Test]
    public void A_hang_in_the_wake_of_a_hypercall_costs_neither_the_sender_nor_the_receiver()
    {
        HangingScheduler scheduler = new();
        using TestMachine test = TestMachine.Start(engine, scheduler);
        OwnTables receiver = new(test);
        OwnTables sender = new(test);
        ulong data = receiver.Data;
        receiver.Start(code => AwaitEvent(code, data, sender.Domain.Id));
        Assert.That(test.WaitFor(() => Read(receiver, Ports) != 0 && !test.IsRunnable(receiver.Domain), Hang.Limit), "the receiver does not wait");
        uint port = Read(receiver, Ports);
        scheduler.HangIn(SchedulerCall.Wake, receiver.Domain);
        sender.Start(code =>
        {
            code.mov(rsi, sender.Data);
            code.mov(__dword_ptr[rsi], receiver.Domain.Id.Value);
            code.mov(__dword_ptr[rsi + EventChannelLayout.BindInterdomainRemotePort], port);
            code.mov(edi, (int)EventChannelOp.BindInterdomain);
            code.mov(eax, (int)Hypercall.EventChannelOp);
            code.syscall();
            code.mov(rsi, sender.Data);
            code.mov(eax, __dword_ptr[rsi + EventChannelLayout.BindInterdomainLocalPort]);
            code.mov(__dword_ptr[rsi], eax);
            code.mov(edi, (int)EventChannelOp.Send);
            code.mov(eax, (int)Hypercall.EventChannelOp);
            code.syscall();
            CountForEver(code, sender.Data);
        });
        ExpectHang(test, $"Wake({receiver.Domain.Vcpus[0].Schedulable.Id})");
        foreach (OwnTables guest in new[] { sender, receiver })
        {
            uint before = Read(guest, Count);
            Assert.That(test.WaitFor(() => Read(guest, Count) > before + 1000, Hang.Limit), $"{guest.Domain.Name} stands still: {guest.Domain.State} {guest.Domain.ExitReason}");
        }

        scheduler.End();
    }

    [Test]
    public void A_hang_in_the_wake_of_a_backends_event_does_not_keep_the_backend()
    {
        HangingScheduler scheduler = new();
        using TestMachine test = TestMachine.Start(engine, scheduler);
        Domain spin = test.Run("spin");
        OwnTables receiver = new(test);
        receiver.Start(code => AwaitEvent(code, receiver.Data, new DomainId(0)));
        Assert.That(test.WaitFor(() => Read(receiver, Ports) != 0 && !test.IsRunnable(receiver.Domain), Hang.Limit), "the receiver does not wait");
        Assert.That(BackendChannel.TryBind(receiver.Domain.Events, new EventPort((int)Read(receiver, Ports)), () => { }, out BackendChannel? channel), Is.EqualTo(XenErrno.Success));
        scheduler.HangIn(SchedulerCall.Wake, receiver.Domain);

        // A backend that stayed in the policy would never come to the next line.
        channel!.Notify();
        ExpectHang(test, $"Wake({receiver.Domain.Vcpus[0].Schedulable.Id})");
        Assert.That(test.WaitFor(() => Read(receiver, Count) > 1000, Hang.Limit), $"the receiver stands still: {receiver.Domain.State} {receiver.Domain.ExitReason}");
        test.WaitForUnits(spin, TestMachine.ReportOf(spin).Units + 1000);
        channel.Dispose();
        scheduler.End();
    }

    [Test]
    public void A_hang_in_the_wake_of_a_timer_is_survived()
    {
        HangingScheduler scheduler = new();
        using TestMachine test = TestMachine.Start(engine, scheduler);
        Domain spin = test.Run("spin");
        Domain beat = test.Run("beat", new BeatOptions { Period = Nanoseconds.FromMilliseconds(5) });
        test.WaitForUnits(beat, 3);
        scheduler.HangIn(SchedulerCall.Wake, beat);
        ExpectHang(test, "Wake(");
        test.WaitForUnits(beat, TestMachine.ReportOf(beat).Units + 20);
        test.WaitForUnits(spin, TestMachine.ReportOf(spin).Units + 1000);
        scheduler.End();
    }

    [Test]
    public void A_hang_in_a_yield_is_survived()
    {
        HangingScheduler scheduler = new();
        using TestMachine test = TestMachine.Start(engine, scheduler);
        Domain yielding = test.Run("fuzz", new FuzzOptions { Mode = FuzzMode.YieldStorm, Count = 0 });
        test.WaitForUnits(yielding, 10);
        scheduler.HangIn(SchedulerCall.Yield, yielding);
        ExpectHang(test, "Yield(");
        test.WaitForUnits(yielding, TestMachine.ReportOf(yielding).Units + 1000);
        scheduler.End();
    }

    [Test]
    public void A_hang_in_the_removal_of_a_domain_that_ended_is_survived()
    {
        HangingScheduler scheduler = new();
        using TestMachine test = TestMachine.Start(engine, scheduler);
        Domain spin = test.Run("spin");
        scheduler.HangIn(SchedulerCall.Remove, domain: null);
        Domain hello = test.Run("hello");
        test.WaitForEnd(hello);
        ExpectHang(test, "Remove(");
        test.WaitForUnits(spin, TestMachine.ReportOf(spin).Units + 1000);
        test.Machine.Destroy(hello);
        Assert.That(hello.State, Is.EqualTo(DomainState.Destroyed));
        scheduler.End();
    }

    [Test]
    public void A_removal_by_the_control_side_that_comes_back_while_it_is_given_up_is_done_all_the_same()
    {
        HangingScheduler scheduler = new();
        using TestMachine test = TestMachine.Start(engine, scheduler);
        Domain spin = test.Run("spin");
        test.WaitForUnits(spin, 1);
        List<Domain> ended = [];
        test.Machine.DomainEnded = ended.Add;
        using ManualResetEventSlim isBack = new();
        test.Machine.SchedulerEjected = ejection =>
        {
            // The call is given up by now, and its thread is not: an errand that counted as done would let its caller go.
            scheduler.LetGo();
            isBack.Wait(TimeSpan.FromMilliseconds(500));
        };
        scheduler.HangIn(SchedulerCall.Remove, spin);
        spin.Crash(vcpu: null, "the test ends it");
        isBack.Set();
        Assert.That(ended, Is.EqualTo(new[] { spin }));
        ExpectHang(test, "Remove(");
        scheduler.End();
    }

    [TestCase(SchedulerCall.Wake)]
    [TestCase(SchedulerCall.Adjust)]
    [TestCase(SchedulerCall.Sleep)]
    [TestCase(SchedulerCall.Remove)]
    [TestCase(SchedulerCall.Add)]
    public void A_hang_in_a_call_of_the_control_side_lets_its_caller_go(SchedulerCall call)
    {
        HangingScheduler scheduler = new();
        using TestMachine test = TestMachine.Start(engine, scheduler);
        Domain spin = test.Run("spin");
        Domain other = test.Run("spin");
        test.WaitForUnits(spin, 100);
        test.WaitForUnits(other, 100);
        scheduler.HangIn(call, domain: null);
        test.Machine.Adjust(spin, 512, null, null);
        test.Machine.Pause(other);
        if (call == SchedulerCall.Sleep)
            ExpectHang(test, "Sleep(");
        test.Machine.Resume(other);
        test.Machine.Destroy(other);
        Domain last = test.Run("spin");
        ExpectHang(test, $"{call}(");
        test.WaitForUnits(spin, TestMachine.ReportOf(spin).Units + 1000);
        test.WaitForUnits(last, 1000);
        scheduler.End();
    }

    [Test]
    public void A_scheduler_that_hangs_while_it_takes_over_is_refused_and_the_fallback_goes_on()
    {
        HangingScheduler scheduler = new();
        using TestMachine test = TestMachine.Start(engine);
        Domain spin = test.Run("spin");
        test.WaitForUnits(spin, 100);
        scheduler.HangIn(SchedulerCall.Add, domain: null);
        Ejection? ejection = test.Machine.SwapScheduler(scheduler, "slow-starter 2.0.0", null);
        Assert.That((ejection?.Policy, ejection?.Reason), Is.EqualTo(("slow-starter 2.0.0", EjectionReason.Hung)));
        test.WaitForUnits(spin, TestMachine.ReportOf(spin).Units + 1000);
        scheduler.End();
    }

    private static void ExpectHang(TestMachine test, string call)
    {
        Assert.That(test.WaitFor(() => test.Machine.Accounts.Snapshot().Ejections.Count > 0, Hang.Limit), "no ejection");
        Ejection ejection = test.Machine.Accounts.Snapshot().Ejections.Single();
        Assert.That(ejection.Reason, Is.EqualTo(EjectionReason.Hung));
        Assert.That(ejection.Evidence, Does.Contain(call));
    }

    /// <summary>Allocates a port for another domain, waits for its event, then counts.</summary>
    private static void AwaitEvent(Assembler code, ulong data, DomainId remote)
    {
        code.mov(rsi, data);
        code.mov(__dword_ptr[rsi], DomainIds.Self | (remote.Value << 16));
        code.mov(edi, (int)EventChannelOp.AllocUnbound);
        code.mov(eax, (int)Hypercall.EventChannelOp);
        code.syscall();
        code.mov(rsi, data);
        code.mov(eax, __dword_ptr[rsi + Port]);
        code.mov(__dword_ptr[rsi + Ports], eax);
        code.lea(rax, __[rsi + Ports]);
        code.mov(__qword_ptr[rsi + Poll], rax);
        code.mov(__dword_ptr[rsi + Poll + 8], 1);
        code.mov(__qword_ptr[rsi + Poll + 16], 0);
        code.add(rsi, Poll);
        code.mov(edi, (int)SchedOp.Poll);
        code.mov(eax, (int)Hypercall.SchedOp);
        code.syscall();
        CountForEver(code, data);
    }

    private static void CountForEver(Assembler code, ulong data)
    {
        Label again = code.CreateLabel();
        code.mov(rsi, data);
        code.Label(ref again);
        code.inc(__dword_ptr[rsi + Count]);
        code.jmp(again);
    }

    private static uint Read(OwnTables guest, int offset)
    {
        Assert.That(guest.Domain.Mmu.Translate(0, userMode: false, new VirtualAddress(guest.Data), forWriting: false, out ulong place), Is.True);
        return MemoryMarshal.Read<uint>(guest.Domain.Memory.Frame(PageTableEntry.FrameOf(place))[offset..]);
    }
}
