using Tessera.Kernel.Devices;
using Tessera.Sdk;
using Tessera.Sdk.Memory;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Tests;

/// <summary>A backend's view of a domain's grants, and what is left when either side dies.</summary>
internal sealed class GrantAccessTests
{
    private const int Page = HandDomain.FreePage;
    private HandMachine _machine = null!;
    private HandDomain _guest = null!;
    private GrantAccess _access = null!;

    [SetUp]
    public void CreateADomain()
    {
        _machine = new HandMachine();
        _guest = _machine.Create();
        _access = new GrantAccess(_guest.Domain.Grants);
        _guest.Page(Page)[..5].Fill(7);
    }

    [TearDown]
    public void NothingIsLeft()
    {
        _machine.Machine.Destroy(_guest.Domain);
        long left = _machine.Machine.Frames.AssignedFrames;
        _machine.Dispose();
        Assert.That(left, Is.Zero);
    }

    private GrantHandle Map(uint reference, GrantMode mode)
    {
        Assert.That(_access.TryMap(new GrantRef(reference), mode, out GrantHandle? handle), Is.EqualTo(GrantStatus.Okay));
        return handle!;
    }

    [Test]
    public void A_handle_shows_the_page_until_it_is_released()
    {
        _guest.Grant(9, 0, Page);
        GrantHandle handle = Map(9, GrantMode.Write);
        Assert.That((handle.Reference, handle.IsReadOnly, handle.Span[4], handle.Span[5]), Is.EqualTo((new GrantRef(9), false, (byte)7, (byte)0)));
        handle.Memory.Span[4095] = 42;
        Assert.That(_guest.Page(Page)[4095], Is.EqualTo(42));
        Assert.That(_guest.Use(9), Is.EqualTo(GrantEntryFlags.Reading | GrantEntryFlags.Writing));
        handle.Release();
        Assert.That(_guest.Use(9), Is.EqualTo(GrantEntryFlags.Invalid));
        Assert.That(() => handle.ReadOnlySpan.Length, Throws.InvalidOperationException);
        Assert.That(handle.Release, Throws.InvalidOperationException, "twice");
    }

    [Test]
    public void A_read_only_handle_gives_no_writable_view()
    {
        _guest.Grant(9, 0, Page, GrantEntryFlags.PermitAccess | GrantEntryFlags.Readonly);
        Assert.That(_access.TryMap(new GrantRef(9), GrantMode.Write, out GrantHandle? none), Is.EqualTo(GrantStatus.GeneralError));
        Assert.That(none, Is.Null);
        GrantHandle handle = Map(9, GrantMode.Read);
        Assert.That((handle.ReadOnlySpan[0], handle.ReadOnlyMemory.Span[4]), Is.EqualTo(((byte)7, (byte)7)));
        Assert.That(() => handle.Span.Length, Throws.InvalidOperationException);
        Assert.That(() => handle.Memory.Length, Throws.InvalidOperationException);
        handle.Release();
    }

    [Test]
    public void A_revoked_grant_is_out_of_reach()
    {
        _guest.Grant(9, 0, Page);
        Map(9, GrantMode.Read).Release();
        _guest.Grant(9, 0, Page, GrantEntryFlags.Invalid);
        Assert.That(_access.TryMap(new GrantRef(9), GrantMode.Read, out _), Is.EqualTo(GrantStatus.GeneralError));
        Assert.That(_access.TryRead(new GrantRef(9), 0, new byte[1]), Is.EqualTo(GrantStatus.GeneralError));
        Assert.That(_access.TryWrite(new GrantRef(9), 0, new byte[1]), Is.EqualTo(GrantStatus.GeneralError));
    }

    [Test]
    public void Copies_are_private_and_bounded()
    {
        _guest.Grant(9, 0, Page);
        byte[] bytes = new byte[10];
        Assert.That(_access.TryRead(new GrantRef(9), 4, bytes), Is.EqualTo(GrantStatus.Okay));
        Assert.That(bytes[..2], Is.EqualTo(new byte[] { 7, 0 }));
        Assert.That(_access.TryWrite(new GrantRef(9), 4086, bytes), Is.EqualTo(GrantStatus.Okay));
        Assert.That(_guest.Page(Page)[4086], Is.EqualTo(7));
        Assert.That(_access.TryRead(new GrantRef(9), 4087, bytes), Is.EqualTo(GrantStatus.BadCopyArg));
        Assert.That(_access.TryRead(new GrantRef(9), -1, bytes), Is.EqualTo(GrantStatus.BadCopyArg));
        Assert.That(_access.TryRead(new GrantRef(9), int.MaxValue, bytes), Is.EqualTo(GrantStatus.BadCopyArg));
        Assert.That(_guest.SetVersion(2), Is.Zero);
        _guest.GrantPart(9, 0, Page, 100, 10);
        Assert.That(_access.TryRead(new GrantRef(9), 100, bytes), Is.EqualTo(GrantStatus.Okay));
        Assert.That(_access.TryRead(new GrantRef(9), 101, bytes), Is.EqualTo(GrantStatus.GeneralError));
        Assert.That(_access.TryMap(new GrantRef(9), GrantMode.Read, out _), Is.EqualTo(GrantStatus.GeneralError));
    }

