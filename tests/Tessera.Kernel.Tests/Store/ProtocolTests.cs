using Tessera.Kernel.Store;
using Tessera.Sdk;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Tests.Store;

/// <summary>The wire protocol, request by request, over a ring; '|' stands for the zero byte as in its specification.</summary>
internal sealed class ProtocolTests
{
    private static readonly (StoreMessage Type, string Payload, string Answer)[] Conversation =
    [
        (StoreMessage.Read, "name|", "Read guest5"),
        (StoreMessage.Read, "/local/domain/5/name|", "Read guest5"),
        (StoreMessage.Read, "domid|", "Read 5"),
        (StoreMessage.Directory, "/local/domain/5|", "Directory attr|control|data|device|domid|drivers|error|feature|memory|name|"),
        (StoreMessage.Directory, "data|", "Directory "),
        (StoreMessage.Read, "data/missing|", "Error ENOENT|"),
        (StoreMessage.Read, "missing|", "Error ENOENT|"),
        (StoreMessage.Write, "data/a/b|one", "Write OK|"),
        (StoreMessage.Read, "data/a/b|", "Read one"),
        (StoreMessage.Read, "data/a|", "Read "),
        (StoreMessage.Directory, "data|", "Directory a|"),
        (StoreMessage.Write, "data/bytes|1|2|", "Write OK|"),
        (StoreMessage.Read, "data/bytes|", "Read 1|2|"),
        (StoreMessage.Write, "data/empty|", "Write OK|"),
        (StoreMessage.Write, "data/noend", "Error EINVAL|"),
        (StoreMessage.Write, "name|other", "Error EACCES|"),
        (StoreMessage.Write, "mine|1", "Error EACCES|"),
        (StoreMessage.MakeDirectory, "data/d/e|", "MakeDirectory OK|"),
        (StoreMessage.MakeDirectory, "data/a/b|", "MakeDirectory OK|"),
        (StoreMessage.Read, "data/a/b|", "Read one"),
        (StoreMessage.Remove, "data/a|", "Remove OK|"),
        (StoreMessage.Read, "data/a/b|", "Error ENOENT|"),
        (StoreMessage.Remove, "data/a|", "Remove OK|"),
        (StoreMessage.Remove, "data/a/b/c|", "Error ENOENT|"),
        (StoreMessage.Remove, "/|", "Error EINVAL|"),
        (StoreMessage.Remove, "name|", "Error EACCES|"),
        (StoreMessage.GetPermissions, "name|", "GetPermissions n0|r5|"),
        (StoreMessage.GetPermissions, "data/d|", "GetPermissions n5|"),
        (StoreMessage.SetPermissions, "data/d|n5|r7|b9|", "SetPermissions OK|"),
        (StoreMessage.GetPermissions, "data/d|", "GetPermissions n5|r7|b9|"),
        (StoreMessage.Write, "data/d/new|", "Write OK|"),
        (StoreMessage.GetPermissions, "data/d/new|", "GetPermissions n5|r7|b9|"),
        (StoreMessage.SetPermissions, "data/d|n6|", "Error EPERM|"),
        (StoreMessage.SetPermissions, "name|n5|", "Error EACCES|"),
        (StoreMessage.SetPermissions, "data/d|x5|", "Error EINVAL|"),
        (StoreMessage.SetPermissions, "data/d|r|", "Error EINVAL|"),
        (StoreMessage.SetPermissions, "data/d|", "Error EINVAL|"),
        (StoreMessage.SetPermissions, "data/nothing|n5|", "Error ENOENT|"),
        (StoreMessage.GetPermissions, "@releaseDomain|", "Error EACCES|"),
        (StoreMessage.SetPermissions, "@releaseDomain|n5|", "Error EACCES|"),
        (StoreMessage.Read, "|", "Error EINVAL|"),
        (StoreMessage.Read, "", "Error EINVAL|"),
        (StoreMessage.Read, "name", "Error EINVAL|"),
        (StoreMessage.Read, "data//a|", "Error EINVAL|"),
        (StoreMessage.Read, "data/|", "Error EINVAL|"),
        (StoreMessage.Read, "data/ä|", "Error EINVAL|"),
        (StoreMessage.Read, "/|", "Error EACCES|"),
        (StoreMessage.Directory, "/local/domain|", "Error EACCES|"),
        (StoreMessage.GetDomainPath, "7|", "GetDomainPath /local/domain/7|"),
        (StoreMessage.GetDomainPath, "seven|", "Error EINVAL|"),
        (StoreMessage.IsDomainIntroduced, "5|", "IsDomainIntroduced T|"),
        (StoreMessage.IsDomainIntroduced, "7|", "Error EACCES|"),
        (StoreMessage.Introduce, "5|1|1|", "Error EACCES|"),
        (StoreMessage.Release, "7|", "Error EACCES|"),
        (StoreMessage.Resume, "5|", "Error EACCES|"),
        (StoreMessage.SetTarget, "5|7|", "Error EACCES|"),
        (StoreMessage.Control, "help|", "Error EACCES|"),
        (StoreMessage.DirectoryPart, "data/d|x|", "Error EINVAL|"),
        (StoreMessage.Unwatch, "data|none|", "Error ENOENT|"),
        (StoreMessage.Watch, "data|", "Error EINVAL|"),
        (StoreMessage.Watch, "data|t|", "Watch OK|"),
        (StoreMessage.Watch, "/local/domain/5/data|t|", "Error EEXIST|"),
        (StoreMessage.Unwatch, "/local/domain/5/data|t|", "Unwatch OK|"),
        (StoreMessage.TransactionEnd, "T|", "Error ENOENT|"),
        (StoreMessage.TransactionEnd, "maybe|", "Error EINVAL|"),
        (StoreMessage.ResetWatches, "|", "ResetWatches OK|"),
        ((StoreMessage)20, "|", "Error ENOSYS|"),
        ((StoreMessage)23, "|", "Error ENOSYS|"),
        ((StoreMessage)0xffff, "|", "Error ENOSYS|"),
    ];

