using System.Collections.Immutable;
using System.Text;
using FsCheck;
using FsCheck.Fluent;
using Tessera.Kernel.Store;
using Tessera.Sdk;

namespace Tessera.Kernel.Tests.Store;

/// <summary>
/// Random requests of three domains, in and out of transactions, against a plain serial model: what a committed transaction was told is
/// what it would have been told had it run alone at the moment of its commit.
/// </summary>
internal sealed class TransactionModelTests
{
    private static readonly string[] Paths = ["/a", "/a/b", "/a/b/c", "/a/b/c/d", "/d", "/d/e", "/d/f", "/g/h"];
    private static readonly string[] Lists = ["n{0}", "b{0}", "n{0} r2", "r{0} b1", "n0 b2", "w1 r2"];

    internal enum Verb
    {
        Begin,
        Commit,
        Abort,
        Read,
        List,
        Write,
        MakeDirectory,
        Remove,
        GetPermissions,
        SetPermissions,
    }

    /// <summary>One request: of domain Actor % 3, in its transaction when it has one and Actor is below 6.</summary>
    internal readonly record struct Step(int Actor, Verb Verb, int Path, int Value);

    [Test]
    public void Transactions_are_as_good_as_one_after_the_other()
    {
        Gen<Step> step = Gen.Choose(0, 8).SelectMany(actor => Gen.Choose(0, 29).SelectMany(verb => Gen.Choose(0, Paths.Length - 1)
            .SelectMany(path => Gen.Choose(0, 99).Select(value => new Step(actor, (Verb)(verb % 10 < 3 && verb >= 10 ? 5 : verb % 10), path, value)))));
        Prop.ForAll(Arb.From(Gen.ArrayOf(step)), steps => new Run().Play(steps)).Check(Config.QuickThrowOnFailure.WithMaxTest(1000).WithEndSize(150));
    }

    private sealed class Run
    {
        private readonly XenStore _store = new();
        private readonly StoreTransaction?[] _open = new StoreTransaction?[3];
        private readonly Model?[] _began = new Model?[3];
        private readonly List<(Step Step, string Answer)>[] _done = [[], [], []];
        private Model _model = Model.Start;

        public void Play(Step[] steps)
        {
            StoreClient domain0 = new(_store);
            domain0.Write("/a", "");
            domain0.SetPermissions("/a", [new(new DomainId(1), StoreAccess.None), new(new DomainId(2), StoreAccess.Read)]);
            domain0.Write("/d", "");
            domain0.SetPermissions("/d", [new(default, StoreAccess.Both)]);
            foreach (Step step in steps)
                Do(step);
            Assert.That(Dump(), Is.EqualTo(_model.ToString()));
        }

        private void Do(Step step)
        {
            int domain = step.Actor % 3;
            switch (step.Verb)
            {
                case Verb.Begin when _open[domain] is null:
                    Assert.That(_store.Begin(new DomainId((ushort)domain), out _open[domain]), Is.EqualTo(XenErrno.Success));
                    _began[domain] = _model;
                    _done[domain].Clear();
                    break;
                case Verb.Abort or Verb.Commit when _open[domain] is { } transaction:
                    End(domain, transaction, step.Verb == Verb.Commit);
                    break;
                case Verb.Begin or Verb.Abort or Verb.Commit:
                    break;
                default:
                    StoreTransaction? inside = step.Actor < 6 ? _open[domain] : null;
                    string answer = Ask(step, inside);
                    if (inside is null)
                        Assert.That(answer, Is.EqualTo(_model.Do(step, out _model)), $"{step}");
                    else
                        _done[domain].Add((step, answer));
                    break;
            }
        }

        private void End(int domain, StoreTransaction transaction, bool commit)
        {
            XenErrno error = _store.End(transaction, commit);
            _open[domain] = null;
            if (!commit)
                return;
            if (error != XenErrno.Success)
            {
                Assert.That(error, Is.EqualTo(XenErrno.EAGAIN));
                Assert.That(_model, Is.Not.SameAs(_began[domain]), "refused though nothing had changed");
                return;
            }

            // One that only read is as good as done when it began.
            bool changed = _done[domain].Exists(done => done.Step.Verb is Verb.Write or Verb.MakeDirectory or Verb.Remove or Verb.SetPermissions && done.Answer == "ok");
            Model model = changed ? _model : _began[domain]!;
            foreach ((Step step, string answer) in _done[domain])
                Assert.That(answer, Is.EqualTo(model.Do(step, out model)), $"{step} in a transaction");
            if (changed)
                _model = model;
        }

        private string Ask(Step step, StoreTransaction? transaction)
        {
            DomainId caller = new((ushort)(step.Actor % 3));
            string path = Paths[step.Path];
            XenErrno error;
            string answer = "ok";
            switch (step.Verb)
            {
                case Verb.Read:
                    error = _store.Look(caller, transaction, path, forChildren: false, out StoreNode? node);
                    answer = node is null ? "" : Encoding.ASCII.GetString(node.Value);
                    break;
                case Verb.List:
                    error = _store.Look(caller, transaction, path, forChildren: true, out StoreNode? parent);
                    answer = parent is null ? "" : string.Join(',', parent.Children.Keys);
                    break;
                case Verb.GetPermissions:
                    error = _store.GetPermissions(caller, transaction, path, out ImmutableArray<StorePermission> permissions);
                    answer = string.Join(' ', permissions);
                    break;
                default:
                    StoreUpdateKind kind = step.Verb switch
                    {
                        Verb.Write => StoreUpdateKind.Write,
                        Verb.MakeDirectory => StoreUpdateKind.MakeDirectory,
                        Verb.Remove => StoreUpdateKind.Remove,
                        _ => StoreUpdateKind.SetPermissions,
                    };
                    error = _store.Update(caller, transaction, new StoreUpdate(kind, path, Encoding.ASCII.GetBytes($"{step.Value}"), ListOf(step)));
                    break;
            }

            return error == XenErrno.Success ? answer : $"{error}";
        }

