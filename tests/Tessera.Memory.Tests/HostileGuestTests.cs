using FsCheck;
using FsCheck.Fluent;
using Tessera.Memory.Tests.Support;
using Tessera.Sdk;

namespace Tessera.Memory.Tests;

[TestFixture]
internal sealed class HostileGuestTests
{
    private static Arbitrary<int[]> Scripts(int longest) =>
        Arb.From(Gen.Choose(0, int.MaxValue).ArrayOf().Resize(longest), ArbMap.Default.ArbFor<int[]>().Shrinker);

    [Test]
    public void Whatever_a_guest_does_types_and_counts_equal_a_recount_and_release_leaves_nothing()
    {
        Dictionary<XenErrno, int> answers = [];
        Property property = Prop.ForAll(Scripts(longest: 120), script =>
        {
            Machine machine = new();
            machine.Mmu.Slice = 1 + (script.Length * 7 % 600);
            HostileGuest guest = new(machine);
            foreach (int number in script)
            {
                guest.Act(number);
                guest.Look();
                Recount.Check(machine, guest.Pins, guest.Held);
            }

            machine.Mmu.Release();
            machine.Table.RequireIdle();
            foreach ((XenErrno answer, int count) in guest.Answers)
                answers[answer] = answers.GetValueOrDefault(answer) + count;
        });
        Check.One(Config.QuickThrowOnFailure.WithMaxTest(1500), property);
        TestContext.Out.WriteLine(string.Join(", ", answers.Select(pair => $"{pair.Key}: {pair.Value}")));
        Assert.That(answers.GetValueOrDefault(XenErrno.Success), Is.GreaterThan(answers.Values.Sum() / 10), "the guest must also get somewhere");
    }
}
