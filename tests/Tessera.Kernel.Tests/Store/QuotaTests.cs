using System.Text;
using Tessera.Kernel.Store;
using Tessera.Sdk;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Tests.Store;

/// <summary>What a domain may take of the store, and that a hostile one takes no more, breaks nothing and holds nobody up.</summary>
internal sealed class QuotaTests
{
    private static readonly DomainId Five = new(5);

    [Test]
    public void Nodes_values_permissions_watches_and_transactions_are_bounded()
    {
        StoreQuota quota = new() { Nodes = 20, ValueBytes = 10, Permissions = 2, Watches = 3, Transactions = 2, TransactionSteps = 8 };
        StoreBench bench = new(quota);
        using RingGuest guest = bench.Guest(5);
        Assert.Multiple(() =>
        {
            Assert.That(guest.Ask(StoreMessage.Write, "data/a|0123456789"), Is.EqualTo("Write OK|"));
            Assert.That(guest.Ask(StoreMessage.Write, "data/a|0123456789x"), Is.EqualTo("Error ENOSPC|"));
            Assert.That(guest.Ask(StoreMessage.SetPermissions, "data/a|n5|r6|r7|"), Is.EqualTo("Error ENOSPC|"));
            for (int index = 0; index < 9; index++)
                Assert.That(guest.Ask(StoreMessage.MakeDirectory, $"data/n{index}|"), Is.EqualTo("MakeDirectory OK|"));
            Assert.That(guest.Ask(StoreMessage.MakeDirectory, "data/more|"), Is.EqualTo("Error ENOSPC|"));
            Assert.That(guest.Ask(StoreMessage.Write, "data/a|again"), Is.EqualTo("Write OK|"), "what is there can be written");
            Assert.That(guest.Ask(StoreMessage.Remove, "data/n0|"), Is.EqualTo("Remove OK|"));
            Assert.That(guest.Ask(StoreMessage.Write, "data/b/c|"), Is.EqualTo("Error ENOSPC|"), "parents count");
            Assert.That(guest.Ask(StoreMessage.Write, "data/b|"), Is.EqualTo("Write OK|"));
            for (int index = 0; index < 3; index++)
                Assert.That(guest.Ask(StoreMessage.Watch, $"data|{index}|"), Is.EqualTo("Watch OK|"));
            Assert.That(guest.Ask(StoreMessage.Watch, "data|3|"), Is.EqualTo("Error E2BIG|"));
            Assert.That(guest.Ask(StoreMessage.TransactionStart, "|"), Is.EqualTo("TransactionStart 1|"));
            Assert.That(guest.Ask(StoreMessage.TransactionStart, "|"), Is.EqualTo("TransactionStart 2|"));
            Assert.That(guest.Ask(StoreMessage.TransactionStart, "|"), Is.EqualTo("Error ENOSPC|"));
            for (int index = 0; index < 8; index++)
                Assert.That(guest.Ask(StoreMessage.Write, $"data/a|{index}", transaction: 1), Is.EqualTo("Write OK|"));
            Assert.That(guest.Ask(StoreMessage.Write, "data/a|9", transaction: 1), Is.EqualTo("Error ENOSPC|"));
            for (int index = 1; index <= 8; index++)
                Assert.That(guest.Ask(StoreMessage.Read, $"data/n{index}|", transaction: 2), Is.EqualTo("Read "));
            Assert.That(guest.Ask(StoreMessage.Read, "data|", transaction: 2), Is.EqualTo("Error ENOSPC|"));
            Assert.That(guest.Ask(StoreMessage.ResetWatches, "|"), Is.EqualTo("ResetWatches OK|"));
            Assert.That(bench.Store.UsageOf(Five), Is.EqualTo((20, 0, 0)));
            bench.Client().Write("/local/domain/5/data/by0", "domain 0 is not bound by a guest's quota");
        });
    }

