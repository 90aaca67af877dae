using System.Runtime.InteropServices;
using Iced.Intel;
using Tessera.Guests;
using Tessera.Images;
using Tessera.Kernel.Devices.Block;
using Tessera.Kernel.Grants;
using Tessera.Kernel.Memory;
using Tessera.Kernel.Snapshots;
using Tessera.Plugins.Block.Ram;
using Tessera.Sdk;
using Tessera.Sdk.Xen;
using static Iced.Intel.AssemblerRegisters;

namespace Tessera.Kernel.Tests.Snapshots;

/// <summary>What each part of the VMM keeps of a domain is there after it is restored; what cannot be kept is refused.</summary>
[TestFixtureSource(typeof(Engines), nameof(Engines.Each))]
internal sealed class DomainSnapshots(string engine)
{
    [Test]
    public void Events_console_store_and_grants_answer_in_every_life([Values] FastPathMode fastPaths)
    {
        int seed = Random.Shared.Next();
        Random random = new(seed);
        TestContext.Out.WriteLine($"seed {seed}");
        using TestMachine one = TestMachine.Start(engine, fastPaths: fastPaths), two = TestMachine.Start(engine, fastPaths: fastPaths);
        (TestMachine here, TestMachine there) = (one, two);
        _ = one.Run("spin");
        _ = two.Run("paging");
        Domain domain = TalkingGuest.Start(here);
        for (int life = 0; life < 6; life++)
        {
            ulong before = TalkingGuest.CountOf(domain);
            WaitForCount(here, domain, before + 1 + (ulong)random.Next(30));
            _ = here.WaitFor(() => false, TimeSpan.FromMicroseconds(random.Next(3_000)));
            byte[] snapshot = here.Save(domain);
            ulong count = TalkingGuest.CountOf(domain);
            (here, there) = (there, here);
            Domain next = here.Restored(domain, snapshot);
            Assert.That((TalkingGuest.CountOf(next), next.Grants.Version, next.Grants.FrameCount), Is.EqualTo((count, 2, TalkingGuest.GrantFrames)));
            here.Machine.Start(next);
            WaitForCount(here, next, count + 3);
            Assert.That(next.Console.TailLines(3), Is.All.EqualTo("!"));
            there.Machine.Resume(domain);
            WaitForCount(there, domain, count + 3);
            there.Machine.Destroy(domain);
            domain = next;
        }
    }

    [Test]
    public void Input_that_was_not_taken_goes_along()
    {
        using TestMachine machine = TestMachine.Start(engine);
        Domain domain = machine.Run("spin");
        byte[] typed = new byte[ConsoleRing.InSize + 500];
        Random.Shared.NextBytes(typed);
        Assert.That(domain.Console.Write(typed), Is.EqualTo(500), "the ring takes no more, and the guest none");
        Domain next = machine.Restored(domain, machine.Save(domain));
        Assert.That(next.Console.Queued, Is.EqualTo(500));
        HandDomain hand = new(next, null!, null!);
        Span<byte> ring = hand.Page((int)(next.Rings.Console.Value - hand.Frame(0).Value));
        Assert.That(ring[..ConsoleRing.InSize].SequenceEqual(typed.AsSpan(0, ConsoleRing.InSize)));
        // As if the guest had read it all.
        MemoryMarshal.Write(ring[ConsoleRing.InCons..], (uint)ConsoleRing.InSize);
        Assert.That(next.Console.Write([]), Is.Zero);
        Assert.That(ring[..500].SequenceEqual(typed.AsSpan(ConsoleRing.InSize)));
    }

    [Test]
    public void A_grant_of_a_restored_domain_is_used_like_any()
    {
        const int Page = 200;
        using TestMachine machine = TestMachine.Start(engine);
        Domain domain = machine.Run("spin");
        machine.WaitForUnits(domain, 1);
        machine.Machine.Pause(domain);
        HandDomain granter = new(domain, null!, null!);
        granter.Page(Page).Fill(0xA5);
        granter.Grant(9, 0, Page);
        granter.Grant(10, 77, Page);
        HandDomain next = new(machine.Restored(domain, machine.Save(domain)), null!, null!);
        Assert.That(next.Domain.Grants.TryPin(0, 9, isReadOnly: false, GrantUse.Map, out GrantPin pin), Is.EqualTo(GrantStatus.Okay));
        Assert.That(next.Domain.Grants.TryPin(77, 10, isReadOnly: false, GrantUse.Map, out _), Is.Not.EqualTo(GrantStatus.Okay), "a stranger there");
        Assert.That((pin.Frame, pin.Memory), Is.EqualTo((next.Frame(Page), next.Domain.Memory)));
        Assert.That(next.Page(Page)[0], Is.EqualTo(0xA5));
        Assert.That(() => machine.Save(next.Domain), Throws.TypeOf<SnapshotException>().With.Message.Contains("is Created"));
        machine.Machine.Start(next.Domain);
        Assert.That(() => machine.Save(next.Domain), Throws.TypeOf<SnapshotException>().With.Message.Contains("uses its memory by a grant"));
        GrantTable.Unpin(pin);
        Assert.That(() => machine.Save(next.Domain), Throws.Nothing);
    }