    [Test]
    public void Mapping_and_releasing_allocates_nothing()
    {
        _guest.Grant(9, 0, Page);
        byte[] bytes = new byte[64];
        for (int round = 0; round < 1000; round++)
            MapReadRelease(bytes);
        long least = Allocations.LeastOf(() =>
        {
            for (int round = 0; round < 2000; round++)
                MapReadRelease(bytes);
        });
        Assert.That(least, Is.Zero);
        Assert.That(_guest.Domain.Grants.Taken, Is.EqualTo(22_000));
    }

    private void MapReadRelease(byte[] bytes)
    {
        _ = _access.TryMap(new GrantRef(9), GrantMode.Write, out GrantHandle? handle);
        handle!.Release();
        _ = _access.TryRead(new GrantRef(9), 0, bytes);
    }

    [Test]
    public void A_mapped_page_outlives_its_domain_and_is_freed_with_the_last_handle()
    {
        _guest.Grant(9, 0, Page);
        _guest.Grant(10, 0, Page + 1);
        GrantHandle first = Map(9, GrantMode.Write), again = Map(9, GrantMode.Read), second = Map(10, GrantMode.Read);
        long assigned = _machine.Machine.Frames.AssignedFrames;
        _machine.Machine.Destroy(_guest.Domain);
        Assert.That(_machine.Machine.Frames.AssignedFrames, Is.EqualTo(assigned), "as long as somebody uses a page");
        Assert.That(_access.TryMap(new GrantRef(9), GrantMode.Read, out _), Is.EqualTo(GrantStatus.BadDomain));
        Assert.That(_access.TryRead(new GrantRef(9), 0, new byte[1]), Is.EqualTo(GrantStatus.BadDomain));
        first.Span[5] = 8;
        Assert.That(again.ReadOnlySpan[..6].ToArray(), Is.EqualTo(new byte[] { 7, 7, 7, 7, 7, 8 }));
        first.Release();
        second.Release();
        Assert.That((again.ReadOnlySpan[0], _machine.Machine.Frames.AssignedFrames), Is.EqualTo(((byte)7, assigned)));
        again.Release();
        Assert.That(_machine.Machine.Frames.AssignedFrames, Is.Zero);
    }

    [Test]
    public void A_dead_domains_other_memory_goes_back_to_the_host_at_once()
    {
        for (int page = Page; page < 480; page++)
            _guest.Page(page).Fill(1);
        _guest.Grant(9, 0, Page + 3);
        GrantHandle handle = Map(9, GrantMode.Read);
        long before = _guest.Domain.Memory.ResidentBytes;
        _machine.Machine.Destroy(_guest.Domain);
        // Where the host backs all of it with one huge page, giving parts back splits it.
        Assert.That(_guest.Domain.Memory.ResidentBytes, Is.LessThan(before / 4));
        Assert.That(handle.ReadOnlySpan.IndexOfAnyExcept((byte)1), Is.Negative);
        handle.Release();
    }

    [Test]
    public void Either_side_may_die_first_and_nothing_leaks()
    {
        HandDomain grantee = _machine.Create();
        _guest.Grant(9, grantee.Id, Page);
        _ = grantee.MapAt(_guest, 9, Page + 5);
        _machine.Machine.Destroy(_guest.Domain);
        Assert.That(_machine.Machine.Frames.HasFrames(_guest.Domain.Id), Is.True, "still mapped");
        Assert.That(grantee.MapAt(_guest, 9, Page + 6).Status, Is.EqualTo(GrantStatus.BadDomain));
        _machine.Machine.Destroy(grantee.Domain);
        Assert.That(_machine.Machine.Frames.AssignedFrames, Is.Zero);
    }

    [Test]
    public void Threads_that_map_while_the_domain_dies_reach_only_valid_memory()
    {
        for (uint reference = 8; reference < 72; reference++)
            _guest.Grant(reference, 0, Page + (int)(reference % 16));
        _guest.Page(Page).Fill(7);
        using ManualResetEventSlim started = new();
        int running = 0;
        Thread[] threads = [.. Enumerable.Range(0, 3).Select(index => new Thread(() =>
        {
            GrantStatus status = GrantStatus.Okay;
            for (uint round = 0; status is GrantStatus.Okay or GrantStatus.GeneralError; round++)
            {
                if (round == 200 && Interlocked.Increment(ref running) == 3)
                    started.Set();
                status = _access.TryMap(new GrantRef(8 + ((round + (uint)index) % 64)), GrantMode.Write, out GrantHandle? handle);
                if (handle is null)
                    continue;
                handle.Span[0] = (byte)round;
                handle.Release();
            }
        }))];
        foreach (Thread thread in threads)
            thread.Start();
        started.Wait();
        _machine.Machine.Destroy(_guest.Domain);
        foreach (Thread thread in threads)
            thread.Join();
        Assert.That((_machine.Machine.Frames.AssignedFrames, _guest.Domain.Grants.Pins), Is.EqualTo((0L, 0L)));
    }
}
