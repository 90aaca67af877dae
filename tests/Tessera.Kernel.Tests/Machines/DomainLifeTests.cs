using Tessera.Guests;
using Tessera.Images;
using Tessera.Kernel.Hypercalls;
using Tessera.Sdk;
using Tessera.Sdk.Memory;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Tests;

/// <summary>Domains come and go for as long as a machine lives: numbers come round, the dead leave nothing, and nobody waits for one that is being built.</summary>
internal sealed class DomainLifeTests
{
    private HandMachine _machine = null!;

    [SetUp]
    public void Power_on() => _machine = new HandMachine();

    [TearDown]
    public void Power_off() => _machine.Dispose();

    [Test]
    public void A_number_is_given_again_only_when_nothing_of_its_last_domain_is_left()
    {
        HandDomain alive = _machine.Create(), granter = _machine.Create();
        granter.Grant(9, alive.Id, HandDomain.FreePage);
        MapOperation map = alive.MapAt(granter, 9, HandDomain.FreePage);
        _machine.Machine.Destroy(granter.Domain);
        Assert.That(_machine.Machine.Domains, Is.EqualTo(new[] { alive.Domain }));

        // Each attempt takes a number: until the last of them.
        for (int attempt = 0; attempt < DomainIds.FirstReserved - 1 - 2; attempt++)
            Assert.That(CreateTooLarge, Throws.TypeOf<DomainBuildException>());
        HashSet<ushort> given = [];
        while (given.Count < 8)
        {
            HandDomain next = _machine.Create();
            Assert.That(given.Add(next.Id), Is.True, "each number once");
            Assert.That(next.Id, Is.Not.EqualTo(alive.Id).And.Not.EqualTo(granter.Id).And.InRange(1, DomainIds.FirstReserved - 1));
            _machine.Machine.Destroy(next.Domain);
        }

        Assert.That(alive.Unmap(map.Handle, alive.Address(HandDomain.FreePage)), Is.EqualTo(GrantStatus.Okay));
        for (int attempt = given.Max(); attempt < DomainIds.FirstReserved - 1; attempt++)
            Assert.That(CreateTooLarge, Throws.TypeOf<DomainBuildException>());
        Assert.That(_machine.Create().Id, Is.EqualTo(granter.Id), "now nothing is left of it");
    }

    [Test]
    public void A_destroyed_domains_figures_can_be_had_by_who_kept_it()
    {
        HandDomain guest = _machine.Create();
        _machine.Machine.Adjust(guest.Domain, null, new object(), null);
        Assert.That(guest.Domain.Vcpus[0].Schedulable.Domain.Options, Is.Not.Null);
        _machine.Machine.Destroy(guest.Domain);
        Assert.That(guest.Domain.Vcpus[0].Schedulable.Domain.Options, Is.Null, "it would keep a plugin in memory");
        Assert.That(_machine.Machine.Accounts.Snapshot().Domains, Is.Empty);
        DomainSnapshot last = _machine.Machine.Accounts.Snapshot([guest.Domain]).Domains.Single();
        Assert.That((last.State, last.AssignedBytes, last.ResidentBytes), Is.EqualTo((DomainState.Destroyed, 0L, 0L)));
        Assert.That(_machine.Create().Domain.Name, Is.Not.Empty);
    }

    [Test]
    public void Nobody_waits_for_a_domain_that_is_being_built()
    {
        HandDomain other = _machine.Create();
        using ManualResetEventSlim begun = new(), go = new();
        _machine.Engine.Creating = () =>
        {
            begun.Set();
            go.Wait();
        };
        Task<HandDomain> creation = Task.Run(() => _machine.Create());
        begun.Wait();
        _machine.Engine.Creating = null;
        Task others = Task.Run(() =>
        {
            Assert.That(_machine.Machine.Domains, Has.Count.EqualTo(1));
            Assert.That(((IHypercallHost)_machine.Machine).Grant(other.Domain, 1), Is.Zero, "a hypercall asks that");
            Assert.That(_machine.Machine.FindDomain(other.Domain.Id), Is.SameAs(other.Domain));
            _machine.Machine.Destroy(other.Domain);
        });
        bool came = others.Wait(TimeSpan.FromMinutes(2));
        go.Set();
        Assert.That(came, Is.True, "it waited for the creation");
        Domain created = creation.GetAwaiter().GetResult().Domain;
        Assert.That(_machine.Machine.Domains, Is.EqualTo(new[] { created }));
    }

    [Test]
    public void A_domain_whose_accounts_are_wrong_is_destroyed_all_the_same_and_the_defect_said()
    {
        HandDomain guest = _machine.Create();
        Mfn frame = guest.Frame(HandDomain.FreePage);
        Assert.That(guest.Domain.Frames.TakeType(frame, FrameType.Writable), Is.EqualTo(TypeReference.Taken));
        Assert.That(() => _machine.Machine.Destroy(guest.Domain), Throws.InvalidOperationException.With.Message.Contains(guest.Domain.Name));
        Assert.That((_machine.Machine.Frames.AssignedFrames, _machine.Machine.Domains.Count), Is.EqualTo((0L, 0)));
    }

    private void CreateTooLarge() => _machine.Machine.CreateDomain(new DomainConfiguration { Name = "large", Image = Image, MemoryBytes = 1L << 40 });

    private static KernelImage Image { get; } = KernelImage.Load(BuiltinGuests.Build("spin"), "spin");
}
