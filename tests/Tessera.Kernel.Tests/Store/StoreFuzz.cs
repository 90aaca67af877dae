using System.Globalization;
using System.Text;
using Tessera.Kernel.Store;
using Tessera.Sdk;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Tests.Store;

/// <summary>
/// Three domains that do to the store what they can: floods, watches and transactions without end, deep and long paths, other domains' nodes, forged
/// indexes, messages that are none, answers that are never taken. Quotas hold, nothing fails, a neighbour's secrets stay its own, and each of its requests is
/// answered within a few turns. Time is the test's. TESSERA_FUZZ_REQUESTS says how many requests, TESSERA_FUZZ_SEED from which seed.
/// </summary>
internal sealed class StoreFuzz
{
    private const string Secret = "s3cret";

    /// <summary>One turn of each hostile domain, two of the neighbour's own: to be asked, and to say what waited.</summary>
    private const int MostTurns = 5;

    private static long Requests => long.Parse(Environment.GetEnvironmentVariable("TESSERA_FUZZ_REQUESTS") ?? "100000", CultureInfo.InvariantCulture);

    private static int Seed => int.Parse(Environment.GetEnvironmentVariable("TESSERA_FUZZ_SEED") ?? "20261122", CultureInfo.InvariantCulture);

    [Test]
    public void Hostile_domains_hurt_only_themselves()
    {
        TestContext.Out.WriteLine($"seed {Seed}, {Requests} requests");
        StoreBench bench = new();
        using RingGuest neighbour = bench.Guest(8);
        List<RingGuest> hostile = [bench.Guest(5), bench.Guest(6), bench.Guest(7)];
        Random random = new(Seed);
        StoreAttack attack = new(bench, random);
        Assert.That(neighbour.Ask(StoreMessage.Write, $"data/{Secret}|{Secret}"), Is.EqualTo("Write OK|"));
        Assert.That(neighbour.Ask(StoreMessage.Watch, "data|mine|"), Is.EqualTo("Watch OK|"));
        _ = neighbour.TakeEvents();
        long before = GC.GetTotalMemory(forceFullCollection: true);
        long most = 0;
        (int Nodes, int Watches, int Transactions) reached = (0, 0, 0);
        int turns = 0;
        long looks = 0;
        for (long sent = 0; sent < Requests;)
        {
            for (int index = 0; index < hostile.Count; index++)
            {
                sent += attack.Batch(hostile[index]);
                foreach (string said in attack.Heard)
                    Assert.That(said, Does.Not.Contain(Secret));
                (int nodes, int watches, int transactions) = bench.Store.UsageOf(hostile[index].Domain);
                reached = (Math.Max(reached.Nodes, nodes), Math.Max(reached.Watches, watches), Math.Max(reached.Transactions, transactions));
                Assert.That(nodes <= bench.Store.Quota.Nodes && watches <= bench.Store.Quota.Watches && transactions <= bench.Store.Quota.Transactions, Is.True, $"{nodes} nodes, {watches} watches, {transactions} transactions");
            }

            if (random.Next(8) == 0)
                turns = Math.Max(turns, IsServed(bench, neighbour, hostile, attack, ++looks));
            if (looks % 128 == 100)
                most = Math.Max(most, GC.GetTotalMemory(forceFullCollection: true) - before);
            bench.Time.Pass(TimeSpan.FromMilliseconds(random.Next(20)));
        }

        Assert.That(neighbour.Ask(StoreMessage.Read, $"data/{Secret}|"), Is.EqualTo($"Read {Secret}"));
        foreach (RingGuest guest in hostile)
        {
            guest.Dispose();
            Assert.That(bench.Store.UsageOf(guest.Domain) is (_, 0, 0), Is.True, "watches and transactions end with their domain");
        }

        TestContext.Out.WriteLine($"{attack.Granted} requests granted, {attack.Refused} refused, {attack.Events} events, {attack.Restarts} connections made anew; the neighbour was looked after {looks} times and waited {turns} turns at most; {most >> 10} KiB at most; {reached}");
        Assert.That((attack.Granted > 0, attack.Refused > 0, attack.Events > 0), Is.EqualTo((true, true, true)));
        Assert.That(reached, Is.EqualTo((bench.Store.Quota.Nodes, bench.Store.Quota.Watches, bench.Store.Quota.Transactions)), "each quota was reached, and none exceeded");
        // What three domains may own: a thousand nodes of 2 KiB each, ten old trees, and tokens.
        Assert.That(most, Is.LessThan(256L << 20));
    }

