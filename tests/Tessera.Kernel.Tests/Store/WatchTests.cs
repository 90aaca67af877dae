using System.Collections.Concurrent;
using Tessera.Kernel.Store;
using Tessera.Sdk;

namespace Tessera.Kernel.Tests.Store;

/// <summary>Who hears of which change, and under which name.</summary>
internal sealed class WatchTests
{
    [Test]
    public void A_watch_fires_at_once_and_for_every_change_at_or_below_it()
    {
        StoreBench bench = new();
        using RingGuest guest = bench.Guest(5);
        _ = guest.Ask(StoreMessage.Watch, "data/a|rel|");
        _ = guest.Ask(StoreMessage.Watch, "/local/domain/5/data|abs|");
        Assert.That(guest.TakeEvents(), Is.EqualTo(new[] { "data/a|rel", "/local/domain/5/data|abs" }));

        StoreClient domain0 = bench.Client();
        domain0.Write("/local/domain/5/data/a/b", "1");
        Assert.That(guest.TakeEvents(), Is.EqualTo(new[] { "/local/domain/5/data/a/b|abs", "data/a/b|rel" }));
        domain0.SetPermissions("/local/domain/5/data/a/b", StorePermission.OwnedBy(new DomainId(5)));
        Assert.That(guest.TakeEvents(), Is.EqualTo(new[] { "/local/domain/5/data/a/b|abs", "data/a/b|rel" }));
        domain0.Write("/local/domain/5/data/ab", "");
        Assert.That(guest.TakeEvents(), Is.EqualTo(new[] { "/local/domain/5/data/ab|abs" }));
        domain0.Remove("/local/domain/5/data");
        Assert.That(guest.TakeEvents(), Is.EqualTo(new[] { "/local/domain/5/data|abs", "data/a|rel" }));
        domain0.Write("/local/domain/5/attr", "elsewhere");
        Assert.That(guest.TakeEvents(), Is.Empty);
    }

    [Test]
    public void A_transactions_changes_are_told_when_it_commits()
    {
        StoreBench bench = new();
        using RingGuest guest = bench.Guest(5);
        _ = guest.Ask(StoreMessage.Watch, "data|t|");
        _ = guest.TakeEvents();
        _ = guest.Ask(StoreMessage.TransactionStart, "|");
        _ = guest.Ask(StoreMessage.Write, "data/a|1", transaction: 1);
        _ = guest.Ask(StoreMessage.Write, "data/b|1", transaction: 1);
        Assert.That(guest.TakeEvents(), Is.Empty);
        _ = guest.Ask(StoreMessage.TransactionEnd, "T|", transaction: 1);
        Assert.That(guest.TakeEvents(), Is.EqualTo(new[] { "data/a|t", "data/b|t" }));
        _ = guest.Ask(StoreMessage.TransactionStart, "|");
        _ = guest.Ask(StoreMessage.Write, "data/a|2", transaction: 2);
        _ = guest.Ask(StoreMessage.TransactionEnd, "F|", transaction: 2);
        Assert.That(guest.TakeEvents(), Is.Empty);
    }

    [Test]
    public void Nobody_hears_of_what_he_may_not_read()
    {
        StoreBench bench = new();
        using RingGuest guest = bench.Guest(5);
        using RingGuest other = bench.Guest(6);
        _ = guest.Ask(StoreMessage.Watch, "/local/domain/6|t|");
        _ = guest.Ask(StoreMessage.Watch, "/|root|");
        _ = guest.Ask(StoreMessage.Watch, "@releaseDomain|gone|");
        Assert.That(guest.TakeEvents(), Has.Length.EqualTo(3), "a watch fires when it is set, whatever is there");
        _ = other.Ask(StoreMessage.Write, "data/secret|1");
        _ = other.Ask(StoreMessage.Remove, "data/secret|");
        bench.Store.Ended(new DomainId(6));
        Assert.That(guest.TakeEvents(), Is.Empty);

        _ = other.Ask(StoreMessage.Write, "data/shared|1");
        _ = other.Ask(StoreMessage.SetPermissions, "data/shared|n6|r5|");
        Assert.That(guest.TakeEvents(), Is.EqualTo(new[] { "/local/domain/6/data/shared|root", "/local/domain/6/data/shared|t" }).AsCollection);
        _ = other.Ask(StoreMessage.Remove, "data/shared|");
        Assert.That(guest.TakeEvents(), Has.Length.EqualTo(2), "what could be read is seen to go");
    }