    [Test]
    public void Alarms_go_off_when_they_were_to_in_the_guests_time()
    {
        using TestMachine machine = TestMachine.Start(engine), young = TestMachine.Start(engine);
        Domain domain = machine.Run("spin");
        machine.WaitForUnits(domain, 1);
        machine.Machine.Pause(domain);
        IVcpuHost host = machine.Machine;
        Vcpu vcpu = domain.Vcpus[0];
        host.Arm(vcpu, vcpu.Timer, domain.ToMachine(Nanoseconds.FromSeconds(5000)));
        vcpu.Period = Nanoseconds.FromSeconds(7000);
        host.Arm(vcpu, vcpu.PeriodicTimer, domain.ToMachine(Nanoseconds.FromSeconds(6000)));
        byte[] snapshot = machine.Save(domain);
        VcpuAlarms expected = new(5_000_000_000_000, 7_000_000_000_000, 6_000_000_000_000);
        Assert.That(young.Restored(domain, snapshot).Vcpus[0].Alarms(), Is.EqualTo(expected));
        Assert.That(machine.Restored(domain, snapshot).Vcpus[0].Alarms(), Is.EqualTo(expected));
    }

    [Test]
    public void A_channel_to_another_domain_is_as_after_the_others_end()
    {
        using TestMachine machine = TestMachine.Start(engine);
        Domain domain = machine.Run("spin"), peer = machine.Run("spin");
        Assert.That(peer.Events.AllocateUnbound(domain.Id.Value, out int remote), Is.EqualTo(XenErrno.Success));
        Assert.That(domain.Events.BindInterdomain(peer.Events, remote, out int local), Is.EqualTo(XenErrno.Success));
        Domain next = machine.Restored(domain, machine.Save(domain));
        Assert.That(next.Events.TryStatus(local, out EventChannelState state, out _, out ulong detail), Is.True);
        Assert.That((state, detail), Is.EqualTo((EventChannelState.Unbound, (ulong)DomainIds.Invalid)));
        Assert.That(next.Events.Send(local), Is.EqualTo(XenErrno.Success));
    }

    [Test]
    public void Frames_given_back_stay_away_and_come_back()
    {
        using TestMachine machine = TestMachine.Start(engine);
        Domain domain = machine.Run("spin");
        machine.Machine.Pause(domain);
        HandDomain hand = new(domain, null!, null!);
        hand.Clear(200);
        lock (domain.Gate)
        {
            Assert.That(domain.Balloon.TryGiveBack(hand.Frame(200)), Is.True);
            machine.Machine.Frames.Release(domain.Id, domain.Balloon.Settle(keepsGrant: false));
        }

        domain.Memory.SetPfn(hand.Frame(201), 4711);
        Domain next = machine.Restored(domain, machine.Save(domain));
        Assert.That(next.Balloon.Frames, Is.EqualTo(domain.Balloon.Frames).And.EqualTo(new[] { hand.Frame(200) }));
        Assert.That(machine.Machine.Frames.MemoryOf(next.Id), Is.EqualTo(next.AssignedFrames), "what it does not have is not held for it");
        Assert.That(next.AssignedFrames, Is.EqualTo(domain.AssignedFrames));
        for (Mfn frame = DomainMemory.First; frame.Value <= domain.Memory.Last.Value; frame += 1)
        {
            Assert.That((next.Memory.TryGetPfn(frame, out ulong pfn), domain.Memory.TryGetPfn(frame, out ulong saved)), Is.EqualTo((true, true)));
            Assert.That(pfn, Is.EqualTo(saved));
        }

        Assert.That(next.Mmu.UpdateVaMapping(0, new VirtualAddress(hand.Address(200)), hand.Frame(200).Address | 0x63), Is.EqualTo(XenErrno.EBUSY), "it is not there to be mapped");
    }

    [Test]
    public void A_running_domain_and_one_of_another_size_are_refused()
    {
        using TestMachine machine = TestMachine.Start(engine);
        Domain domain = machine.Run("spin");
        Assert.That(() => machine.Machine.Save(domain, Stream.Null), Throws.TypeOf<SnapshotException>().With.Message.Contains("is Running. Only one that is paused can be"));
        byte[] snapshot = machine.Save(domain);
        using MemoryStream stream = new(snapshot);
        DomainConfiguration larger = domain.Configuration with { Name = "larger", MemoryBytes = 2 * domain.Configuration.MemoryBytes };
        Assert.That(() => machine.Machine.Restore(larger, stream), Throws.TypeOf<SnapshotException>().With.Message.Contains("Give it as much as the saved domain had"));
        machine.Machine.Destroy(domain);
        Assert.That(() => machine.Machine.Save(domain, Stream.Null), Throws.TypeOf<SnapshotException>().With.Message.Contains("is Destroyed"));
        Assert.That(machine.Machine.Frames.AssignedFrames, Is.Zero, "and nothing is left of the other");
        Assert.That(machine.Machine.Domains, Is.Empty);
    }

