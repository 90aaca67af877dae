using System.Runtime.InteropServices;
using FsCheck;
using FsCheck.Fluent;
using Tessera.Kernel.Devices;
using Tessera.Sdk;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Tests;

/// <summary>The backend's end of a ring against a frontend written after io/ring.h, honest and otherwise.</summary>
internal sealed class SharedRingTests
{
    private const int Page = HandDomain.FreePage;
    private HandMachine _machine = null!;
    private HandDomain _guest = null!;
    private GrantAccess _access = null!;

    [OneTimeSetUp]
    public void CreateADomain()
    {
        _machine = new HandMachine();
        _guest = _machine.Create();
        _access = new GrantAccess(_guest.Domain.Grants);
        for (int page = 0; page < 16; page++)
            _guest.Grant((uint)(100 + page), 0, Page + (page * 2));
    }

    [OneTimeTearDown]
    public void Dispose() => _machine.Dispose();

    private SharedRing Map(int pages, int entryBytes)
    {
        GrantRef[] references = [.. Enumerable.Range(100, pages).Select(reference => new GrantRef((uint)reference))];
        Assert.That(SharedRing.TryMap(_access, references, entryBytes, out SharedRing? ring), Is.EqualTo(GrantStatus.Okay));
        return ring!;
    }

    private ref uint Index(int offset) => ref MemoryMarshal.AsRef<uint>(_guest.Page(Page)[offset..]);

    // The ring's pages lie apart in the guest, as they do behind a frontend's own mapping.
    private void Slot(int entryBytes, int slot, Span<byte> bytes, bool write)
    {
        for (int i = 0; i < bytes.Length; i++)
        {
            int offset = SharedRing.HeaderBytes + (slot * entryBytes) + i;
            ref byte place = ref _guest.Page(Page + (offset / 4096 * 2))[offset % 4096];
            if (write)
                place = bytes[i];
            else
                bytes[i] = place;
        }
    }

    [TestCase(1, 112, 32)]
    [TestCase(2, 112, 64)]
    [TestCase(16, 112, 512)]
    [TestCase(1, 12, 256)]
    [TestCase(1, 8, 256)]
    [TestCase(4, 8, 1024)]
    [TestCase(1, 4032, 1)]
    public void A_ring_has_the_largest_power_of_two_of_slots(int pages, int entryBytes, int entries)
    {
        _guest.Page(Page).Clear();
        using SharedRing ring = Map(pages, entryBytes);
        Assert.That(ring.Entries, Is.EqualTo(entries));
    }

    [Test]
    public void Requests_and_responses_keep_order_number_and_bytes_across_wraps_and_pages([Values(1, 2, 3)] int pages, [Values(8, 12, 112)] int entryBytes) => Prop.ForAll(
        ArbMap.Default.ArbFor<byte[]>(),
        ArbMap.Default.ArbFor<uint>(),
        (steps, start) =>
        {
            _guest.Page(Page).Clear();
            Index(0) = Index(8) = start;
            Index(4) = Index(12) = start + 1;
            using SharedRing ring = Map(pages, entryBytes);
            uint sent = start, answered = start, received = start;
            bool backendRests = true, frontendRests = true;
            byte[] bytes = new byte[entryBytes];
            foreach (byte step in steps)
            {
                int count = step >> 2;
                switch (step & 3)
                {
                    case 0:
                        {
                            uint old = sent;
                            for (; count > 0 && sent - received < (uint)ring.Entries; count--, sent++)
                            {
                                FillWith(bytes, sent);
                                Slot(entryBytes, (int)(sent % (uint)ring.Entries), bytes, write: true);
                            }

                            Index(0) = sent;
                            bool notifies = sent - Index(4) < sent - old;
                            if (sent != old && backendRests && !notifies)
                                return false;
                            backendRests &= !notifies;
                            break;
                        }

                    case 1:
                        for (; count > 0 && ring.TryTake(bytes); count--)
                        {
                            byte[] expected = new byte[entryBytes];
                            FillWith(expected, answered);
                            if (!bytes.AsSpan().SequenceEqual(expected))
                                return false;
                            FillWith(bytes, ~answered);
                            ring.Put(bytes);
                            answered++;
                        }

                        bool notify = ring.Publish();
                        if (frontendRests && answered != received && !notify)
                            return false;
                        frontendRests &= !notify;
                        break;
                    case 2:
                        for (; received != Index(8); received++)
                        {
                            Slot(entryBytes, (int)(received % (uint)ring.Entries), bytes, write: false);
                            byte[] expected = new byte[entryBytes];
                            FillWith(expected, ~received);
                            if (!bytes.AsSpan().SequenceEqual(expected))
                                return false;
                        }

                        Index(12) = received + 1;
                        frontendRests = true;
                        break;
                    default:
                        backendRests = !ring.FinalCheck();
                        if (backendRests != (ring.Pending == 0))
                            return false;
                        break;
                }

                if (ring.IsBroken || ring.InFlight != 0 || ring.Pending != (int)(sent - answered))
                    return false;
            }

            return true;
        }).QuickCheckThrowOnFailure();

