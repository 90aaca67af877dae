using Tessera.Sdk.Conformance;
using Tessera.Sdk.Conformance.Memory;
using Tessera.Sdk.Memory;

namespace Tessera.Conformance.Tests;

/// <summary>
/// Every check of MMUs and of memory policies can fail, and names the fault it is there for: each plugin here is honest but for one
/// thing.
/// </summary>
public sealed class BrokenMemoryTests
{
    [TestCase(typeof(ForgetsUpdates), "a-mapping-is-there-as-soon-as-it-is-made-and-gone-when-it-is-taken-away", "Walk(Page(5))")]
    [TestCase(typeof(RefusesSwapEntries), "an-entry-that-is-not-present-may-hold-anything", "is EINVAL, not Success")]
    [TestCase(typeof(MapsForeignFrames), "foreign-and-impossible-frames-are-refused-and-the-old-entry-stays", "is Success, not EPERM")]
    [TestCase(typeof(MapsTablesWritable), "tables-cannot-be-mapped-writable-at-any-level", "is in use")]
    [TestCase(typeof(PinsAnything), "a-frame-that-is-mapped-writable-cannot-become-a-table", "PinL1Table")]
    [TestCase(typeof(UpdatesSlotsOfTheVmm), "entries-of-the-vmm-cannot-be-updated", "slot 256")]
    [TestCase(typeof(KeepsUnlinkedTables), "a-table-that-is-linked-maps-what-it-holds", "is plain memory")]
    [TestCase(typeof(KeepsBadTables), "linking-a-bad-table-leaves-nothing-held", "is plain memory")]
    [TestCase(typeof(ForgetsAccessedBits), "preserving-keeps-accessed-and-dirty-and-a-normal-update-does-not", "(A | D)")]
    [TestCase(typeof(WritesDescriptorTables), "plain-memory-is-written-as-it-is-unless-it-is-a-descriptor-table", "is Success, not EINVAL")]
    [TestCase(typeof(RoundsPointers), "bad-pointers-are-refused", "is Success, not ENOSYS")]
    [TestCase(typeof(NumbersForeignFrames), "machine-to-physical-is-set-for-own-frames-only", "is Success, not EINVAL")]
    [TestCase(typeof(MapsNothingByAddress), "update-va-mapping-writes-the-entry-that-maps-the-address", "Walk(Page(6))")]
    [TestCase(typeof(TranslatesReadOnlyPages), "an-address-translates-to-its-byte", "a read-only page")]
    [TestCase(typeof(TranslatesEverything), "what-is-not-mapped-does-not-translate", "Translates(0, address")]
    [TestCase(typeof(FindsNoAbsentEntry), "the-entry-of-an-address-is-found-whether-or-not-it-is-present", "FindEntry(0")]
    [TestCase(typeof(RemembersUpdates), "single-updates-walks-and-faults-allocate-nothing", "by 90,000 updates, walks and faults")]
    [TestCase(typeof(ResolvesEverything), "a-fault-that-the-tables-explain-is-the-guests", "None at")]
    [TestCase(typeof(LeavesFaultsToGuests), "a-fault-that-the-tables-do-not-explain-is-resolved", "a read")]
    [TestCase(typeof(EmulatesForProcesses), "a-store-of-the-kernel-to-one-of-its-page-tables-is-an-update", "a process, level 1")]
    [TestCase(typeof(RootsEverybody), "boot-tables-become-the-root-of-the-first-vcpu", "userMode: true")]
    [TestCase(typeof(TrustsTheBuilder), "boot-tables-that-map-themselves-writable-are-refused", "is Success, not EBUSY")]
    [TestCase(typeof(LeavesTheSlots), "what-the-guest-put-into-the-vmms-slots-no-cpu-reaches", "not the VMM's own")]
    [TestCase(typeof(PinsAnything), "a-table-is-pinned-once-and-unpinned-once(PinL3Table)", "once more")]
    [TestCase(typeof(PinsAnything), "a-table-cannot-be-pinned-at-another-level-while-it-is-one", "PinL2Table")]
    [TestCase(typeof(ClearsForeignFrames), "foreign-frames-cannot-be-pinned-made-a-root-cleared-or-copied", "ClearPage")]
    [TestCase(typeof(KeepsBadTables), "a-pin-that-fails-leaves-nothing-held", "is plain memory")]
    [TestCase(typeof(KeepsUserRoots), "roots-hold-their-tables-for-each-vcpu-and-mode", "Root(0, userMode: true)")]
    [TestCase(typeof(CopiesNothing), "clearing-and-copying-change-plain-memory-only", "the copy")]
    [TestCase(typeof(AnswersFlushes), "other-commands-are-not-implemented-here", "is Success, not ENOSYS")]
    [TestCase(typeof(WritesDescriptorsAsTheyAre), "code-and-data-come-out-with-dpl-3(49428545226735615, 49534098343002111)", "Read(_machine[6], 9)")]
    [TestCase(typeof(TakesGates), "present-system-descriptors-are-refused", "type 2")]
    [TestCase(typeof(CountsDescriptorTablesOnce), "a-descriptor-table-cannot-be-mapped-writable-or-used-as-a-table", "is in use")]
    [TestCase(typeof(TakesTablesForDescriptors), "a-page-table-or-a-foreign-frame-is-no-descriptor-table", "is Success, not EINVAL")]
    [TestCase(typeof(WorksInOneGo), "every-stretch-of-an-operation-is-bounded", "where at most 1024 entries")]
    [TestCase(typeof(UpdatesBesideWork), "while-work-is-left-nothing-changes", "is Success, not ERESTART")]
    [TestCase(typeof(ReleasesNothing), "a-domain-that-dies-leaves-nothing", "is still held")]
    [TestCase(typeof(MapsTablesWritable), "whatever-a-guest-does-no-cpu-reaches-what-it-must-not", "is a page or descriptor table, and the guest can write it")]
    [TestCase(typeof(MapsForeignFrames), "whatever-a-guest-does-no-cpu-reaches-what-it-must-not", "Seed 1; the smallest script of a guest found")]
    public void A_broken_MMU_fails_the_check_meant_for_it(Type broken, string check, string evidence) =>
        Fails(new MmuSuite("broken", () => (IMmuVirtualization)Activator.CreateInstance(broken)!), check, evidence);

