using Tessera.Kernel.Store;
using Tessera.Sdk;

namespace Tessera.Kernel.Tests.Store;

/// <summary>Who may do what with a node, for every kind of entry.</summary>
internal sealed class PermissionTests
{
    // What domain 5 may do with a node of these permissions: Read, Write, Manage (set permissions).
    [TestCase("n5", "RWM")]
    [TestCase("n6", "")]
    [TestCase("r6", "R")]
    [TestCase("w6", "W")]
    [TestCase("b6", "RW")]
    [TestCase("n6 r5", "R")]
    [TestCase("n6 w5", "W")]
    [TestCase("n6 b5", "RW")]
    [TestCase("b6 n5", "")]
    [TestCase("r6 w5", "W")]
    [TestCase("n6 r7", "")]
    [TestCase("n6 r7 b5", "RW")]
    [TestCase("n6 n5 b5", "")]
    [TestCase("n0 r5", "R")]
    public void The_first_entry_that_names_a_domain_decides_and_the_default_otherwise(string permissions, string allowed)
    {
        StoreBench bench = new();
        bench.Store.Introduce(new DomainId(5), "five");
        StoreClient domain0 = bench.Client();
        domain0.Write("/x/node", "value");
        domain0.SetPermissions("/x/node", [.. permissions.Split(' ').Select(Parse)]);
        StoreClient five = bench.Client(5);
        Assert.Multiple(() =>
        {
            Assert.That(May(() => five.Read("/x/node")), Is.EqualTo(allowed.Contains('R')), "read");
            Assert.That(May(() => five.List("/x/node")), Is.EqualTo(allowed.Contains('R')), "list");
            Assert.That(May(() => five.GetPermissions("/x/node")), Is.EqualTo(allowed.Contains('R')), "get permissions");
            Assert.That(May(() => five.Write("/x/node", "other")), Is.EqualTo(allowed.Contains('W')), "write");
            Assert.That(May(() => five.Write("/x/node/below", "new")), Is.EqualTo(allowed.Contains('W')), "create");
            Assert.That(May(() => five.SetPermissions("/x/node", [Parse(permissions.Split(' ')[0])])), Is.EqualTo(allowed.Contains('M')), "set permissions");
            Assert.That(May(() => five.Remove("/x/node")), Is.EqualTo(allowed.Contains('W')), "remove");
        });
    }

    [Test]
    public void A_new_node_has_its_parents_permissions_and_its_makers_ownership()
    {
        StoreBench bench = new();
        StoreClient domain0 = bench.Client();
        domain0.Write("/x", "");
        domain0.SetPermissions("/x", [Parse("r6"), Parse("b5"), Parse("n7")]);
        bench.Client(5).Write("/x/a/b", "");
        domain0.Write("/x/c", "");
        Assert.Multiple(() =>
        {
            Assert.That(Text(domain0, "/x/a"), Is.EqualTo("r5 b5 n7"));
            Assert.That(Text(domain0, "/x/a/b"), Is.EqualTo("r5 b5 n7"));
            Assert.That(Text(domain0, "/x/c"), Is.EqualTo("r6 b5 n7"));
            Assert.That(bench.Store.UsageOf(new DomainId(5)).Nodes, Is.EqualTo(2));
        });
    }

    [Test]
    public void What_is_not_there_looks_like_what_may_not_be_seen()
    {
        StoreBench bench = new();
        StoreClient domain0 = bench.Client();
        domain0.Write("/x/there", "");
        StoreClient five = bench.Client(5);
        foreach (string path in (string[])["/x/there", "/x/absent", "/x/absent/below", "/y"])
            Assert.That(Assert.Throws<StoreException>(() => five.Read(path))!.Error, Is.EqualTo(XenErrno.EACCES), path);
    }

    [Test]
    public void A_released_domain_leaves_no_trace_in_others_permissions()
    {
        StoreBench bench = new();
        bench.Store.Introduce(new DomainId(5), "five");
        StoreClient domain0 = bench.Client();
        domain0.Write("/x/granted", "");
        domain0.SetPermissions("/x/granted", [Parse("n6"), Parse("b5"), Parse("r7")]);
        domain0.Write("/x/owned", "");
        domain0.SetPermissions("/x/owned", [Parse("b5"), Parse("r7")]);
        bench.Store.Release(new DomainId(5));
        Assert.Multiple(() =>
        {
            Assert.That(Text(domain0, "/x/granted"), Is.EqualTo("n6 r7"));
            Assert.That(Text(domain0, "/x/owned"), Is.EqualTo("n0 r7"));
            Assert.That(domain0.Read("/local/domain/5"), Is.Null);
            Assert.That(bench.Store.UsageOf(new DomainId(5)), Is.EqualTo((0, 0, 0)));
        });
    }

    private static string Text(StoreClient client, string path) => string.Join(' ', client.GetPermissions(path));

    private static StorePermission Parse(string text) =>
        StorePermission.TryParse(text, out StorePermission permission) ? permission : throw new AssertionException(text);

    private static bool May(Action action)
    {
        try
        {
            action();
            return true;
        }
        catch (StoreException exception)
        {
            Assert.That(exception.Error, Is.EqualTo(XenErrno.EACCES));
            return false;
        }
    }
}
