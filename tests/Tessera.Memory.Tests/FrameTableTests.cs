using Tessera.Kernel.Memory;
using Tessera.Sdk;
using Tessera.Sdk.Memory;

namespace Tessera.Memory.Tests;

[TestFixture]
internal sealed class FrameTableTests
{
    private const long FirstFrame = 700;
    private const long Count = 513;

    private FrameTable _frames = null!;

    private static Mfn Frame => new(FirstFrame + 3);

    [SetUp]
    public void Begin_anew() => _frames = new FrameTable(new Mfn(FirstFrame), Count);

    [Test]
    public void A_table_has_exactly_its_run_of_numbers()
    {
        Assert.That(_frames.Has(new Mfn(FirstFrame)), Is.True);
        Assert.That(_frames.Has(new Mfn(FirstFrame + Count - 1)), Is.True);
        Assert.That(_frames.TakeReference(new Mfn(FirstFrame + Count - 1)), Is.True);
    }

    [TestCase(-1)]
    [TestCase(0)]
    [TestCase(FirstFrame - 1)]
    [TestCase(FirstFrame + Count)]
    [TestCase(long.MinValue)]
    [TestCase(long.MinValue + FirstFrame)]
    [TestCase(long.MaxValue)]
    [TestCase(1L << 40)]
    [TestCase((1L << 32) + FirstFrame)]
    public void A_number_outside_is_no_frame_and_has_no_type(long number)
    {
        Mfn frame = new(number);
        Assert.That(_frames.Has(frame), Is.False);
        Assert.That(_frames.TypeOf(frame), Is.EqualTo((FrameType.None, 0L)));
        Assert.That(_frames.TakeType(frame, FrameType.L1), Is.EqualTo(TypeReference.NotOwner));
        Assert.That(_frames.TakeReference(frame), Is.False);
        Assert.That(_frames.ReferencesOf(frame), Is.Zero);
        Assert.That(_frames.SetPinned(frame, pinned: true), Is.False);
        Assert.That(() => _frames.DropType(frame), Throws.InvalidOperationException);
        Assert.That(() => _frames.DropReference(frame), Throws.InvalidOperationException);
        Assert.That(_frames.RequireIdle, Throws.Nothing);
    }

    [Test]
    public void A_type_is_exclusive_and_changes_only_at_count_zero()
    {
        Assert.That(_frames.TakeType(Frame, FrameType.L2), Is.EqualTo(TypeReference.TakenFirst));
        Assert.That(_frames.TakeType(Frame, FrameType.L2), Is.EqualTo(TypeReference.Taken));
        Assert.That(_frames.TakeType(Frame, FrameType.Writable), Is.EqualTo(TypeReference.Conflict));
        Assert.That(_frames.TypeOf(Frame), Is.EqualTo((FrameType.L2, 2L)));
        Assert.That(_frames.DropType(Frame), Is.False);
        Assert.That(_frames.DropType(Frame), Is.True);
        Assert.That(_frames.TypeOf(Frame), Is.EqualTo((FrameType.None, 0L)));
        Assert.That(_frames.TakeType(Frame, FrameType.Writable), Is.EqualTo(TypeReference.TakenFirst));
        Assert.That(_frames.TypeOf(Frame + 1), Is.EqualTo((FrameType.None, 0L)));
    }

    [Test]
    public void Dropping_what_is_not_held_is_a_defect_and_says_so()
    {
        Assert.That(() => _frames.DropType(Frame), Throws.InvalidOperationException);
        Assert.That(() => _frames.DropReference(Frame), Throws.InvalidOperationException);
    }

    [Test]
    public void The_pinned_mark_is_set_once_and_cleared_once()
    {
        Assert.That(_frames.SetPinned(Frame, pinned: true), Is.True);
        Assert.That(_frames.SetPinned(Frame, pinned: true), Is.False);
        Assert.That(_frames.RequireIdle, Throws.InvalidOperationException);
        Assert.That(_frames.SetPinned(Frame, pinned: false), Is.True);
        Assert.That(_frames.SetPinned(Frame, pinned: false), Is.False);
        Assert.That(_frames.RequireIdle, Throws.Nothing);
    }

    [Test]
    public void What_is_still_held_is_named()
    {
        _ = _frames.TakeType(Frame, FrameType.Writable);
        Assert.That(_frames.RequireIdle, Throws.InvalidOperationException.With.Message.Contains($"{Frame}").And.Message.Contains("Writable"));
        _ = _frames.DropType(Frame);
        _ = _frames.TakeReference(Frame);
        Assert.That(_frames.RequireIdle, Throws.InvalidOperationException.With.Message.Contains("1 references"));
        _frames.DropReference(Frame);
        Assert.That(_frames.RequireIdle, Throws.Nothing);
    }

    [Test]
    public void Threads_that_take_and_drop_types_of_one_frame_never_hold_two_types_at_once()
    {
        int tables = 0, writables = 0, violations = 0;
        Parallel.For(0, 4, worker =>
        {
            FrameType type = worker % 2 == 0 ? FrameType.L1 : FrameType.Writable;
            for (int i = 0; i < 50_000; i++)
            {
                if (_frames.TakeType(Frame, type) is TypeReference.Conflict)
                    continue;
                Interlocked.Increment(ref type == FrameType.L1 ? ref tables : ref writables);
                if (Volatile.Read(ref type == FrameType.L1 ? ref writables : ref tables) != 0)
                    Interlocked.Increment(ref violations);
                Interlocked.Decrement(ref type == FrameType.L1 ? ref tables : ref writables);
                _frames.DropType(Frame);
            }
        });
        Assert.That(violations, Is.Zero);
        Assert.That(_frames.TypeOf(Frame), Is.EqualTo((FrameType.None, 0L)));
    }

    [Test]
    public void The_machines_limit_is_kept()
    {
        DomainId first = new(1), second = new(2);
        FrameBudget budget = new(limitFrames: 10_000);
        Assert.That(budget.TryAssign(first, 8_950, shared: 50), Is.True);
        Assert.That(budget.TryAssign(second, 990, shared: 11), Is.False);
        Assert.That(budget.AssignedFrames, Is.EqualTo(9_000));
        Assert.That(budget.TryAssign(second, 900), Is.True);
        Assert.That((budget.TryGrow(second, 101), budget.TryGrow(second, 100)), Is.EqualTo((false, true)));
        budget.Release(first, 500);
        Assert.That((budget.AssignedFrames, budget.TryGrow(second, 500)), Is.EqualTo((9_500, true)));
        Assert.That(() => budget.Release(second, 1_501), Throws.InstanceOf<ArgumentException>());
        budget.Return(first);
        budget.Return(first);
        Assert.That(budget.AssignedFrames, Is.EqualTo(1_500));
    }
}