    [Test]
    public void Two_transactions_together_cannot_own_more_than_one_may()
    {
        StoreBench bench = new(new StoreQuota { Nodes = 13 });
        using RingGuest guest = bench.Guest(5);
        _ = guest.Ask(StoreMessage.TransactionStart, "|");
        _ = guest.Ask(StoreMessage.TransactionStart, "|");
        Assert.That(guest.Ask(StoreMessage.Write, "data/a/b|", transaction: 1), Is.EqualTo("Write OK|"));
        Assert.That(guest.Ask(StoreMessage.Write, "data/c/d|", transaction: 2), Is.EqualTo("Write OK|"));
        Assert.That(guest.Ask(StoreMessage.TransactionEnd, "T|", transaction: 1), Is.EqualTo("TransactionEnd OK|"));
        Assert.That(guest.Ask(StoreMessage.TransactionEnd, "T|", transaction: 2), Is.EqualTo("Error ENOSPC|"));
        Assert.That(guest.Ask(StoreMessage.Directory, "data|"), Is.EqualTo("Directory a|"));
        Assert.That(bench.Store.UsageOf(Five).Nodes, Is.EqualTo(12));
    }

    [Test]
    public void A_path_of_more_names_than_anybody_needs_is_refused()
    {
        StoreBench bench = new();
        using RingGuest guest = bench.Guest(5);
        string deep = "data" + string.Concat(Enumerable.Repeat("/a", StorePath.MaxNames - 3));
        Assert.That(guest.Ask(StoreMessage.Write, $"{deep}|x"), Is.EqualTo("Error EINVAL|"));
        Assert.That(guest.Ask(StoreMessage.Watch, $"{deep}|token|"), Is.EqualTo("Error EINVAL|"));
        string within = "data" + string.Concat(Enumerable.Repeat("/a", StorePath.MaxNames - 4));
        Assert.That(guest.Ask(StoreMessage.Write, $"{within}|x"), Is.EqualTo("Write OK|"));
        Assert.That(guest.Ask(StoreMessage.Read, $"{within}|"), Is.EqualTo("Read x"));
        Assert.That(guest.Ask(StoreMessage.Remove, "data/a|"), Is.EqualTo("Remove OK|"));
        Assert.That(bench.Store.UsageOf(Five).Nodes, Is.EqualTo(10));
        Assert.That(guest.Ask(StoreMessage.Read, $"/{new string('a', 3072)}|"), Is.EqualTo("Error EINVAL|"));
        Assert.That(guest.Ask(StoreMessage.Read, $"{new string('a', 2049)}|"), Is.EqualTo("Error EINVAL|"));
    }

    [Test]
    public void What_transactions_keep_is_bounded_by_domain_and_given_back()
    {
        StoreBench bench = new(new StoreQuota { Burst = 1_000_000 });
        using RingGuest guest = bench.Guest(5);
        long before = GC.GetTotalMemory(forceFullCollection: true);
        int kept = 0, transactions = bench.Store.Quota.Transactions;
        for (uint transaction = 1; transaction <= transactions; transaction++)
        {
            Assert.That(guest.Ask(StoreMessage.TransactionStart, "|"), Is.EqualTo($"TransactionStart {transaction}|"));
            for (int index = 0; index < 1024; index++)
            {
                string path = $"data/{index:0000}{new string('n', 1900)}";
                if (guest.Ask(StoreMessage.Read, $"{path}|", transaction) == "Error ENOSPC|")
                    break;
                kept++;
            }
        }

        Assert.That(kept, Is.GreaterThan(50), "an honest transaction has room");
        Assert.That(GC.GetTotalMemory(forceFullCollection: true) - before, Is.LessThan(2 * bench.Store.Quota.TransactionBytes));
        for (uint transaction = 1; transaction <= transactions; transaction++)
            Assert.That(guest.Ask(StoreMessage.TransactionEnd, "F|", transaction), Is.EqualTo("TransactionEnd OK|"));
        Assert.That(guest.Ask(StoreMessage.TransactionStart, "|"), Is.EqualTo($"TransactionStart {transactions + 1}|"));
        Assert.That(guest.Ask(StoreMessage.Read, $"data/{new string('n', 1900)}|", (uint)transactions + 1), Is.EqualTo("Error ENOENT|"), "all was given back");
    }