    [Test]
    public void Special_events_reach_domain_0_and_those_it_lets()
    {
        StoreBench bench = new();
        using RingGuest domain0 = new(bench, default);
        using RingGuest guest = bench.Guest(5);
        _ = domain0.Ask(StoreMessage.Watch, "@introduceDomain|in|");
        _ = domain0.Ask(StoreMessage.Watch, "@releaseDomain|out|");
        _ = guest.Ask(StoreMessage.Watch, "@releaseDomain|mine|");
        _ = domain0.TakeEvents();
        _ = guest.TakeEvents();
        Assert.That(domain0.Ask(StoreMessage.SetPermissions, "@releaseDomain|n0|r5|"), Is.EqualTo("SetPermissions OK|"));
        bench.Store.Introduce(new DomainId(7), "seven");
        bench.Store.Ended(new DomainId(7));
        bench.Store.Ended(new DomainId(7));
        Assert.That(domain0.TakeEvents(), Is.EqualTo(new[] { "@introduceDomain|in", "@releaseDomain|out" }));
        Assert.That(guest.TakeEvents(), Is.EqualTo(new[] { "@releaseDomain|mine" }));
        Assert.That(bench.Store.Resume(new DomainId(7)), Is.EqualTo(XenErrno.Success));
        bench.Store.Ended(new DomainId(7));
        Assert.That(domain0.TakeEvents(), Is.EqualTo(new[] { "@releaseDomain|out" }));
    }

    [Test]
    public void A_watch_that_was_taken_away_is_silent_even_for_what_waited()
    {
        StoreBench bench = new();
        using RingGuest guest = bench.Guest(5);
        _ = guest.Ask(StoreMessage.Watch, "data|t|");
        _ = guest.TakeEvents();
        for (int index = 0; index < 100; index++)
            bench.Client().Write($"/local/domain/5/data/a{index}", "");
        Assert.That(guest.Ask(StoreMessage.ResetWatches, "|"), Is.EqualTo("ResetWatches OK|"));
        guest.Events.Clear();
        bench.Client().Write("/local/domain/5/data/late", "");
        Assert.That(guest.TakeEvents(), Is.Empty);
        Assert.That(bench.Store.UsageOf(new DomainId(5)).Watches, Is.Zero);
    }

    [Test]
    public void A_client_in_process_hears_by_callback_one_call_at_a_time()
    {
        StoreBench bench = new();
        StoreClient client = bench.Client();
        using BlockingCollection<string> seen = [];
        int inside = 0;
        using (client.Watch("/data", path =>
        {
            Assert.That(Interlocked.Increment(ref inside), Is.EqualTo(1));
            seen.Add(path);
            _ = Interlocked.Decrement(ref inside);
        }))
        {
            Assert.That(seen.Take(), Is.EqualTo("/data"));
            for (int index = 0; index < 200; index++)
                client.Write($"/data/{index}", "x");
            Assert.That(Enumerable.Range(0, 200).Select(_ => seen.Take()), Is.EquivalentTo(Enumerable.Range(0, 200).Select(index => $"/data/{index}")));
        }

        client.Write("/data/after", "");
        Assert.That(seen, Is.Empty);
        Assert.That(bench.Store.UsageOf(default).Watches, Is.Zero);
    }

    [Test]
    public async Task A_client_in_process_hears_by_stream()
    {
        StoreBench bench = new();
        StoreClient client = bench.Client();
        List<string> seen = [];
        await foreach (string path in client.WatchAsync("/data"))
        {
            seen.Add(path);
            if (seen.Count == 3)
                break;
            client.Write($"/data/{seen.Count}", "x");
        }

        Assert.That(seen, Is.EqualTo(new[] { "/data", "/data/1", "/data/2" }));
        Assert.That(bench.Store.UsageOf(default).Watches, Is.Zero);
    }
}