        private string Dump()
        {
            _ = _store.Look(default, null, "/", forChildren: true, out StoreNode? root);
            StringBuilder text = new();
            void Add(string path, StoreNode node)
            {
                _ = text.Append($"{path}={Encoding.ASCII.GetString(node.Value)} ({string.Join(' ', node.Permissions)})\n");
                foreach ((string name, StoreNode child) in node.Children)
                    Add(path == "/" ? $"/{name}" : $"{path}/{name}", child);
            }

            Add("/", root!);
            return text.ToString();
        }
    }

    private static ImmutableArray<StorePermission> ListOf(Step step) =>
    [
        .. string.Format(null, Lists[step.Value % Lists.Length], step.Actor % 3).Split(' ')
            .Select(word => StorePermission.TryParse(word, out StorePermission permission) ? permission : throw new AssertionException(word)),
    ];

    /// <summary>The store as a list of paths, written down anew from the specification.</summary>
    private sealed record Model(ImmutableSortedDictionary<string, (string Value, ImmutableArray<StorePermission> Permissions)> Nodes)
    {
        public static readonly Model Start = new(ImmutableSortedDictionary.Create<string, (string, ImmutableArray<StorePermission>)>(StringComparer.Ordinal)
            .Add("/", ("", [new(default, StoreAccess.None)]))
            .Add("/a", ("", [new(new DomainId(1), StoreAccess.None), new(new DomainId(2), StoreAccess.Read)]))
            .Add("/d", ("", [new(default, StoreAccess.Both)])));

        public string Do(Step step, out Model after)
        {
            after = this;
            int caller = step.Actor % 3;
            string path = Paths[step.Path];
            string nearest = path;
            while (!Nodes.ContainsKey(nearest))
                nearest = Parent(nearest);
            bool reads = step.Verb is Verb.Read or Verb.List or Verb.GetPermissions;
            if (!May(caller, Nodes[nearest].Permissions, reads ? StoreAccess.Read : StoreAccess.Write))
                return "EACCES";
            bool isThere = nearest == path;
            switch (step.Verb)
            {
                case Verb.Read:
                    return isThere ? Nodes[path].Value : "ENOENT";
                case Verb.List:
                    return isThere ? string.Join(',', Nodes.Keys.Where(key => key != "/" && Parent(key) == path).Select(key => key[(key.LastIndexOf('/') + 1)..]).Order(StringComparer.Ordinal)) : "ENOENT";
                case Verb.GetPermissions:
                    return isThere ? string.Join(' ', Nodes[path].Permissions) : "ENOENT";
                case Verb.Remove:
                    if (isThere)
                        after = new Model(Nodes.RemoveRange(Nodes.Keys.Where(key => key == path || key.StartsWith(path + "/", StringComparison.Ordinal))));
                    return isThere || Nodes.ContainsKey(Parent(path)) ? "ok" : "ENOENT";
                case Verb.SetPermissions:
                    ImmutableArray<StorePermission> permissions = ListOf(step);
                    if (!isThere)
                        return "ENOENT";
                    if (caller != 0 && Nodes[path].Permissions[0].Domain.Value != caller)
                        return "EACCES";
                    if (caller != 0 && permissions[0].Domain.Value != caller)
                        return "EPERM";
                    after = new Model(Nodes.SetItem(path, (Nodes[path].Value, permissions)));
                    return "ok";
                default:
                    string value = step.Verb == Verb.Write ? $"{step.Value}" : "";
                    if (isThere)
                    {
                        if (step.Verb == Verb.Write)
                            after = new Model(Nodes.SetItem(path, (value, Nodes[path].Permissions)));
                        return "ok";
                    }

                    ImmutableArray<StorePermission> inherited = Nodes[nearest].Permissions;
                    if (caller != 0)
                        inherited = inherited.SetItem(0, new StorePermission(new DomainId((ushort)caller), inherited[0].Access));
                    ImmutableSortedDictionary<string, (string, ImmutableArray<StorePermission>)> nodes = Nodes.SetItem(path, (value, inherited));
                    for (string above = Parent(path); above != nearest; above = Parent(above))
                        nodes = nodes.SetItem(above, ("", inherited));
                    after = new Model(nodes);
                    return "ok";
            }
        }

        public override string ToString() => string.Concat(
            Nodes.OrderBy(node => node.Key.Replace('/', '\x01'), StringComparer.Ordinal)
                .Select(node => $"{node.Key}={node.Value.Value} ({string.Join(' ', node.Value.Permissions)})\n"));

        private static string Parent(string path) => path.LastIndexOf('/') is > 0 and int slash ? path[..slash] : "/";

        private static bool May(int caller, ImmutableArray<StorePermission> permissions, StoreAccess access)
        {
            if (caller == 0 || permissions[0].Domain.Value == caller)
                return true;
            StorePermission entry = permissions.Skip(1).FirstOrDefault(permission => permission.Domain.Value == caller, permissions[0]);
            return (entry.Access & access) == access;
        }
    }
}
