using Tessera.Kernel.Snapshots;
using Tessera.Kernel.Store;
using Tessera.Sdk;

namespace Tessera.Kernel.Tests.Store;

/// <summary>A connection to the store that is saved and restored over the same ring, in another store.</summary>
internal sealed class ConnectionSnapshots
{
    [Test]
    public void Watches_are_set_again_and_fire()
    {
        StoreBench bench = new(), other = new();
        using RingGuest guest = bench.Guest(5), next = other.Guest(6);
        _ = guest.Ask(StoreMessage.Watch, "data|mine|");
        _ = guest.Ask(StoreMessage.Watch, "@releaseDomain|any|");
        _ = guest.TakeEvents();
        Move(guest, next);
        other.Serve();
        _ = next.Receive();
        Assert.That(next.TakeEvents(), Is.EquivalentTo(["data|mine", "@releaseDomain|any"]), "each fires once, as one that is set does");
        other.Client().Write("/local/domain/6/data/x", "");
        other.Serve();
        _ = next.Receive();
        Assert.That(next.TakeEvents(), Is.EqualTo(["data/x|mine"]), "relative to the home that the domain has now");
        Assert.That(next.Ask(StoreMessage.Unwatch, "data|mine|"), Is.EqualTo("Unwatch OK|"));
        next.Connection.Close();
        Assert.That(other.Store.UsageOf(new DomainId(6)).Watches, Is.Zero);
    }

    [Test]
    public void A_transaction_is_to_be_begun_once_more()
    {
        StoreBench bench = new(), other = new();
        using RingGuest guest = bench.Guest(5), next = other.Guest(6);
        uint first = uint.Parse(guest.Ask(StoreMessage.TransactionStart, "|").Split(' ', '|')[1]);
        uint second = uint.Parse(guest.Ask(StoreMessage.TransactionStart, "|").Split(' ', '|')[1]);
        _ = guest.Ask(StoreMessage.Write, "data/a|before", first);
        Move(guest, next);
        Assert.That(next.Ask(StoreMessage.Write, "data/b|after", first), Is.EqualTo("Write OK|"));
        Assert.That(next.Ask(StoreMessage.TransactionEnd, "T|", first), Is.EqualTo("Error EAGAIN|"));
        Assert.That(next.Ask(StoreMessage.TransactionEnd, "F|", second), Is.EqualTo("TransactionEnd OK|"));
        Assert.That(next.Ask(StoreMessage.TransactionEnd, "T|", first), Is.EqualTo("Error ENOENT|"));
        Assert.That(next.Ask(StoreMessage.Directory, "data|"), Is.EqualTo("Directory "), "nothing of it was done");
        string third = next.Ask(StoreMessage.TransactionStart, "|").Split(' ', '|')[1];
        Assert.That(uint.Parse(third), Is.GreaterThan(second));
        Assert.That(next.Ask(StoreMessage.TransactionEnd, "T|", uint.Parse(third)), Is.EqualTo("TransactionEnd OK|"));
        Assert.That(other.Store.UsageOf(new DomainId(6)).Transactions, Is.Zero);
    }

    [Test]
    public void Half_a_request_and_answers_that_were_not_taken_go_along([Range(1, 20)] int sent)
    {
        StoreBench bench = new(), other = new();
        using RingGuest guest = bench.Guest(5), next = other.Guest(6);
        // Answers that fill the ring and wait behind it.
        _ = guest.Ask(StoreMessage.Write, $"data/long|{new string('x', 700)}");
        for (uint request = 100; request < 103; request++)
            guest.Send(StoreHeader.Message(StoreMessage.Read, request, 0, "data/long\0"u8));
        byte[] last = StoreHeader.Message(StoreMessage.Read, 200, 0, "name\0"u8);
        guest.Send(last.AsSpan(0, sent));
        Move(guest, next);
        next.Send(last.AsSpan(sent));
        List<string> answers = [];
        for (int turn = 0; turn < 10; turn++)
            answers.AddRange(next.Receive().Select(answer => answer.Payload));
        Assert.That(answers, Is.EqualTo([.. Enumerable.Repeat(new string('x', 700), 3), "guest6"]));
    }

    [Test]
    public void More_than_a_domain_may_have_is_refused()
    {
        StoreBench bench = new(), small = new(new StoreQuota { Watches = 1 });
        using RingGuest guest = bench.Guest(5), next = small.Guest(6);
        _ = guest.Ask(StoreMessage.Watch, "data|a|");
        _ = guest.Ask(StoreMessage.Watch, "data|b|");
        Assert.That(() => Move(guest, next), Throws.TypeOf<SnapshotException>().With.Message.Contains("the number of watches is 2, and must be 0 to 1"));
    }

    private static void Move(RingGuest from, RingGuest to)
    {
        StateWriter writer = new();
        from.Connection.Save(writer, () => from.CopyPage(to));
        StateReader reader = new(writer.Written.ToArray());
        to.Connection.Restore(reader);
        reader.End();
    }
}