    [TestCase(typeof(StartsAnything), "a-domain-starts-with-no-more-than-its-maximum-and-than-there-is", "asked for, at most 0")]
    [TestCase(typeof(GrowsBeyondTheMaximum), "a-domain-grows-by-no-more-than-it-asked-for-and-than-there-is", "frames asked for by one of 200 that has 200")]
    [TestCase(typeof(CountsByItself), "domains-that-come-and-grow-never-have-more-than-the-machine", "can be given")]
    [TestCase(typeof(TargetsTheWholeMachine), "targets-are-within-what-domains-may-have", "may have 1 to")]
    [TestCase(typeof(TargetsTheDead), "targets-are-within-what-domains-may-have", "was not asked about")]
    [TestCase(typeof(RefusesEverybody), "a-machine-with-room-gives-a-domain-memory", "by an empty machine")]
    public void A_broken_memory_policy_fails_the_check_meant_for_it(Type broken, string check, string evidence) =>
        Fails(new MemoryPolicySuite("broken", () => (IMemoryPolicy)Activator.CreateInstance(broken)!), check, evidence);

    [Test]
    public void The_honest_ones_pass()
    {
        Assert.That(new MmuSuite("honest", static () => new HonestMmu()).Run().Checks.Where(static check => check.Outcome != CheckOutcome.Passed), Is.Empty);
        Assert.That(new MemoryPolicySuite("honest", static () => new HonestMemoryPolicy()).Run().Checks.Where(static check => check.Outcome != CheckOutcome.Passed), Is.Empty);
    }

    [TestCase(nameof(A_broken_MMU_fails_the_check_meant_for_it), typeof(MmuSuite))]
    [TestCase(nameof(A_broken_memory_policy_fails_the_check_meant_for_it), typeof(MemoryPolicySuite))]
    public void Every_check_has_a_plugin_that_fails_it(string test, Type suite)
    {
        IEnumerable<string> failed = typeof(BrokenMemoryTests).GetMethod(test)!.GetCustomAttributes(typeof(TestCaseAttribute), false).Cast<TestCaseAttribute>()
            .Select(static test => WithoutCase((string)test.Arguments[1]!));
        IReadOnlyList<CheckInfo> checks = suite == typeof(MmuSuite) ? MmuSuite.AllChecks : MemoryPolicySuite.AllChecks;
        Assert.That(failed, Is.SupersetOf(checks.Select(static check => WithoutCase(check.Name)).Distinct()));
    }

    private static string WithoutCase(string check) => check.Split('(')[0];

    private static void Fails(ConformanceSuite suite, string check, string evidence)
    {
        CheckResult result = suite.RunCheck(check);
        TestContext.Out.WriteLine(result.Detail);
        Assert.That(result.Outcome, Is.EqualTo(CheckOutcome.Failed));
        Assert.That(result.Detail, Does.Contain(evidence));
        string[] lines = result.Detail.Split("found");
        if (lines.Length > 1)
            Assert.That(lines[^1].Split(", "), Has.Length.LessThanOrEqualTo(12), "shrunk");
    }
}