    [Test]
    public void Whatever_a_frontend_writes_no_more_is_taken_than_there_are_slots() => Prop.ForAll(
        ArbMap.Default.ArbFor<uint[]>(),
        forged =>
        {
            _guest.Page(Page).Clear();
            using SharedRing ring = Map(1, 112);
            byte[] request = new byte[112];
            long taken = 0, answered = 0;
            for (int i = 0; i + 1 < forged.Length; i += 2)
            {
                // Half of the indices are near the truth.
                Index(0) = (forged[i] & 1) == 0 ? forged[i] >> 1 : (uint)taken + (forged[i] >> 1) % 40;
                Index(8) = forged[i + 1];
                Index(12) = ~forged[i + 1];
                for (int step = 0; step < 40 && ring.TryTake(request); step++)
                    taken++;
                if (ring.InFlight > ring.Entries || taken - answered != ring.InFlight)
                    return false;
                for (; ring.InFlight > (int)(forged[i + 1] % 33); answered++)
                    ring.Put(request);
                _ = ring.Publish();
                _ = ring.FinalCheck();
                if (ring.IsBroken && (ring.Pending != 0 || ring.TryTake(request)))
                    return false;
            }

            return true;
        }).QuickCheckThrowOnFailure();

    [Test]
    public void An_index_beyond_the_ring_or_behind_breaks_it_for_good()
    {
        _guest.Page(Page).Clear();
        using SharedRing ring = Map(1, 112);
        Index(0) = 32;
        Assert.That((ring.Pending, ring.IsBroken), Is.EqualTo((32, false)));
        Assert.That(ring.TryTake(new byte[112]), Is.True);
        Index(0) = 0;
        Assert.That((ring.Pending, ring.IsBroken), Is.EqualTo((0, true)), "fewer than were taken");
        Index(0) = 32;
        Assert.That(ring.TryTake(new byte[112]), Is.False);

        _guest.Page(Page).Clear();
        Index(0) = 33;
        using SharedRing other = Map(1, 112);
        Assert.That(other.IsBroken, Is.True, "more than there is room for, from the beginning");
    }

    [Test]
    public void Nothing_is_answered_that_was_not_asked()
    {
        _guest.Page(Page).Clear();
        using SharedRing ring = Map(1, 8);
        Assert.That(() => ring.Put(1UL), Throws.InvalidOperationException);
        Index(0) = 1;
        Assert.That(ring.TryTake(out ulong _), Is.True);
        Assert.That(() => ring.Put(new byte[9]), Throws.ArgumentException, "more than a slot");
        ring.Put(1UL);
        Assert.That(() => ring.Put(2UL), Throws.InvalidOperationException);
    }

    [Test]
    public void A_ring_that_is_not_all_granted_is_not_mapped()
    {
        long pins = _guest.Domain.Grants.Pins;
        Assert.That(SharedRing.TryMap(_access, [new GrantRef(100), new GrantRef(101), new GrantRef(99)], 112, out SharedRing? ring), Is.EqualTo(GrantStatus.GeneralError));
        Assert.That((ring, _guest.Domain.Grants.Pins), Is.EqualTo(((SharedRing?)null, pins)));
    }

    private static void FillWith(Span<byte> bytes, uint seed)
    {
        for (int i = 0; i < bytes.Length; i++)
            bytes[i] = (byte)((seed * 31) + (uint)i);
    }
}