    /// <summary>Xen's protocol: everything but memory, registers and page tables is made anew, and start_info says where.</summary>
    [Test]
    public void A_guest_that_suspends_itself_wakes_with_a_fresh_start([Values] FastPathMode fastPaths)
    {
        const int Code = 230, Data = 231, Info = 232;
        using TestMachine machine = TestMachine.Start(engine, fastPaths: fastPaths);
        Domain domain = machine.Machine.CreateDomain(new DomainConfiguration
        {
            Name = "suspender",
            Image = KernelImage.Load(BuiltinGuests.Build("spin"), "spin"),
            MemoryBytes = BuiltinGuests.LeastMemoryBytes,
        });
        HandDomain hand = new(domain, null!, null!);
        Assert.That(domain.Events.BindVirq((int)Virq.Timer, 0, out int timer), Is.EqualTo(XenErrno.Success));
        Assert.That(domain.Grants.SetVersion(2), Is.EqualTo(XenErrno.Success));
        hand.Grant(9, 77, 200);
        Assert.That(domain.Grants.TryPin(77, 9, isReadOnly: true, GrantUse.Map, out GrantPin pin), Is.EqualTo(GrantStatus.Okay), "a backend of its life here");
        MemoryMarshal.Write(hand.Page(Data)[8..], (uint)ShutdownReason.Suspend);
        long data = (long)hand.Address(Data);
        Assembler c = new(64);
        c.mov(edi, (int)SchedOp.Shutdown);
        c.mov(rsi, (ulong)(data + 8));
        c.mov(rdx, (ulong)hand.Frame(Info).Value);
        c.mov(eax, (int)Hypercall.SchedOp);
        c.syscall();
        c.mov(__qword_ptr[data + 16], rax);
        c.mov(rax, (ulong)(data + 24));
        c.inc(__qword_ptr[rax]);
        c.jmp(hand.Address(Code));
        ref ulong rip = ref domain.Vcpus[0].Cpu.State.Rip;
        rip = hand.Address(Code);
        using MemoryStream stream = new();
        _ = c.Assemble(new StreamCodeWriter(stream), rip);
        stream.ToArray().CopyTo(hand.Page(Code));
        machine.Machine.Start(domain);
        machine.WaitForEnd(domain);
        Assert.That((domain.State, domain.ExitReason), Is.EqualTo((DomainState.Suspended, "suspend")));
        Assert.That(() => machine.Machine.Resume(domain), Throws.InvalidOperationException);

        Domain next = machine.Restored(domain, machine.Save(domain));
        HandDomain woken = new(next, null!, null!);
        Span<byte> info = woken.Page(Info);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(next.Events.TryStatus(timer, out EventChannelState state, out _, out _), Is.True);
            Assert.That(state, Is.EqualTo(EventChannelState.Closed));
            Assert.That((next.Grants.Version, next.Grants.Pins), Is.EqualTo((1, 0L)));
            Assert.That(MemoryMarshal.Read<ulong>(info[StartInfo.StoreMfn..]), Is.EqualTo((ulong)next.Rings.Store.Value));
            Assert.That(MemoryMarshal.Read<ulong>(info[StartInfo.ConsoleMfn..]), Is.EqualTo((ulong)next.Rings.Console.Value));
            Assert.That(MemoryMarshal.Read<ulong>(info[StartInfo.SharedInfo..]), Is.EqualTo(next.Memory.SharedInfoFrame.Address));
            Assert.That((info[StartInfo.StoreEventChannel], info[StartInfo.ConsoleEventChannel]), Is.EqualTo(((byte)1, (byte)2)));
        }

        machine.Machine.Start(next);
        machine.WaitForEnd(next);
        Assert.That((next.State, MemoryMarshal.Read<ulong>(woken.Page(Data)[16..]), MemoryMarshal.Read<ulong>(woken.Page(Data)[24..])), Is.EqualTo((DomainState.Suspended, 0UL, 1UL)), "it woke, and suspended itself again");
        GrantTable.Unpin(pin);
        machine.Machine.Destroy(domain);
        machine.Machine.Destroy(next);
        Assert.That(machine.Machine.Frames.AssignedFrames, Is.Zero);
    }

    [Test]
    public void Disks_are_detached_first()
    {
        using TestMachine machine = TestMachine.Start(engine);
        Domain domain = machine.Run("spin");
        _ = machine.Machine.AttachDisk(domain, new DiskConfiguration { Name = "xvda", Backend = new RamDisk(new RamOptions()) });
        Assert.That(() => machine.Save(domain), Throws.TypeOf<SnapshotException>().With.Message.Contains("Detach them"));
    }

    private static void WaitForCount(TestMachine machine, Domain domain, ulong count)
    {
        _ = machine.WaitFor(() => TalkingGuest.CountOf(domain) >= count || TestMachine.HasEnded(domain), Hang.Limit);
        Assert.That(TalkingGuest.CountOf(domain), Is.GreaterThanOrEqualTo(count), () => $"{domain.State} {domain.ExitReason}");
    }
}