    [Test]
    public void Every_request_gets_the_specifications_answer()
    {
        StoreBench bench = new();
        using RingGuest guest = bench.Guest(5);
        Assert.Multiple(() =>
        {
            foreach ((StoreMessage type, string payload, string answer) in Conversation)
                Assert.That(guest.Ask(type, payload), Is.EqualTo(answer), $"{type} {payload}");
        });
    }

    [Test]
    public void Domain_0_introduces_releases_resumes_and_sets_targets()
    {
        StoreBench bench = new();
        using RingGuest guest = bench.Guest(5);
        bench.Store.Introduce(new DomainId(6), "six");
        using RingGuest domain0 = new(bench, default);
        Assert.Multiple(() =>
        {
            Assert.That(domain0.Ask(StoreMessage.IsDomainIntroduced, "5|"), Is.EqualTo("IsDomainIntroduced T|"));
            Assert.That(domain0.Ask(StoreMessage.IsDomainIntroduced, "7|"), Is.EqualTo("IsDomainIntroduced F|"));
            Assert.That(domain0.Ask(StoreMessage.Introduce, "5|1|1|"), Is.EqualTo("Introduce OK|"));
            Assert.That(domain0.Ask(StoreMessage.Introduce, "7|1|1|"), Is.EqualTo("Error EINVAL|"));
            Assert.That(domain0.Ask(StoreMessage.Resume, "7|"), Is.EqualTo("Error ENOENT|"));
            Assert.That(domain0.Ask(StoreMessage.SetTarget, "5|7|"), Is.EqualTo("Error ENOENT|"));
            Assert.That(guest.Ask(StoreMessage.Read, "/local/domain/6/data|"), Is.EqualTo("Error EACCES|"));
            Assert.That(domain0.Ask(StoreMessage.SetTarget, "5|6|"), Is.EqualTo("SetTarget OK|"));
            Assert.That(guest.Ask(StoreMessage.Write, "/local/domain/6/data|x"), Is.EqualTo("Write OK|"));
            Assert.That(domain0.Ask(StoreMessage.Release, "6|"), Is.EqualTo("Release OK|"));
            Assert.That(domain0.Ask(StoreMessage.Release, "6|"), Is.EqualTo("Error ENOENT|"));
        });
    }

    [Test]
    public void A_long_directory_comes_in_parts_with_its_generation()
    {
        StoreBench bench = new();
        using RingGuest guest = bench.Guest(5);
        StoreClient domain0 = bench.Client();
        List<string> names = [.. Enumerable.Range(0, 900).Select(index => $"child-{index:d4}")];
        foreach (string name in names)
            domain0.Write($"/local/domain/5/data/{name}", "");
        Assert.That(guest.Ask(StoreMessage.Directory, "data|"), Is.EqualTo("Error E2BIG|"));

        List<string> found = [];
        HashSet<string> generations = [];
        int offset = 0;
        while (true)
        {
            string[] words = guest.Ask(StoreMessage.DirectoryPart, $"data|{offset}|")["DirectoryPart ".Length..].Split('|')[..^1];
            _ = generations.Add(words[0]);
            foreach (string name in words[1..])
            {
                offset += name.Length + 1;
                if (name.Length > 0)
                    found.Add(name);
            }

            if (words[^1].Length == 0)
                break;
        }

        Assert.That(found, Is.EqualTo(names));
        Assert.That(generations, Has.Count.EqualTo(1));
        domain0.Write("/local/domain/5/data/zz", "");
        Assert.That(guest.Ask(StoreMessage.DirectoryPart, "data|100000|")["DirectoryPart ".Length..].TrimEnd('|'), Is.Not.EqualTo(generations.Single()));
    }