    /// <summary>The neighbour reads, is told of a change and commits a transaction while the others' rings are full.</summary>
    /// <returns>The most turns that it waited.</returns>
    private static int IsServed(StoreBench bench, RingGuest neighbour, List<RingGuest> hostile, StoreAttack attack, long number)
    {
        foreach (RingGuest guest in hostile)
            attack.Fill(guest);
        int turns = Turns(bench, neighbour, StoreHeader.Message(StoreMessage.Read, 1, 0, "name\0"u8), answer => answer == "guest8");
        bench.Client().Write($"/local/domain/8/data/{Secret}/{number % 10}", $"{number}");
        Assert.That(neighbour.TakeEvents(), Does.Contain($"data/{Secret}/{number % 10}|mine"));
        string id = neighbour.Ask(StoreMessage.TransactionStart, "|").Split(' ')[1].TrimEnd('|');
        uint transaction = uint.Parse(id, CultureInfo.InvariantCulture);
        _ = neighbour.Ask(StoreMessage.Write, $"data/count|{number}", transaction);
        Assert.That(neighbour.Ask(StoreMessage.TransactionEnd, "T|", transaction), Is.EqualTo("TransactionEnd OK|"));
        Assert.That(neighbour.Ask(StoreMessage.Read, "data/count|"), Is.EqualTo($"Read {number}"));
        _ = neighbour.TakeEvents();
        return turns;
    }

    private static int Turns(StoreBench bench, RingGuest neighbour, byte[] request, Func<string, bool> isAnswer)
    {
        neighbour.Put(request);
        neighbour.Connection.Notified();
        for (int turn = 1; turn <= MostTurns; turn++)
        {
            Assert.That(bench.Server.ServeNext(), Is.True);
            if (neighbour.TakeWithoutServing().Any(isAnswer))
                return turn;
        }

        throw new AssertionException($"the neighbour waits for more than {MostTurns} turns");
    }
}

/// <summary>What hostile domains send, by a seed.</summary>
internal sealed class StoreAttack(StoreBench bench, Random random)
{
    private static readonly string[] Roots = ["data", "/local/domain/5/data", "/local/domain/6/data", "/local/domain/7", "/local/domain/8/data", "/local/domain/8", "/local/domain/0", "/", "", "/local", "device/vbd", "@introduceDomain", "@releaseDomain", "@", "//", "data/", "../8/data", "da\u00FFta"];

    private uint _number;

    public long Granted { get; private set; }

    public long Refused { get; private set; }

    public long Events { get; private set; }

    public long Restarts { get; private set; }

    /// <summary>What the last batch was answered and told.</summary>
    public List<string> Heard { get; } = [];

    /// <summary>Sends some requests, and perhaps takes the answers.</summary>
    /// <returns>How many.</returns>
    public int Batch(RingGuest guest)
    {
        Heard.Clear();
        int count = Fill(guest);
        for (int turns = random.Next(8); turns > 0; turns--)
            _ = bench.Server.ServeNext();
        bool forged = random.Next(300) == 0;
        if (forged)
            guest.Word(StoreRing.RequestCons + (4 * random.Next(4))) = (uint)random.NextInt64(1L << 32);
        else if (random.Next(300) == 0)
            guest.Put(StoreHeader.Message(StoreMessage.Write, 1, 0, new byte[random.Next(8)]).AsSpan(0, random.Next(16)));
        if (forged || guest.Word(StoreRing.Error) != 0 || random.Next(500) == 0)
        {
            guest.Connection.Notified();
            bench.Serve();
            guest.Restart();
            bench.Serve();
            Restarts++;
        }
        else if (random.Next(4) != 0)
        {
            Take(guest);
        }

        Assert.That(bench.Failures, Is.Empty);
        return count;
    }

