using System.Collections.Immutable;
using System.Runtime.InteropServices;
using Tessera.Kernel.Memory;
using Tessera.Kernel.Store;
using Tessera.Sdk;
using Tessera.Sdk.Memory;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Tests;

/// <summary>Memory that domains give back and take: whose it is then, who is asked, and what a guest cannot do with it.</summary>
internal sealed class BallooningTests
{
    private const int Pages = 512;
    private const int First = HandDomain.FreePage;

    private readonly ScriptedMemoryPolicy _policy = new();
    private HandMachine _machine = null!;

    [TearDown]
    public void Nothing_is_left()
    {
        foreach (Domain domain in _machine.Machine.Domains)
            _machine.Machine.Destroy(domain);
        Assert.That((_machine.Machine.Frames.AssignedFrames, _machine.Machine.MemoryPolicyFailure), Is.EqualTo((0L, (string?)null)));
        _machine.Dispose();
        _policy.Calls.Clear();
        (_policy.OnGrant, _policy.OnReleased) = (null, null);
    }

    [Test]
    public void What_a_domain_gives_back_is_anybodys_at_once_and_its_own_again_while_there_is_room()
    {
        long one = DomainMemory.FramesFor(Pages);
        _machine = new HandMachine(memoryPolicy: _policy, memoryLimit: (2 * one - 200) << 12);
        HandDomain first = _machine.Create();
        Assert.That(() => _machine.Create(), Throws.TypeOf<DomainBuildException>().With.Message.Contains("2 MiB asked for"));
        Assert.That(first.GiveBack(First, 200), Is.EqualTo(200));
        Assert.That(_machine.Machine.Frames.AssignedFrames, Is.EqualTo(one - 200));

        HandDomain second = _machine.Create();
        Assert.That(first.Take(First, 200), Is.Zero, "there is no room");
        _machine.Machine.Destroy(second.Domain);
        Assert.That(first.Take(First, 200), Is.EqualTo(200));
        Assert.That(first.Domain.AssignedFrames, Is.EqualTo(Pages));
        Assert.That(_policy.Calls, Is.EqualTo(new[]
        {
            "admit d1 512 512", "admit d2 512 512", "released d1 200", "admit d3 512 512",
            "grant d1 312+200", "released d3 512", "grant d1 312+200",
        }));
    }

    [Test]
    public void The_host_has_the_memory_as_soon_as_the_guest_gave_it_back()
    {
        _machine = new HandMachine();
        HandDomain guest = _machine.Create();
        for (int page = First; page < First + 100; page++)
            guest.Page(page).Fill(1);
        long before = guest.Domain.Memory.ResidentBytes;
        Assert.That(guest.GiveBack(First, 100), Is.EqualTo(100));
        Assert.That(guest.Domain.Memory.ResidentBytes, Is.EqualTo(before - (100 << 12)));
        Assert.That(guest.Take(First, 100), Is.EqualTo(100));
        Assert.That(guest.Page(First + 50).ContainsAnyExcept((byte)0), Is.False);
    }

    [Test]
    public void Runs_of_frames_in_either_order_and_single_ones_are_emptied()
    {
        _machine = new HandMachine();
        HandDomain guest = _machine.Create();
        int[] pages = [First + 9, First + 8, First + 7, First + 1, First + 2, First + 3, First + 40, First + 20, First + 4, First + 5];
        foreach (int page in pages)
        {
            guest.Page(page).Fill(1);
            guest.Clear(page);
        }

        ulong[] frames = [.. pages.Select(page => (ulong)guest.Frame(page).Value)];
        Assert.That(guest.Reserve(MemoryOp.DecreaseReservation, frames), Is.EqualTo(pages.Length));
        Assert.That(pages.All(page => !guest.Page(page).ContainsAnyExcept((byte)0)), Is.True);
    }

    [Test]
    public void The_policy_is_asked_once_for_a_whole_list_while_no_domain_is_locked()
    {
        _machine = new HandMachine(memoryPolicy: _policy);
        HandDomain guest = _machine.Create(), other = _machine.Create();
        bool wasFree = false;
        _policy.OnGrant = (_, asked, _) =>
        {
            wasFree = Task.Run(() => IsFree(guest.Domain.Gate) && IsFree(other.Domain.Gate)).GetAwaiter().GetResult();
            return asked - 10;
        };
        Assert.That(guest.GiveBack(First, 60), Is.EqualTo(60));
        Assert.That(guest.Take(First, 60), Is.EqualTo(50), "as many as were granted");
        Assert.That(wasFree, Is.True);
        // This physical CPU stops after each frame; what it was not granted the call asks for again where it goes on.
        string[] asked = [.. _policy.Calls.Where(call => call.StartsWith("grant", StringComparison.Ordinal))];
        Assert.That(asked, Is.EqualTo(new[] { "grant d1 452+60", "grant d1 502+10" }));
    }

    [Test]
    public void What_a_call_was_granted_and_could_not_use_is_held_no_longer()
    {
        _machine = new HandMachine(memoryPolicy: _policy);
        HandDomain guest = _machine.Create();
        Assert.That(guest.GiveBack(First, 100), Is.EqualTo(100));
        long held = _machine.Machine.Frames.AssignedFrames;
        // The list ends in a page that is not mapped.
        guest.Clear(HandDomain.ListPage + 1);
        ulong list = guest.Address(HandDomain.ListPage + 1) - 16;
        Assert.That(guest.Reserve(MemoryOp.PopulatePhysmap, list, 100), Is.EqualTo(2));
        Assert.That(_machine.Machine.Frames.AssignedFrames, Is.EqualTo(held + 2));
        Assert.That(guest.Domain.Balloon.Granted, Is.Zero);
    }

