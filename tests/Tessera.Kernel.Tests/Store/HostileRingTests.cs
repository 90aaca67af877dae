using FsCheck;
using FsCheck.Fluent;
using Tessera.Kernel.Store;
using Tessera.Sdk;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Tests.Store;

/// <summary>A guest that writes anything into its ring harms its own connection only.</summary>
internal sealed class HostileRingTests
{
    [TestCase(StoreRing.RequestProd)]
    [TestCase(StoreRing.RequestCons)]
    [TestCase(StoreRing.ResponseProd)]
    [TestCase(StoreRing.ResponseCons)]
    public void A_forged_index_kills_the_connection_until_it_is_made_anew(int index)
    {
        StoreBench bench = new();
        using RingGuest guest = bench.Guest(5);
        _ = guest.Ask(StoreMessage.Watch, "data|t|");
        _ = guest.TakeEvents();
        guest.Word(index) += 0x8000_0000;
        bench.Client().Write("/local/domain/5/data/x", "");
        guest.Connection.Notified();
        bench.Serve();
        Assert.That(guest.Word(StoreRing.Error), Is.EqualTo((uint)StoreRingError.RingIndex));
        Assert.That(bench.Store.UsageOf(new DomainId(5)).Watches, Is.Zero);
        int heard = guest.Notifications;
        bench.Client().Write("/local/domain/5/data/y", "");
        bench.Serve();
        Assert.That(guest.Notifications, Is.EqualTo(heard));

        guest.Word(StoreRing.Connection) = 1;
        guest.Connection.Notified();
        bench.Serve();
        Assert.That(guest.Ask(StoreMessage.Read, "name|"), Is.EqualTo("Read guest5"));
    }

    [Test]
    public void A_request_whose_notification_got_lost_is_found_soon_and_a_ring_at_rest_is_left_alone()
    {
        StoreBench bench = new();
        using RingGuest guest = bench.Guest(5);
        byte[] request = StoreHeader.Message(StoreMessage.Read, 1, 0, "name\0"u8);
        guest.Send(request.AsSpan(0, StoreHeader.Bytes));
        guest.Put(request.AsSpan(StoreHeader.Bytes));
        bench.Serve();
        Assert.That(guest.Receive(), Is.Empty);
        bench.Time.Pass(StoreServer.LookAgainAfter);
        bench.Serve();
        Assert.That(guest.Receive().Single().Payload, Is.EqualTo("guest5"));

        bench.Time.Pass(StoreServer.LookAgainAfter);
        bench.Serve();
        guest.Put(request);
        bench.Time.Pass(TimeSpan.FromHours(1));
        Assert.That(bench.Server.ServeNext(), Is.False);
    }

    [Test]
    public void A_message_that_is_too_long_kills_the_connection()
    {
        StoreBench bench = new();
        using RingGuest guest = bench.Guest(5);
        guest.Send(StoreHeader.Message(StoreMessage.Read, 1, 0, "name\0"u8));
        byte[] forged = StoreHeader.Message(StoreMessage.Write, 1, 0, []);
        BitConverter.TryWriteBytes(forged.AsSpan(12), 4097);
        guest.Send(forged);
        Assert.That(guest.Word(StoreRing.Error), Is.EqualTo((uint)StoreRingError.Protocol));
    }

    [Test]
    public void A_message_of_the_full_length_is_served()
    {
        StoreBench bench = new();
        using RingGuest guest = bench.Guest(5);
        Assert.That(guest.Ask(StoreMessage.Write, $"data/a|{new string('x', 4089)}"), Is.EqualTo("Error ENOSPC|"));
        Assert.That(guest.Ask(StoreMessage.Write, $"data/a|{new string('x', 2048)}"), Is.EqualTo("Write OK|"));
        Assert.That(guest.Ask(StoreMessage.Read, "data/a|"), Is.EqualTo($"Read {new string('x', 2048)}"));
    }

    [Test]
    public void Any_bytes_and_indexes_leave_the_store_and_a_neighbour_whole() =>
        Prop.ForAll(Arb.From(Gen.ArrayOf(Gen.Choose(0, int.MaxValue))), numbers =>
        {
            StoreBench bench = new();
            using RingGuest hostile = bench.Guest(5);
            using RingGuest neighbour = bench.Guest(6);
            Random random = new(HashCode.Combine(numbers.Length, numbers.FirstOrDefault()));
            foreach (int number in numbers)
            {
                byte[] payload = new byte[number % 40];
                random.NextBytes(payload);
                if (number % 3 == 0)
                    "data/a\0n5\0\0"u8[..Math.Min(payload.Length, 11)].CopyTo(payload);
                byte[] message = StoreHeader.Message((StoreMessage)(number % 25), (uint)number, (uint)(number % 4), payload);
                if (number % 11 == 0)
                    random.NextBytes(message);
                _ = hostile.Flood(message);
                if (number % 7 == 0)
                    hostile.Word(StoreRing.RequestCons + (4 * (number / 7 % 4))) = (uint)random.Next();
                if (number % 13 == 0)
                    hostile.Word(StoreRing.Connection) = 1;
                for (int turn = 0; turn < 8; turn++)
                    _ = bench.Server.ServeNext();
            }

            Assert.That(bench.Failures, Is.Empty);
            Assert.That(neighbour.Ask(StoreMessage.Read, "name|"), Is.EqualTo("Read guest6"));
            (int nodes, int watches, int transactions) = bench.Store.UsageOf(new DomainId(5));
            Assert.That(nodes <= bench.Store.Quota.Nodes && watches <= bench.Store.Quota.Watches && transactions <= bench.Store.Quota.Transactions);
            hostile.Connection.Close();
            Assert.That(bench.Store.UsageOf(new DomainId(5)), Is.EqualTo((nodes, 0, 0)));
        }).QuickCheckThrowOnFailure();
}