    /// <summary>Fills a ring with requests, notified and not served.</summary>
    public int Fill(RingGuest guest)
    {
        int count = 0;
        for (byte[] message = Message(); guest.Room >= message.Length; message = Message())
        {
            guest.Put(message);
            count++;
        }

        guest.Connection.Notified();
        return count;
    }

    private void Take(RingGuest guest)
    {
        int known = guest.Events.Count;
        foreach ((StoreHeader header, string payload) in guest.Receive())
        {
            if (header.Type == (uint)StoreMessage.Error)
                Refused++;
            else
                Granted++;
            Heard.Add(payload);
        }

        Events += guest.Events.Count - known;
        Heard.AddRange(guest.Events);
        guest.Events.Clear();
    }

    private byte[] Message()
    {
        _number++;
        if (random.Next(40) == 0)
        {
            byte[] noise = StoreHeader.Message((StoreMessage)random.Next(30), _number, (uint)random.Next(20), new byte[random.Next(64)]);
            random.NextBytes(noise.AsSpan(StoreHeader.Bytes));
            if (random.Next(50) == 0)
                random.NextBytes(noise);
            return noise;
        }

        StoreMessage type = random.Next(10) switch
        {
            0 => StoreMessage.Watch,
            1 => StoreMessage.TransactionStart,
            2 or 3 => StoreMessage.Write,
            4 => StoreMessage.MakeDirectory,
            _ => (StoreMessage)random.Next(24),
        };
        // What would take everything away comes seldom, so that quotas are reached.
        if (type is StoreMessage.ResetWatches && random.Next(100) != 0)
            type = StoreMessage.MakeDirectory;
        uint transaction = random.Next(4) == 0 ? (uint)random.Next(16) : 0;
        return StoreHeader.Message(type, _number, type == StoreMessage.TransactionStart && random.Next(8) != 0 ? 0 : transaction, Encoding.Latin1.GetBytes(Payload(type).Replace('|', '\0')));
    }

    private string Payload(StoreMessage type) => type switch
    {
        StoreMessage.Write => $"{Given()}|{new string('v', random.Next(8) == 0 ? random.Next(700) : random.Next(20))}",
        StoreMessage.Remove => random.Next(500) == 0 ? $"{Given()}|" : $"data/{Name()}/{Name()}/{Name()}|",
        StoreMessage.Watch or StoreMessage.Unwatch => $"{Given()}|{(random.Next(8) == 0 ? new string('t', random.Next(400)) : $"{random.Next(64)}")}|",
        StoreMessage.SetPermissions => $"{Given()}|{string.Concat(Enumerable.Range(0, random.Next(7)).Select(_ => $"{"nrwb"[random.Next(4)]}{random.Next(9)}|"))}",
        StoreMessage.TransactionEnd => random.Next(8) == 0 ? "x|" : random.Next(2) == 0 ? "T|" : "F|",
        StoreMessage.TransactionStart or StoreMessage.ResetWatches => "|",
        StoreMessage.DirectoryPart => $"{Given()}|{random.Next(8000)}|",
        StoreMessage.SetTarget => $"{random.Next(10)}|{random.Next(10)}|",
        StoreMessage.Introduce => $"{random.Next(70000)}|{random.Next()}|1|",
        StoreMessage.Release or StoreMessage.Resume or StoreMessage.GetDomainPath or StoreMessage.IsDomainIntroduced => $"{random.Next(10)}|",
        _ => $"{Given()}|",
    };

    private string Given()
    {
        StringBuilder path = new(random.Next(5) == 0 ? Roots[random.Next(Roots.Length)] : "data");
        for (int depth = random.Next(random.Next(32) == 0 ? 200 : 4); depth > 0; depth--)
            _ = path.Append('/').Append(random.Next(16) == 0 ? new string('n', random.Next(300)) : Name());
        return path.Length > 900 ? path.ToString(0, 900) : path.ToString();
    }

    private string Name() => $"{(char)('a' + random.Next(12))}{random.Next(12)}";
}