    [Test]
    public void Values_and_tokens_of_any_bytes_come_back_as_they_were()
    {
        StoreBench bench = new();
        using RingGuest guest = bench.Guest(5);
        string bytes = new([.. Enumerable.Range(1, 255).Where(value => value != '|').Select(value => (char)value)]);
        Assert.That(guest.Ask(StoreMessage.Write, $"data/x|{bytes}"), Is.EqualTo("Write OK|"));
        Assert.That(guest.Ask(StoreMessage.Read, "data/x|"), Is.EqualTo($"Read {bytes}"));
        Assert.That(guest.Ask(StoreMessage.Watch, $"data|{bytes}|"), Is.EqualTo("Watch OK|"));
        Assert.That(guest.TakeEvents(), Is.EqualTo(new[] { $"data|{bytes}" }));
    }

    [Test]
    public void Transactions_over_the_ring_are_numbered_isolated_and_refused_on_conflict()
    {
        StoreBench bench = new();
        using RingGuest guest = bench.Guest(5);
        Assert.That(guest.Ask(StoreMessage.TransactionStart, "|"), Is.EqualTo("TransactionStart 1|"));
        Assert.That(guest.Ask(StoreMessage.TransactionStart, "|"), Is.EqualTo("TransactionStart 2|"));
        Assert.Multiple(() =>
        {
            Assert.That(guest.Ask(StoreMessage.TransactionStart, "|", transaction: 1), Is.EqualTo("Error EBUSY|"));
            Assert.That(guest.Ask(StoreMessage.Read, "name|", transaction: 9), Is.EqualTo("Error ENOENT|"));
            Assert.That(guest.Ask(StoreMessage.Write, "data/a|in1", transaction: 1), Is.EqualTo("Write OK|"));
            Assert.That(guest.Ask(StoreMessage.Write, "data/a|in2", transaction: 2), Is.EqualTo("Write OK|"));
            Assert.That(guest.Ask(StoreMessage.Read, "data/a|"), Is.EqualTo("Error ENOENT|"));
            Assert.That(guest.Ask(StoreMessage.Read, "data/a|", transaction: 2), Is.EqualTo("Read in2"));
            Assert.That(guest.Ask(StoreMessage.TransactionEnd, "T|", transaction: 1), Is.EqualTo("TransactionEnd OK|"));
            Assert.That(guest.Ask(StoreMessage.TransactionEnd, "T|", transaction: 2), Is.EqualTo("Error EAGAIN|"));
            Assert.That(guest.Ask(StoreMessage.TransactionEnd, "T|", transaction: 2), Is.EqualTo("Error ENOENT|"));
            Assert.That(guest.Ask(StoreMessage.Read, "data/a|"), Is.EqualTo("Read in1"));
            Assert.That(bench.Store.UsageOf(new DomainId(5)).Transactions, Is.Zero);
        });
    }

    [Test]
    public void A_reconnected_ring_begins_anew()
    {
        StoreBench bench = new();
        using RingGuest guest = bench.Guest(5);
        Assert.That(guest.Word(StoreRing.ServerFeatures), Is.EqualTo(3));
        _ = guest.Ask(StoreMessage.Watch, "data|t|");
        _ = guest.Ask(StoreMessage.TransactionStart, "|");
        _ = guest.TakeEvents();
        guest.Word(StoreRing.RequestProd) += 5;
        guest.Word(StoreRing.Connection) = 1;
        guest.Connection.Notified();
        bench.Serve();
        Assert.Multiple(() =>
        {
            Assert.That(guest.Word(StoreRing.Connection), Is.Zero);
            Assert.That(guest.Word(StoreRing.RequestProd), Is.Zero);
            Assert.That(bench.Store.UsageOf(new DomainId(5)), Is.EqualTo((10, 0, 0)));
            Assert.That(guest.Ask(StoreMessage.Write, "data/a|1"), Is.EqualTo("Write OK|"));
            Assert.That(guest.TakeEvents(), Is.Empty);
        });
    }
}