    [Test]
    public void A_neighbour_waits_for_so_much_work_and_no_more()
    {
        StoreBench bench = new(new StoreQuota { Burst = 1_000_000 });
        using RingGuest hostile = bench.Guest(5);
        using RingGuest quiet = bench.Guest(6);
        StoreQuota quota = bench.Store.Quota;
        string deep = "data" + string.Concat(Enumerable.Repeat("/a", StorePath.MaxNames - 4));
        byte[] name = StoreHeader.Message(StoreMessage.Read, 1, 0, "name\0"u8);
        long longest = 0;
        uint number = 0;
        for (int round = 0; round < 20; round++)
        {
            _ = hostile.Ask(StoreMessage.TransactionStart, "|");
            number++;
            string answer;
            do
                answer = hostile.Ask(StoreMessage.Write, $"{deep}|{round}", number);
            while (answer == "Write OK|");
            Assert.That(answer, Is.EqualTo("Error ENOSPC|"), "at some length it is enough");
            // Somebody else's change makes the commit look at everything again and do everything again.
            bench.Client().Write("/local/domain/6/data/other", $"{round}");
            hostile.Put(StoreHeader.Message(StoreMessage.TransactionEnd, 1, number, "T\0"u8));
            hostile.Connection.Notified();
            quiet.Put(name);
            quiet.Connection.Notified();
            long before = bench.Store.StepsOf(new DomainId(5));
            while (quiet.Word(StoreRing.ResponseProd) == quiet.Word(StoreRing.ResponseCons))
                Assert.That(bench.Server.ServeNext(), Is.True);
            longest = Math.Max(longest, bench.Store.StepsOf(new DomainId(5)) - before);
            bench.Serve();
            _ = hostile.Receive();
            _ = quiet.Receive();
        }

        // Each name of the transaction is found twice, then walked and copied: one commit, and what else fits into a turn.
        Assert.That(longest, Is.InRange(quota.TransactionNames, (5 * quota.TransactionNames) + (StoreServer.RequestsPerTurn * quota.StepsPerRequest)));
    }

    [Test]
    public void Long_requests_are_charged_as_many()
    {
        StoreBench bench = new(new StoreQuota { Burst = 100, RequestsPerSecond = 1000 });
        using RingGuest guest = bench.Guest(5);
        string deep = "data" + string.Concat(Enumerable.Repeat("/a", StorePath.MaxNames - 4));
        byte[] write = StoreHeader.Message(StoreMessage.Write, 1, 0, Encoding.ASCII.GetBytes($"{deep}\0x"));
        int answered = 0;
        for (int round = 0; round < 200; round++)
        {
            _ = guest.Flood(write);
            bench.Serve();
            answered += guest.Receive().Count;
        }

        // Walked once and copied with twice the price: six times the steps of one request, and the request itself.
        Assert.That(answered, Is.InRange(10, 30), "of a burst of 100, while no time passes");
    }

