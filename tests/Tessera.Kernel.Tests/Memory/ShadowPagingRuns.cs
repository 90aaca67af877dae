using System.Globalization;
using Tessera.Guests;
using Tessera.Kernel.Memory;
using Tessera.Sdk;

namespace Tessera.Kernel.Tests;

/// <summary>Guests whose vCPUs run on tables of the MMU's own, with room for all of them and with so little that they are made again and again.</summary>
[TestFixtureSource(nameof(Fixtures))]
[NonParallelizable]
internal sealed class ShadowPagingRuns(string engine, string room)
{
    private readonly int _tables = int.Parse(room, CultureInfo.InvariantCulture);
    private TestMachine _machine = null!;

    public static IEnumerable<TestFixtureData> Fixtures => Engines.EachWith("20", "100");

    [SetUp]
    public void Power_on() => _machine = TestMachine.Start(engine, new ShadowPaging(_tables));

    [TearDown]
    public void Power_off() => _machine.Dispose();

    [Test]
    public void A_guest_computes()
    {
        Domain spin = _machine.Run("spin");
        _machine.WaitForUnits(spin, 2000);
        AssertOwnRoot(spin);
        AssertGone(spin);
    }

    [Test]
    public void A_guest_changes_its_address_spaces_and_finds_what_it_wants()
    {
        Domain paging = _machine.Run("paging"), beat = _machine.Run("beat");
        _machine.WaitForUnits(paging, 200);
        _machine.WaitForUnits(beat, 20);
        AssertOwnRoot(paging);
        Assert.That(TestMachine.ReportOf(paging).Progress, Is.Not.EqualTo(GuestProgress.Failed), TestMachine.Describe(paging));
        AssertGone(paging);
        AssertGone(beat);
    }

    [TestCase(FuzzMode.WriteTable)]
    [TestCase(FuzzMode.MapForeign)]
    public void An_attack_fails(FuzzMode attack)
    {
        Domain paging = _machine.Run("paging"), fuzz = _machine.Run("fuzz", new FuzzOptions { Mode = attack });
        _machine.WaitForEnd(fuzz);
        Assert.That(fuzz.ExitReason, Is.EqualTo("poweroff"), TestMachine.Describe(fuzz));
        GuestReport report = TestMachine.ReportOf(fuzz);
        if (attack == FuzzMode.MapForeign)
            Assert.That(report.Fuzz!.Records.Select(record => record.Result), Is.All.Negative);
        else
            Assert.That(report.Fuzz!.Records.Where(record => record.Attack == FuzzAttack.MapTableWritable).Select(record => record.Result), Is.All.Negative);
        _machine.WaitForUnits(paging, TestMachine.ReportOf(paging).Units + 20);
        AssertGone(fuzz);
        AssertGone(paging);
    }

    [Test]
    public void Random_hypercalls_hurt_nobody()
    {
        Domain paging = _machine.Run("paging");
        long seed = TestContext.CurrentContext.Random.NextLong(1, int.MaxValue), frames = _machine.Machine.Frames.AssignedFrames;
        TestContext.Out.WriteLine($"seed {seed}");
        ulong calls = 0;
        for (int domain = 0; domain < 3; domain++)
        {
            Domain fuzz = _machine.Run("fuzz", new FuzzOptions { Mode = FuzzMode.Random, Seed = seed + domain, Count = 20_000 });
            _ = HostileGuests.WaitForEndOrStop(_machine, fuzz);
            calls += TestMachine.ReportOf(fuzz).Units;
            Assert.That(fuzz.ExitReason, Does.Not.Contain("VMM failed"), TestMachine.Describe(fuzz));
            AssertGone(fuzz);
            Assert.That(_machine.Machine.Frames.AssignedFrames, Is.EqualTo(frames));
        }

        Assert.That(calls, Is.Positive);
        _machine.WaitForUnits(paging, TestMachine.ReportOf(paging).Units + 20);
        AssertGone(paging);
    }

    private void AssertOwnRoot(Domain domain)
    {
        Mfn root = domain.Vcpus[0].Cpu.State.Root;
        Assert.That(domain.Memory.Has(root), Is.False, "its vCPU runs on a table of the MMU's");
        Assert.That(root.Value, Is.InRange(domain.Memory.MmuFirst.Value, domain.Memory.MmuFirst.Value + _tables - 1));
        Assert.That(domain.MmuHost.Tables.InUse, Is.InRange(4, _tables));
    }

    private void AssertGone(Domain domain)
    {
        long frames = _machine.Machine.Frames.AssignedFrames;
        _machine.Machine.Destroy(domain);
        Assert.That(domain.HadFalseAccounts, Is.False, $"{domain.Defect?.Message}");
        Assert.That(frames - _machine.Machine.Frames.AssignedFrames, Is.EqualTo(DomainMemory.FramesFor(domain.Memory.RamFrames) + _tables));
    }
}