    [TestCase(MemoryOp.DecreaseReservation)]
    [TestCase(MemoryOp.PopulatePhysmap)]
    public void Lists_that_no_continued_call_could_say_its_place_in_do_nothing(MemoryOp operation)
    {
        _machine = new HandMachine();
        HandDomain guest = _machine.Create();
        Assert.That(guest.GiveBack(First, 1), Is.EqualTo(1));
        ulong list = guest.Address(HandDomain.ListPage);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(guest.Reserve(operation, list, ulong.MaxValue), Is.Zero);
            Assert.That(guest.Reserve(operation, list, 1UL << 26), Is.Zero);
            Assert.That(guest.Reserve(operation, list, 1, startExtent: 7), Is.EqualTo(7), "it says where it was");
            Assert.That(guest.Domain.AssignedFrames, Is.EqualTo(Pages - 1));
        }
    }

    [Test]
    public void A_domain_grows_to_a_maximum_above_what_it_started_with()
    {
        _machine = new HandMachine();
        HandDomain guest = _machine.Create(mostMemory: 4L << 20);
        Assert.That(guest.Domain.AssignedFrames, Is.EqualTo(Pages));
        Assert.That(_machine.Machine.Frames.AssignedFrames, Is.EqualTo(DomainMemory.FramesFor(Pages)), "the rest is not held");
        MemoryMarshal.Write(guest.Page(HandDomain.ListPage), DomainIds.Self);
        long most = guest.Hypercall(Hypercall.MemoryOp, (ulong)MemoryOp.MaximumReservation, guest.Address(HandDomain.ListPage));
        Assert.That(most, Is.EqualTo(2 * Pages));
        ulong above = (ulong)guest.Frame(Pages).Address | 0x63;
        Assert.That(guest.Domain.Mmu.UpdateVaMapping(0, new VirtualAddress(guest.Address(First)), above), Is.Not.EqualTo(XenErrno.Success));

        Assert.That(guest.Take(Pages, Pages), Is.EqualTo(Pages));
        ulong[] frames = MemoryMarshal.Cast<byte, ulong>(guest.Page(HandDomain.ListPage))[..3].ToArray();
        Assert.That(frames, Is.EqualTo(Enumerable.Range(Pages, 3).Select(page => (ulong)guest.Frame(page).Value)));
        Assert.That(guest.Domain.Memory.TryGetPfn(guest.Frame(Pages + 2), out ulong pfn), Is.True);
        Assert.That((pfn, guest.Domain.AssignedFrames), Is.EqualTo(((ulong)Pages + 2, 2L * Pages)));
        Assert.That(guest.Domain.Mmu.UpdateVaMapping(0, new VirtualAddress(guest.Address(First)), above), Is.EqualTo(XenErrno.Success));
        Assert.That(guest.Take(0, 1), Is.Zero, "no more than that");
    }

    [Test]
    public void Its_place_in_the_store_says_how_much_it_may_and_should_have()
    {
        _machine = new HandMachine();
        HandDomain guest = _machine.Create(mostMemory: 3L << 20);
        StoreClient store = _machine.Machine.StoreClient;
        string memory = $"/local/domain/{guest.Id}/memory";
        Assert.That((store.Read($"{memory}/static-max"), store.Read($"{memory}/target")), Is.EqualTo(("3072", "2048")));
        ImmutableArray<StorePermission> permissions = StorePermission.OwnedAndReadBy(new DomainId(0), guest.Domain.Id);
        foreach (string key in (string[])["static-max", "target"])
            Assert.That(store.GetPermissions($"{memory}/{key}"), Is.EqualTo(permissions));
    }

    [Test]
    public void Domains_that_balloon_in_loops_while_others_come_and_go_leave_the_accounts_right()
    {
        const int Rounds = 300;
        _machine = new HandMachine(memoryPolicy: _policy);
        HandDomain[] guests = [_machine.Create(), _machine.Create(mostMemory: 4L << 20)];
        long before = _machine.Machine.Frames.AssignedFrames;
        long outside = 0;
        _policy.OnReleased = (_, frames) => outside += frames;
        Parallel.Invoke(
            () => Balloon(guests[0]),
            () => Balloon(guests[1]),
            () =>
            {
                for (int round = 0; round < Rounds / 10; round++)
                {
                    HandDomain passing = _machine.Create();
                    Assert.That(passing.GiveBack(First, 5), Is.EqualTo(5));
                    _machine.Machine.Destroy(passing.Domain);
                }
            });
        Assert.That(_machine.Machine.Frames.AssignedFrames, Is.EqualTo(before));
        // All that came back is told before the next question.
        Assert.That(_machine.Create().Domain.AssignedFrames, Is.EqualTo(Pages));
        Assert.That(outside, Is.EqualTo((2 * Rounds * 40) + (Rounds / 10 * Pages)));

        static void Balloon(HandDomain guest)
        {
            for (int round = 0; round < Rounds; round++)
            {
                Assert.That(guest.GiveBack(First, 40), Is.EqualTo(40));
                Assert.That(guest.Take(First, 40), Is.EqualTo(40));
            }
        }
    }

    private static bool IsFree(Lock gate)
    {
        bool isFree = gate.TryEnter();
        if (isFree)
            gate.Exit();
        return isFree;
    }
}