    [Test]
    public void A_list_of_long_names_costs_no_more_than_its_answer()
    {
        StoreBench bench = new();
        using RingGuest guest = bench.Guest(5);
        for (int index = 0; index < 990; index++)
            bench.Client().Write($"/local/domain/5/data/{index:000}{new string('n', 1500)}", "");
        Assert.That(guest.Ask(StoreMessage.Directory, "data|"), Is.EqualTo("Error E2BIG|"));
        Assert.That(guest.Ask(StoreMessage.DirectoryPart, "data|700000|"), Does.Contain("nnn"));
        long before = GC.GetAllocatedBytesForCurrentThread();
        _ = guest.Ask(StoreMessage.Directory, "data|");
        _ = guest.Ask(StoreMessage.DirectoryPart, "data|700000|");
        Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.LessThan(200_000), "the names are a megabyte and a half");
    }

    [Test]
    public void A_guest_that_reads_nothing_is_not_read_and_its_events_stay_bounded()
    {
        StoreBench bench = new();
        using RingGuest guest = bench.Guest(5);
        for (int index = 0; index < 100; index++)
            _ = guest.Ask(StoreMessage.Watch, $"data|{index}|");
        _ = guest.TakeEvents();
        byte[] read = StoreHeader.Message(StoreMessage.Read, 1, 0, "data\0"u8);
        uint first = guest.Word(StoreRing.RequestCons);
        for (int round = 0; round < 100; round++)
        {
            _ = guest.Flood(read);
            bench.Serve();
        }

        // 64 answers of 16 bytes fill the response ring, 20 more wait, the rest of the requests stay where they are.
        Assert.That((guest.Word(StoreRing.RequestCons) - first) / (uint)read.Length, Is.InRange(80u, 90u));
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int index = 0; index < 2000; index++)
            bench.Client().Write($"/local/domain/5/data/{index % 1000}", "x");
        Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.LessThan(200L << 20));

        List<(StoreHeader, string)> answers = [];
        for (int round = 0; round < 100; round++)
        {
            answers.AddRange(guest.Receive());
            bench.Serve();
        }

        Assert.That(answers, Has.Count.GreaterThan(84), "once it reads, everything is answered");
        Assert.That(guest.Events, Has.Count.InRange(256, 256 + 100));
        Assert.That(Enumerable.Range(0, 100).Where(index => !guest.Events.Any(text => text.EndsWith($"|{index}", StringComparison.Ordinal))), Is.Empty, "every watch fired at least once");
    }

    [Test]
    public void A_flood_gets_its_rate_and_the_others_their_turns()
    {
        StoreBench bench = new(new StoreQuota { Burst = 100, RequestsPerSecond = 1000 });
        using RingGuest flood = bench.Guest(5);
        using RingGuest quiet = bench.Guest(6);
        byte[] read = StoreHeader.Message(StoreMessage.Read, 1, 0, "name\0"u8);
        int answered = 0;
        for (int round = 0; round < 200; round++)
        {
            _ = flood.Flood(read);
            bench.Serve();
            answered += flood.Receive().Count;
            if (round % 50 == 0)
                Assert.That(quiet.Ask(StoreMessage.Read, "name|"), Is.EqualTo("Read guest6"));
        }

        Assert.That(answered, Is.EqualTo(100), "the burst, while no time passes");
        for (int round = 0; round < 200; round++)
        {
            bench.Time.Pass(TimeSpan.FromMilliseconds(10));
            _ = flood.Flood(read);
            bench.Serve();
            answered += flood.Receive().Count;
        }

        Assert.That(answered, Is.InRange(1900, 2101), "two seconds at a thousand a second");
    }

    [Test]
    public void One_turn_serves_so_many_requests_and_no_more()
    {
        StoreBench bench = new();
        using RingGuest flood = bench.Guest(5);
        using RingGuest quiet = bench.Guest(6);
        byte[] unwatch = StoreHeader.Message(StoreMessage.Directory, 1, 0, "x\0"u8);
        Assert.That(flood.Flood(unwatch), Is.GreaterThan(StoreServer.RequestsPerTurn));
        quiet.Flood(StoreHeader.Message(StoreMessage.Read, 1, 0, Encoding.ASCII.GetBytes("name\0")));
        Assert.That(bench.Server.ServeNext(), Is.True);
        Assert.That(flood.Word(StoreRing.RequestCons), Is.EqualTo(StoreServer.RequestsPerTurn * unwatch.Length));
        Assert.That(bench.Server.ServeNext(), Is.True);
        Assert.That(quiet.Word(StoreRing.ResponseProd), Is.Not.Zero, "the second turn is the other one's");
    }
}
